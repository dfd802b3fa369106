//! Arithmetic on constants, which DataFusion's optimizer computes with wrap-around.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::expressions::BinaryExpr as PhysicalBinary;

use crate::codec::checked;

/// Fails on constant arithmetic whose result does not fit its type. What tasks compute is checked
/// by the operators themselves; what the optimizer folds never reaches a task.
#[derive(Debug, Default)]
pub(crate) struct CheckedConstants;

impl AnalyzerRule for CheckedConstants {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expr| expr.apply(check))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "checked_constants"
    }
}

fn check(expr: &Expr) -> Result<TreeNodeRecursion> {
    let Expr::BinaryExpr(BinaryExpr { op, .. }) = expr else {
        return Ok(TreeNodeRecursion::Continue);
    };
    let arithmetic = matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply);
    if !arithmetic || !is_constant(expr)? {
        return Ok(TreeNodeRecursion::Continue);
    }
    match evaluate(expr) {
        Err(error) if is_overflow(&error) => Err(error),
        // Whatever else fails here fails again where its error belongs.
        _ => Ok(TreeNodeRecursion::Jump),
    }
}

/// Literals and operators only: functions may look at the clock or the session.
fn is_constant(expr: &Expr) -> Result<bool> {
    let mut constant = true;
    expr.apply(|e| {
        constant &= matches!(
            e,
            Expr::Literal(..) | Expr::BinaryExpr(_) | Expr::Cast(_) | Expr::Negative(_)
        );
        Ok(if constant { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(constant)
}

fn evaluate(expr: &Expr) -> Result<()> {
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = create_physical_expr(expr, &DFSchema::empty(), &props, &planning)?;
    let physical = physical.transform_up(|e| match e.downcast_ref::<PhysicalBinary>() {
        Some(binary) => Ok(Transformed::yes(checked(binary))),
        None => Ok(Transformed::no(e)),
    })?;
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &one_row)?;
    physical.data.evaluate(&batch).map(drop)
}

fn is_overflow(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(arrow, _)
        if matches!(**arrow, ArrowError::ArithmeticOverflow(_)))
}
