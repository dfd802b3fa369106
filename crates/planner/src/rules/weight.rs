//! How much memory expressions take, and would take if they were written out.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::Between;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};

/// Bytes of one level of an expression, of which each rule may hold some copies.
const NODE: u64 = 4 * size_of::<Expr>() as u64;

/// Bytes of a constant beside its level.
pub(super) fn constant(value: &ScalarValue) -> u64 {
    use ScalarValue as V;
    match value {
        V::Utf8(text) | V::LargeUtf8(text) | V::Utf8View(text) => {
            text.as_ref().map_or(0, |text| text.len() as u64)
        }
        V::Binary(bytes) | V::LargeBinary(bytes) | V::BinaryView(bytes) => {
            bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
        }
        V::FixedSizeBinary(width, _) => width.unsigned_abs().into(),
        V::List(_) | V::LargeList(_) | V::FixedSizeList(_) | V::Struct(_) | V::Map(_) => {
            value.size() as u64
        }
        _ => 0,
    }
}

/// Bytes of an expression.
pub(super) fn of(expr: &Expr) -> Result<u64> {
    let mut bytes = 0_u64;
    expr.apply(|expr| {
        let own = if let Expr::Literal(value, _) = expr { constant(value) } else { 0 };
        bytes = bytes.saturating_add(NODE).saturating_add(own);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

/// Bytes of all constants of a plan.
pub(crate) fn constants(plan: &LogicalPlan) -> Result<u64> {
    let mut bytes = 0_u64;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr {
                    bytes = bytes.saturating_add(constant(value));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}

/// What all expressions of a plan grow by when they are simplified: some operators and functions
/// become others that repeat an operand, and so do those in this operand.
pub(crate) fn repeated(plan: &LogicalPlan) -> Result<u64> {
    let mut bytes = 0_u64;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            let (plain, written_out) = (of(expr)?, written_out(expr)?);
            bytes = bytes.saturating_add(written_out - plain);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(bytes)
}

fn written_out(expr: &Expr) -> Result<u64> {
    let (mut all, mut first) = (0_u64, None);
    expr.apply_children(|child| {
        let bytes = written_out(child)?;
        first = first.or(Some(bytes));
        all = all.saturating_add(bytes);
        Ok(TreeNodeRecursion::Continue)
    })?;
    let again = match repeats(expr) {
        Repeats::Nothing => 0,
        Repeats::First(times) => first.unwrap_or(0).saturating_mul(times),
        Repeats::All => all,
    };
    let own = if let Expr::Literal(value, _) = expr { constant(value) } else { 0 };
    Ok(all.saturating_add(again).saturating_add(NODE).saturating_add(own))
}

/// Which operands simplifying repeats.
enum Repeats {
    Nothing,
    /// The first, so many times more.
    First(u64),
    All,
}

fn repeats(expr: &Expr) -> Repeats {
    match expr {
        Expr::Between(Between { .. }) => Repeats::First(1),
        Expr::ScalarFunction(call) if matches!(call.name(), "coalesce" | "nvl") => Repeats::All,
        Expr::BinaryExpr(binary) => match binary.op {
            // `a ~ 'b|c'` becomes `a LIKE '%b%' OR a LIKE '%c%'`, with four at most.
            Operator::RegexMatch
            | Operator::RegexIMatch
            | Operator::RegexNotMatch
            | Operator::RegexNotIMatch => Repeats::First(3),
            // `date_part('year', a) = 2026` becomes `a >= '2026-01-01' AND a < '2027-01-01'`.
            op if op.supports_propagation() => match binary.left.as_ref() {
                Expr::ScalarFunction(_) => Repeats::First(1),
                _ => Repeats::Nothing,
            },
            _ => Repeats::Nothing,
        },
        _ => Repeats::Nothing,
    }
}
