//! Functions that our plans use beside DataFusion's own. Executors must [`register`] them before
//! they decode a plan: they travel by name.

mod growing;
mod growth;
mod limits;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use dunlin_base::Error;

use crate::errors::into_datafusion;

pub(crate) use growing::{check_joined, constant_bytes};
pub(crate) use limits::{BATCH_MAX, Planning, charge, check_added, folding};

/// Registers every function of ours. Doing it twice is once.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    growing::register(registry)?;
    registry.register_udaf(single_row()).map(drop)
}

/// The value of the only row, NULL if there is none, an error if there are more: what SQL says
/// about a subquery that is used as a value.
pub fn single_row() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(SingleRow {
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl AggregateUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "dunlin_single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments
            .first()
            .cloned()
            .ok_or_else(|| DataFusionError::Plan("dunlin_single_row takes one argument".to_owned()))
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(arguments.return_field.data_type())?;
        Ok(Box::new(OneRow { rows: 0, value }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = arguments.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new("rows", DataType::UInt64, false)),
            Arc::new(Field::new("value", value, true)),
        ])
    }
}

/// Rows so far, and the value of the first.
#[derive(Debug)]
struct OneRow {
    rows: u64,
    value: ScalarValue,
}

impl OneRow {
    fn add(&mut self, rows: u64, values: &ArrayRef, at: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows;
        if self.rows > 1 {
            let error = Error::invalid("a subquery that is used as a value gave more than one row")
                .with_hint("aggregate it, such as max(x), or add LIMIT 1");
            return Err(into_datafusion(error));
        }
        self.value = ScalarValue::try_from_array(values, at)?;
        // A slice would keep its whole batch alive.
        self.value.compact();
        Ok(())
    }
}

impl Accumulator for OneRow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return Err(wrong_state()) };
        self.add(values.len() as u64, values, 0)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [rows, values] = states else { return Err(wrong_state()) };
        let rows = rows.as_any().downcast_ref::<arrow::array::UInt64Array>();
        let rows = rows.ok_or_else(wrong_state)?;
        for at in 0..rows.len() {
            self.add(rows.value(at), values, at)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::UInt64(Some(self.rows)), self.value.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }
}

fn wrong_state() -> DataFusionError {
    DataFusionError::Internal("dunlin_single_row got other columns than its own".to_owned())
}

#[cfg(test)]
mod tests;
