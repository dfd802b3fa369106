//! Parameters of a statement: `?` or `$1`, and the values that take their place in its plan.
//!
//! The one thing to know: values go into the logical plan, never into SQL text, so no value is ever
//! read as SQL.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use dunlin_base::{ByteCount, Error, Result};

use super::{Statement, StatementKind};
use crate::errors::{Span, at, in_text, into_datafusion};

/// Most parameters of one statement.
const PARAMETERS_MAX: usize = 1000;

/// What the values of a statement may take in its plan, which has a copy for each use.
const VALUES_MAX: ByteCount = ByteCount::mib(64);

/// The parameters of a statement, and their values if they are bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    /// The highest number.
    pub(super) count: usize,
    pub(super) values: Option<Arc<[ScalarValue]>>,
}

impl Statement {
    /// How many parameters it has: the highest number of `$1`, or how many `?`.
    pub fn parameters(&self) -> usize {
        self.parameters.count
    }

    /// The values of its parameters, if they are bound. Two statements of the same text with other
    /// values have other plans.
    pub fn values(&self) -> Option<&[ScalarValue]> {
        self.parameters.values.as_deref()
    }

    /// The statement with values for its parameters, in their order. `Invalid`: another number of
    /// values than of parameters.
    pub fn with_values(&self, values: Vec<ScalarValue>) -> Result<Self> {
        let (has, given) = (self.parameters.count, values.len());
        if has != given {
            return Err(Error::invalid(format!(
                "the statement has {has} parameters, and {given} values were given"
            )));
        }
        let mut bound = self.clone();
        bound.parameters.values = Some(values.into());
        Ok(bound)
    }
}

/// Gives every `?` its number and finds how many parameters there are. `Invalid`: names, numbers
/// out of range, both forms in one statement.
pub(super) fn number(tokens: &mut [TokenWithSpan], text: &str) -> Result<Parameters> {
    let (mut marks, mut highest) = (0, 0);
    for token in tokens {
        let Token::Placeholder(name) = &mut token.token else { continue };
        let fail = |message: String| {
            let error = Error::invalid(message);
            match Span::from_parser(token.span) {
                Some(span) => at(error, text, span),
                None => error,
            }
        };
        if name == "?" {
            marks += 1;
            *name = format!("${marks}");
        } else {
            let number = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
            match number {
                Some(number @ 1..) => highest = highest.max(number),
                _ => return Err(fail(format!("'{name}' is no parameter: write ? or $1"))),
            }
        }
        if marks > 0 && highest > 0 {
            return Err(fail("parameters are ? or $1, not both in one statement".to_owned()));
        }
        if marks.max(highest) > PARAMETERS_MAX {
            return Err(fail(format!("a statement has at most {PARAMETERS_MAX} parameters")));
        }
    }
    Ok(Parameters { count: marks.max(highest), values: None })
}

/// Refuses parameters where no plan takes them.
pub(super) fn check_place(statement: &Statement) -> Result<()> {
    if statement.parameters.count > 0 && statement.kind() != StatementKind::Rows {
        return Err(Error::invalid("only queries have parameters"));
    }
    Ok(())
}

/// Puts the values into a plan. `Invalid`: a parameter has none. `Exhausted`: they take too much.
pub(super) fn bind(plan: LogicalPlan, statement: &Statement) -> Result<LogicalPlan> {
    if statement.parameters.count == 0 {
        return Ok(plan);
    }
    let Some(values) = &statement.parameters.values else {
        return Err(Error::invalid("parameter $1 has no value")
            .with_hint("bind values to the statement's parameters before it is run"));
    };
    check_size(&plan, values).map_err(|e| in_text(&e, &statement.text))?;
    plan.with_param_values(values.to_vec()).map_err(|e| in_text(&e, &statement.text))
}

/// Counts in the plan, not in the text: a name in WITH stands for all that it is short for.
fn check_size(plan: &LogicalPlan, values: &[ScalarValue]) -> Result<(), DataFusionError> {
    let mut bytes = 0_u64;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(parameter) = expr {
                    let number = parameter.id.strip_prefix('$').and_then(|n| n.parse().ok());
                    let at = number.and_then(|number: usize| number.checked_sub(1));
                    let value = at.and_then(|at| values.get(at));
                    bytes = bytes.saturating_add(value.map_or(0, ScalarValue::size) as u64);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if bytes <= VALUES_MAX.0 {
        return Ok(());
    }
    let error = Error::exhausted(format!(
        "the values of the parameters would take {} wherever they are used, more than {VALUES_MAX}",
        ByteCount(bytes)
    ));
    Err(into_datafusion(error.with_hint("use shorter values, or each fewer times")))
}
