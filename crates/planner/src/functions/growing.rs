//! Functions whose results may be far longer than their arguments, held to a limit.
//!
//! DataFusion computes calls with constant arguments while it plans, in the gateway and in no pool, so
//! `array_repeat(1, 2000000000)` in anybody's text would take all memory there. How long a result
//! becomes is reckoned before the function is called. Executors are held to limits, too: there, a
//! result is judged for the rows of a batch, that of a constant call as often as the batch has rows,
//! since a projection copies it for each.
//!
//! The one thing to know: a call that is refused while planning is not an error yet. It stays in the
//! plan, and whoever runs that says so.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

use super::growth::{Growth, width};
use super::limits::{self, CONSTANT_MAX, Made};

/// Puts every such function of the registry behind its limit. Doing it twice is once.
pub(super) fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for (name, growth) in Growth::EACH {
        let Ok(inner) = registry.udf(name) else { continue };
        if !is_held(&inner) {
            let growing = ScalarUDF::new_from_impl(Growing { inner, growth });
            registry.register_udf(Arc::new(growing))?;
        }
    }
    Ok(())
}

fn is_held(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<Growing>().is_some()
}

/// The function behind its limit: simplifying a call of one gives a call of DataFusion's own.
fn held(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let known = Growth::EACH.into_iter().find(|(name, _)| *name == inner.name());
    match known.filter(|_| !is_held(&inner)) {
        Some((_, growth)) => Arc::new(ScalarUDF::new_from_impl(Growing { inner, growth })),
        None => inner,
    }
}

/// What a call with constant arguments becomes, if that is reckoned and whoever runs it will not
/// refuse it anyway.
pub(crate) fn constant_bytes(call: &ScalarFunction) -> Option<u64> {
    let growing = call.func.inner().downcast_ref::<Growing>()?;
    let constant = |arg: &Expr| match arg {
        Expr::Literal(value, _) => Some(ColumnarValue::Scalar(value.clone())),
        _ => None,
    };
    let args: Vec<_> = call.args.iter().map(constant).collect::<Option<_>>()?;
    let bytes = growing.growth.bytes(&args, 1).ok()?;
    Some(if bytes > CONSTANT_MAX.0 { 0 } else { bytes })
}

/// Refuses what `||` would make for so many rows, if it is too much.
pub(crate) fn check_joined(sides: &[ColumnarValue], rows: usize) -> Result<()> {
    let bytes = Growth::Sum.bytes(sides, rows)?;
    limits::take("||", &Made { bytes, constant: None })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Growing {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Growing {
    fn function(&self) -> &dyn ScalarUDFImpl {
        self.inner.inner().as_ref()
    }
}

impl ScalarUDFImpl for Growing {
    fn name(&self) -> &str {
        self.function().name()
    }

    fn aliases(&self) -> &[String] {
        self.function().aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.function().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.function().signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function().coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function().return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.function().return_field_from_args(args)?;
        if self.growth == Growth::Type {
            limits::check_width(self.name(), width(field.data_type()))?;
        }
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.function().is_strict()
    }

    /// Some functions join their constant arguments here.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let length = |expr: &Expr| match expr {
            Expr::Literal(value, _) => text_length(value),
            _ => 0,
        };
        let bytes = args.iter().map(length).fold(0, u64::saturating_add);
        let joins = matches!(self.growth, Growth::Sum | Growth::Separated);
        let made = Made { bytes, constant: Some(1) };
        if joins && limits::take(self.name(), &made).is_err() {
            return Ok(ExprSimplifyResult::Original(args));
        }
        Ok(match self.function().simplify(args, info)? {
            ExprSimplifyResult::Simplified(Expr::ScalarFunction(mut call)) => {
                call.func = held(call.func);
                ExprSimplifyResult::Simplified(Expr::ScalarFunction(call))
            }
            other => other,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let bytes = self.growth.bytes(&args.args, rows).map_err(|e| self.named(e))?;
        // Rows share a constant if they are views of it.
        let shared = matches!(args.return_field.data_type(), DataType::Utf8View);
        let constant = constant.then_some(if shared { 1 } else { args.number_rows });
        limits::take(self.name(), &Made { bytes, constant })?;
        self.function().invoke_with_args(args)
    }

    fn preserves_lex_ordering(
        &self,
        inputs: &[datafusion::logical_expr::sort_properties::ExprProperties],
    ) -> Result<bool> {
        self.function().preserves_lex_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function().documentation()
    }
}

impl Growing {
    fn named(&self, error: DataFusionError) -> DataFusionError {
        error.context(self.inner.name().to_owned())
    }
}

fn text_length(value: &ScalarValue) -> u64 {
    let text = match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text
        }
        _ => return 0,
    };
    text.as_ref().map_or(0, |text| text.len() as u64)
}
