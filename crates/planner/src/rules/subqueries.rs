//! Subqueries that are used as a value. They must become joins to be cut into stages, and
//! DataFusion makes joins of those in WHERE and SELECT only.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::single_row;

/// Makes a subquery that is used as a value fail when it gives more than one row.
///
/// Distribution needs such subqueries as joins, and DataFusion's rewrite to a join multiplies rows
/// instead of failing. Subqueries that refer to the outer query are aggregated by DataFusion's own
/// demand, so only the others are wrapped, and only those that are not known to give one row.
#[derive(Debug, Default)]
pub(crate) struct OneRowSubqueries;

impl AnalyzerRule for OneRowSubqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(guard_plan).map(|done| done.data)
    }

    fn name(&self) -> &str {
        "one_row_subqueries"
    }
}

/// Moves subqueries that are used as a value out of ORDER BY, GROUP BY and arguments of aggregates
/// into a SELECT below, where DataFusion makes a join of them.
#[derive(Debug, Default)]
pub(crate) struct LiftSubqueries;

impl AnalyzerRule for LiftSubqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(lift_plan).map(|done| done.data)
    }

    fn name(&self) -> &str {
        "lift_subqueries"
    }
}

fn lift_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Aggregate(_)) {
        return Ok(Transformed::no(plan));
    }
    let [input] = plan.inputs()[..] else { return Ok(Transformed::no(plan)) };
    let input = input.clone();
    let is_sort = matches!(plan, LogicalPlan::Sort(_));
    let outputs = plan.schema().columns();
    let names = NamePreserver::new(&plan);
    let mut lifted = Vec::new();
    let changed = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|expr| match expr {
            Expr::ScalarSubquery(_) => {
                let name = format!("__value_{}", lifted.len());
                lifted.push(expr.alias(&name));
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })?;
    if lifted.is_empty() {
        return Ok(changed);
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let below = LogicalPlanBuilder::from(input).project(columns.chain(lifted))?.build()?;
    let expressions = changed.data.expressions();
    let lifted = changed.data.with_new_exprs(expressions, vec![below])?;
    if !is_sort {
        return Ok(Transformed::yes(lifted));
    }
    let outputs = outputs.into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(lifted).project(outputs)?.build()?;
    Ok(Transformed::yes(plan))
}

fn guard_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let guarded = expr.transform_up(guard_expr)?;
        Ok(guarded.update_data(|expr| name.restore(expr)))
    })
}

fn guard_expr(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = expr else { return Ok(Transformed::no(expr)) };
    let many = subquery.subquery.max_rows().is_none_or(|rows| rows > 1);
    if !many || !subquery.outer_ref_columns.is_empty() {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let inner = Arc::unwrap_or_clone(subquery.subquery);
    let column: Column = inner.schema().columns().swap_remove(0);
    let name = column.name.clone();
    let value = single_row().call(vec![Expr::Column(column)]).alias("value");
    // Two rows are enough to know.
    let plan = LogicalPlanBuilder::from(inner)
        .limit(0, Some(2))?
        .aggregate(Vec::<Expr>::new(), vec![value])?
        .project(vec![datafusion::logical_expr::ident("value").alias(name)])?
        .build()?;
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery })))
}
