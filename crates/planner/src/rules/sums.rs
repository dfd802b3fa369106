//! Sums of integers, whose accumulator in DataFusion wraps around without a word.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, cast,
};
use datafusion::optimizer::AnalyzerRule;

/// Wide enough for 2^64 addends of 64 bits.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// Adds integers up in 128 bits and fails if the sum does not fit 64.
#[derive(Debug, Default)]
pub(crate) struct CheckedSums;

impl AnalyzerRule for CheckedSums {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Aggregate(aggregate) => widen_aggregate(aggregate),
            LogicalPlan::Window(_) => widen_window(plan),
            other => Ok(Transformed::no(other)),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "checked_sums"
    }
}

/// Sums become wide ones below a projection that narrows them again under their old names.
fn widen_aggregate(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let groups = aggregate.group_expr_len()?;
    let mut wide = Vec::with_capacity(aggregate.aggr_expr.len());
    let mut narrowed = Vec::new();
    for (i, expr) in aggregate.aggr_expr.iter().enumerate() {
        let Some((sum, narrow)) = widen(expr, &schema)? else {
            wide.push(expr.clone());
            continue;
        };
        let name = format!("__sum_{i}");
        wide.push(sum.alias(&name));
        narrowed.push((groups + i, cast(Expr::Column(Column::new_unqualified(name)), narrow)));
    }
    if narrowed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut outputs: Vec<Expr> = aggregate.schema.columns().into_iter().map(Expr::Column).collect();
    for (place, expr) in narrowed {
        let (qualifier, field) = aggregate.schema.qualified_field(place);
        outputs[place] = expr.alias_qualified(qualifier.cloned(), field.name());
    }
    let below = Aggregate::try_new(aggregate.input, aggregate.group_expr, wide)?;
    let plan = LogicalPlanBuilder::from(LogicalPlan::Aggregate(below)).project(outputs)?.build()?;
    Ok(Transformed::yes(plan))
}

/// The same for sums over windows, which may stand inside of other expressions.
fn widen_window(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(input) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
        return Ok(Transformed::no(plan));
    };
    let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
    let mut found = false;
    let mut wide = Vec::with_capacity(window.window_expr.len());
    let mut outputs: Vec<Expr> = input.columns().into_iter().map(Expr::Column).collect();
    for (i, expr) in window.window_expr.iter().enumerate() {
        let place = input.fields().len() + i;
        let (qualifier, field) = window.schema.qualified_field(place);
        let Some((sum, narrow)) = widen(expr, &input)? else {
            wide.push(expr.clone());
            outputs.push(Expr::Column(Column::from((qualifier, field))));
            continue;
        };
        found = true;
        let name = format!("__sum_{i}");
        wide.push(sum.alias(&name));
        let value = cast(Expr::Column(Column::new_unqualified(name)), narrow);
        outputs.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    if !found {
        return Ok(Transformed::no(plan));
    }
    let below = LogicalPlanBuilder::from(Arc::unwrap_or_clone(Arc::clone(&window.input)));
    Ok(Transformed::yes(below.window(wide)?.project(outputs)?.build()?))
}

/// The wide form of a sum of integers, and its type; `None` for anything else.
fn widen(expr: &Expr, schema: &DFSchema) -> Result<Option<(Expr, DataType)>> {
    match expr {
        Expr::Alias(alias) => widen(&alias.expr, schema),
        Expr::AggregateFunction(AggregateFunction { func, params }) if func.name() == "sum" => {
            let narrow = expr.get_type(schema)?;
            if !matches!(narrow, DataType::Int64 | DataType::UInt64) {
                return Ok(None);
            }
            let mut params = params.clone();
            params.args = params.args.into_iter().map(|arg| cast(arg, WIDE)).collect();
            let func = Arc::clone(func);
            Ok(Some((Expr::AggregateFunction(AggregateFunction { func, params }), narrow)))
        }
        Expr::WindowFunction(window) => {
            let WindowFunctionDefinition::AggregateUDF(func) = &window.fun else { return Ok(None) };
            let narrow = expr.get_type(schema)?;
            if func.name() != "sum" || !matches!(narrow, DataType::Int64 | DataType::UInt64) {
                return Ok(None);
            }
            let WindowFunction { fun, mut params } = WindowFunction::clone(window);
            params.args = params.args.into_iter().map(|arg| cast(arg, WIDE)).collect();
            Ok(Some((Expr::WindowFunction(Box::new(WindowFunction { fun, params })), narrow)))
        }
        _ => Ok(None),
    }
}
