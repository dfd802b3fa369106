//! Functions whose results may be far longer than their arguments, held to a limit.
//!
//! DataFusion computes calls with constant arguments while it plans, in the gateway and in no pool, so
//! `array_repeat(1, 2000000000)` in anybody's text would take all memory there. How long a result
//! becomes is reckoned before the function is called. Executors are held to limits, too.
//!
//! The one thing to know: a call that is refused while planning is not an error yet. It stays in the
//! plan, and whoever runs that says so.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use dunlin_base::{ByteCount, Error};

use super::growth::Growth;
use crate::errors::into_datafusion;

/// What all calls may become that are computed while one statement is planned.
const PLANNING_MAX: ByteCount = ByteCount::mib(64);

/// What one call with constant arguments may become.
const CONSTANT_MAX: ByteCount = ByteCount::mib(64);

/// What one call may become for the rows of a batch together.
const BATCH_MAX: ByteCount = ByteCount::mib(1024);

thread_local! {
    /// What is left of [`PLANNING_MAX`] while this thread plans a statement.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A future in which [`PLANNING_MAX`] holds: on whichever threads it is polled.
pub(crate) struct Planning<F> {
    work: F,
    left: u64,
}

impl<F> Planning<F> {
    pub(crate) fn new(work: F) -> Self {
        Self { work, left: PLANNING_MAX.0 }
    }
}

impl<F: Future + Unpin> Future for Planning<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = Before(LEFT.replace(Some(self.left)));
        let polled = Pin::new(&mut self.work).poll(context);
        self.left = LEFT.get().unwrap_or_default();
        drop(before);
        polled
    }
}

/// What held on this thread, to be put back even if planning panics: the thread has other work.
struct Before(Option<u64>);

impl Drop for Before {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

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

#[derive(Debug, PartialEq, Eq, Hash)]
struct Growing {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl Growing {
    fn function(&self) -> &dyn ScalarUDFImpl {
        self.inner.inner().as_ref()
    }

    /// Refuses a result of so many bytes, or takes them from what is left.
    fn take(&self, bytes: u64, constant: bool) -> Result<()> {
        let own = if constant { CONSTANT_MAX.0 } else { BATCH_MAX.0 };
        let left = LEFT.get();
        let most = left.map_or(own, |left| left.min(own));
        if bytes > most {
            let (size, most, name) = (ByteCount(bytes), ByteCount(own), self.inner.name());
            let error = Error::exhausted(format!("{name} would make {size}, more than {most}"));
            return Err(into_datafusion(error.with_hint("ask for fewer or shorter values")));
        }
        if let Some(left) = left {
            LEFT.set(Some(left - bytes));
        }
        Ok(())
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
        self.function().return_field_from_args(args)
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
        if joins && self.take(bytes, true).is_err() {
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
        self.take(bytes, constant)?;
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
