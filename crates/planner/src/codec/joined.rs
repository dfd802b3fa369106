//! `||` with a limit: a column that is joined with itself in each of some nested SELECTs doubles in
//! each, and no pool knows of what an expression makes.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

use crate::functions::check_joined;

/// DataFusion's `||`, judged before it is done. It is made when a plan is decoded.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Joined(BinaryExpr);

impl Joined {
    pub(super) fn new(inner: BinaryExpr) -> Self {
        Self(inner)
    }

    pub(super) fn inner(&self) -> &BinaryExpr {
        &self.0
    }
}

impl Display for Joined {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Joined {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.0.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.0.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let sides = [self.0.left().evaluate(batch)?, self.0.right().evaluate(batch)?];
        check_joined(&sides, rows)?;
        let [left, right] = sides;
        let sides = vec![left.into_array(rows)?, right.into_array(rows)?];
        let field =
            |(name, side): (&str, &ArrayRef)| Field::new(name, side.data_type().clone(), true);
        let schema = Schema::new(["l", "r"].into_iter().zip(&sides).map(field).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(schema), sides, &options)?;
        let column = |name, at| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, at)) };
        BinaryExpr::new(column("l", 0), Operator::StringConcat, column("r", 1)).evaluate(&batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![self.0.left(), self.0.right()]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right] = &children[..] else { return internal_err!("|| has two sides") };
        let inner = BinaryExpr::new(Arc::clone(left), Operator::StringConcat, Arc::clone(right));
        Ok(Arc::new(Self(inner)))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{StringArray, StringViewBuilder};
    use dunlin_base::Kind;

    use super::*;
    use crate::errors::from_datafusion;

    fn joined(left: ArrayRef, right: ArrayRef) -> Result<ArrayRef> {
        let rows = left.len();
        let column = |name, at| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, at)) };
        let expr =
            Joined::new(BinaryExpr::new(column("a", 0), Operator::StringConcat, column("b", 1)));
        let batch = RecordBatch::try_from_iter([("a", left), ("b", right)])?;
        expr.evaluate(&batch)?.into_array(rows)
    }

    #[test]
    fn texts_are_joined_and_too_long_ones_are_not() {
        let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let few = joined(texts(vec![Some("a"), None]), texts(vec![Some("b"), Some("c")]));
        assert_eq!(&few.expect("few"), &texts(vec![Some("ab"), None]));
        // Views of one text, so that it is long without taking memory.
        let mut views = StringViewBuilder::new();
        views.try_append_value_n("x".repeat(300_000), 2000).expect("views");
        let views: ArrayRef = Arc::new(views.finish());
        let error = joined(Arc::clone(&views), views).expect_err("too long");
        let error = from_datafusion(error);
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert!(error.message().starts_with("|| would make 1.1GiB"), "{error}");
    }
}
