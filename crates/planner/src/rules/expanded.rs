//! Constants that are copied for every row of a batch, outside of any memory pool.
//!
//! A column of a SELECT that is a constant becomes an array of as many copies as the batch has
//! rows, and so does a branch of CASE; only views of a text share it. What functions make of
//! columns is judged where it is made ([`crate::functions`]).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use dunlin_base::{ByteCount, Error};

use super::weight;
use crate::errors::into_datafusion;
use crate::functions::{BATCH_MAX, constant_bytes};

/// Bytes up to which it does not matter what a function does with its constants.
const FEW: u64 = 4 << 10;

/// Refuses a plan in which the constants of one node are too much for a batch. `batch_rows`: most
/// rows of one.
pub(crate) fn check(plan: &LogicalPlan, batch_rows: usize) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let schemas: Vec<_> = node.inputs().into_iter().map(|input| input.schema()).collect();
        let mut bytes = 0_u64;
        node.apply_expressions(|expr| {
            bytes = bytes.saturating_add(of_row(expr, &schemas)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let few = bytes <= BATCH_MAX.0 / batch_rows.max(1) as u64;
        if few || matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        let known = match node.inputs()[..] {
            [input] => input.max_rows(),
            _ => None,
        };
        let rows = known.map_or(batch_rows, |rows| rows.min(batch_rows));
        let all = bytes.saturating_mul(rows as u64);
        if all <= BATCH_MAX.0 {
            return Ok(TreeNodeRecursion::Continue);
        }
        let (row, all) = (ByteCount(bytes), ByteCount(all));
        let error = Error::exhausted(format!(
            "constants of {row} for each of {rows} rows would make {all}, more than {BATCH_MAX}"
        ));
        Err(into_datafusion(error.with_hint("ask for fewer or shorter values, or add LIMIT")))
    })?;
    Ok(())
}

type Schemas<'a> = [&'a Arc<DFSchema>];

/// Bytes of the constants that an expression copies for one row.
fn of_row(expr: &Expr, schemas: &Schemas<'_>) -> Result<u64> {
    match expr {
        Expr::Literal(value, _) => Ok(copied(value)),
        Expr::Case(case) => of_case(case, schemas),
        Expr::ScalarFunction(call) => of_call(call, expr, schemas),
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => of_all(expr, schemas),
        // What is compared is not copied.
        Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::InList(_)
        | Expr::Between(_) => of_all_but_constants(expr, schemas),
        _ => of_all(expr, schemas),
    }
}

fn copied(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Utf8View(_) | ScalarValue::BinaryView(_) => 0,
        value => weight::constant(value),
    }
}

fn of_all(expr: &Expr, schemas: &Schemas<'_>) -> Result<u64> {
    let mut bytes = 0_u64;
    expr.apply_children(|child| {
        bytes = bytes.saturating_add(of_row(child, schemas)?);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

fn of_all_but_constants(expr: &Expr, schemas: &Schemas<'_>) -> Result<u64> {
    let mut bytes = 0_u64;
    expr.apply_children(|child| {
        if !matches!(child, Expr::Literal(..)) {
            bytes = bytes.saturating_add(of_row(child, schemas)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

/// A row has one of the branches.
fn of_case(case: &Case, schemas: &Schemas<'_>) -> Result<u64> {
    let mut conditions = case.expr.as_deref().map_or(Ok(0), |expr| of_row(expr, schemas))?;
    let mut branch = case.else_expr.as_deref().map_or(Ok(0), |expr| of_row(expr, schemas))?;
    for (when, then) in &case.when_then_expr {
        if !matches!(when.as_ref(), Expr::Literal(..)) {
            conditions = conditions.saturating_add(of_row(when, schemas)?);
        }
        branch = branch.max(of_row(then, schemas)?);
    }
    Ok(conditions.saturating_add(branch))
}

fn of_call(call: &ScalarFunction, expr: &Expr, schemas: &Schemas<'_>) -> Result<u64> {
    if let Some(bytes) = constant_bytes(call) {
        return Ok(bytes);
    }
    let bytes = of_all(expr, schemas)?;
    if bytes <= FEW {
        return Ok(bytes);
    }
    // A function that gives a number or a truth looks at its constants once.
    let known = schemas.iter().find_map(|schema| expr.get_type(schema.as_ref()).ok());
    let is_short = |kind: DataType| kind.is_primitive() || kind == DataType::Boolean;
    if known.is_some_and(is_short) {
        return of_all_but_constants(expr, schemas);
    }
    Ok(bytes)
}
