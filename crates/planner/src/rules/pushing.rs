//! Conditions that are pushed through a SELECT, which puts the expressions of its columns in the
//! place of each of their names: names of a long constant become long constants, and layers of
//! subqueries with `a + a AS a` double in each.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, HashMap, Result};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::weight;
use crate::functions::{charge, check_added};

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules, of which those that do so have a limit.
pub(crate) fn optimizer_rules() -> Vec<Rule> {
    let measured = |rule: Rule| -> Rule {
        match rule.name() {
            "push_down_filter" => Arc::new(Measured { rule, does: Does::Push }),
            "eliminate_outer_join" => Arc::new(Measured { rule, does: Does::Look }),
            _ => rule,
        }
    };
    Optimizer::new().rules.into_iter().map(measured).collect()
}

/// What a rule does with a condition above a SELECT.
#[derive(Debug)]
enum Does {
    /// Pushes it one level at a time. What that adds is taken from what is left.
    Push,
    /// Looks at it from below all SELECTs, and keeps nothing of it. It can be left out.
    Look,
}

/// A rule of DataFusion with a limit on what it makes of conditions.
#[derive(Debug)]
struct Measured {
    rule: Rule,
    does: Does,
}

impl OptimizerRule for Measured {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Filter(filter) = &plan {
            match self.does {
                Does::Push => charge(added(filter)?)?,
                Does::Look if check_added(added_by_all(filter)?).is_err() => {
                    return Ok(Transformed::no(plan));
                }
                Does::Look => {}
            }
        }
        self.rule.rewrite(plan, config)
    }
}

/// Bytes by which a condition grows when it is pushed one level down.
fn added(filter: &Filter) -> Result<u64> {
    match filter.input.as_ref() {
        LogicalPlan::Projection(projection) => {
            Ok(Names::of(&filter.predicate).replaced(&projection.schema, &projection.expr)?.0)
        }
        // Groups stand first in the schema of an aggregate.
        LogicalPlan::Aggregate(aggregate) => {
            Ok(Names::of(&filter.predicate).replaced(&aggregate.schema, &aggregate.group_expr)?.0)
        }
        LogicalPlan::Union(union) => {
            let more = union.inputs.len().saturating_sub(1) as u64;
            Ok(weight::of(&filter.predicate)?.saturating_mul(more))
        }
        _ => Ok(0),
    }
}

/// Bytes by which it grows when it is pushed through all SELECTs at once.
fn added_by_all(filter: &Filter) -> Result<u64> {
    let mut names = Names::of(&filter.predicate);
    let (mut bytes, mut input) = (0_u64, filter.input.as_ref());
    while let LogicalPlan::Projection(projection) = input {
        let (more, below) = names.replaced(&projection.schema, &projection.expr)?;
        (bytes, names) = (bytes.saturating_add(more), below);
        input = projection.input.as_ref();
    }
    Ok(bytes)
}

/// The columns of a condition, and how often each comes.
struct Names<'a>(HashMap<&'a Column, u64>);

impl<'a> Names<'a> {
    fn of(predicate: &'a Expr) -> Self {
        let mut names = HashMap::new();
        predicate.add_column_ref_counts(&mut names);
        Self(names.into_iter().map(|(column, times)| (column, times as u64)).collect())
    }

    /// Bytes of what the columns stand for, and the columns in that.
    fn replaced<'b>(&self, schema: &DFSchema, exprs: &'b [Expr]) -> Result<(u64, Names<'b>)> {
        let (mut bytes, mut below) = (0_u64, HashMap::new());
        for (column, times) in &self.0 {
            let at = schema.maybe_index_of_column(column);
            let Some(expr) = at.and_then(|at| exprs.get(at)) else { continue };
            bytes = bytes.saturating_add(weight::of(expr)?.saturating_mul(*times));
            for (column, more) in Names::of(expr).0 {
                let sum: &mut u64 = below.entry(column).or_default();
                *sum = sum.saturating_add(more.saturating_mul(*times));
            }
        }
        Ok((bytes, Names(below)))
    }
}
