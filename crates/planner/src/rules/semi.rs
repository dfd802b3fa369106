//! Semi joins above other joins, moved down to the rows that they are about.
//!
//! `a JOIN b … WHERE a.k IN (SELECT …)` is planned as a semi join of all that the joins below give.
//! Where it asks for columns of one of their inputs it may as well reduce that input: what it leaves
//! out is then neither shuffled nor joined, and what is left is known to be small before the other
//! inputs are read (see [`crate::decide`]).

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinSide, JoinType, Result};
use datafusion::physical_expr::PhysicalExprRef;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

type Plan = Arc<dyn ExecutionPlan>;
type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Before this rule of DataFusion joins have no sides and no exchanges yet.
const BEFORE: &str = "join_selection";

/// DataFusion's rules over physical plans, and ours, in the order in which a session runs them.
pub fn physical_rules() -> Vec<Rule> {
    let mut rules = PhysicalOptimizer::new().rules;
    let place = rules.iter().position(|rule| rule.name() == BEFORE).unwrap_or(0);
    rules.insert(place, Arc::new(PushSemiJoins));
    rules
}

/// Moves a semi join below inner joins, and below the kept side of outer ones, to the input that has
/// its keys, as long as that input is estimated to have no more rows than the join gives: a join
/// that leaves rows out is better done first.
///
/// A row of the join passes the semi join if its keys do. They come unchanged from one row of the
/// input (or, by the condition of an inner join, equal to its columns), so the same rows are left
/// out below. `datafusion.optimizer.join_reordering = false` keeps them where they are. Semi joins with a further condition, and anti joins, which seldom leave out much, stay.
#[derive(Debug, Default)]
pub(crate) struct PushSemiJoins;

impl PhysicalOptimizerRule for PushSemiJoins {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        if !config.optimizer.join_reordering {
            return Ok(plan);
        }
        // From below, so that of several semi joins above the same joins each finds those.
        let done = plan.transform_up(|node| {
            let Some(semi) = node.downcast_ref::<HashJoinExec>().filter(|join| can_move(join))
            else {
                return Ok(Transformed::no(node));
            };
            let keys = semi.on().iter().map(|(left, _)| column(left)).collect();
            let Some(keys) = keys else { return Ok(Transformed::no(node)) };
            let down = Down { semi, statistics: StatisticsContext::new() };
            Ok(match down.below(semi.left(), keys)? {
                Some(moved) => Transformed::yes(moved),
                None => Transformed::no(node),
            })
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "push_semi_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn can_move(join: &HashJoinExec) -> bool {
    *join.join_type() == JoinType::LeftSemi
        && join.filter().is_none()
        && !join.null_aware
        && !join.contains_projection()
        && join.fetch().is_none()
}

/// The place of a plain column.
fn column(expr: &PhysicalExprRef) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// A semi join on its way down.
struct Down<'a> {
    semi: &'a HashJoinExec,
    /// Of the nodes that it passes, each of which is looked at once.
    statistics: StatisticsContext,
}

impl Down<'_> {
    /// `input` with the semi join below the joins that it consists of; `None` if it is none, or if
    /// it is better done where it is. `keys` are the columns of `input` that it asks for.
    fn below(&self, input: &Plan, keys: Vec<usize>) -> Result<Option<Plan>> {
        if let Some(projection) = input.downcast_ref::<ProjectionExec>() {
            let through = |key: &usize| column(&projection.expr().get(*key)?.expr);
            let Some(keys) = keys.iter().map(through).collect() else { return Ok(None) };
            let moved = self.below(projection.input(), keys)?;
            let above = |child| replace_children_if_necessary(Arc::clone(input), vec![child]);
            return moved.map(above).transpose();
        }
        let Some(join) = input.downcast_ref::<HashJoinExec>().filter(|join| join.fetch().is_none())
        else {
            return Ok(None);
        };
        let Some((side, keys)) = self.cheapest_side(join, input, &keys)? else { return Ok(None) };
        let child = if side == JoinSide::Left { join.left() } else { join.right() };
        let reduced = match self.below(child, keys.clone())? {
            Some(moved) => moved,
            None => semi_join(self.semi, child, &keys)?,
        };
        let children = match side {
            JoinSide::Left => vec![reduced, Arc::clone(join.right())],
            _ => vec![Arc::clone(join.left()), reduced],
        };
        replace_children_if_necessary(Arc::clone(input), children).map(Some)
    }

    /// The side of `join` that has all keys and the fewest rows, not more than the join is thought
    /// to give, and the keys' places there.
    fn cheapest_side(
        &self,
        join: &HashJoinExec,
        plan: &Plan,
        keys: &[usize],
    ) -> Result<Option<(JoinSide, Vec<usize>)>> {
        let sides: &[JoinSide] = match join.join_type() {
            JoinType::Inner => &[JoinSide::Left, JoinSide::Right],
            JoinType::Left => &[JoinSide::Left],
            JoinType::Right => &[JoinSide::Right],
            _ => return Ok(None),
        };
        let Some(most) = self.rows(plan)? else { return Ok(None) };
        let mut best: Option<(usize, JoinSide, Vec<usize>)> = None;
        for side in sides {
            let places: Option<Vec<usize>> =
                keys.iter().map(|key| place_in(join, *key, *side)).collect();
            let Some(places) = places else { continue };
            let child = if *side == JoinSide::Left { join.left() } else { join.right() };
            if let Some(rows) = self.rows(child)?.filter(|rows| *rows <= most)
                && best.as_ref().is_none_or(|(least, ..)| rows < *least)
            {
                best = Some((rows, *side, places));
            }
        }
        Ok(best.map(|(_, side, places)| (side, places)))
    }

    /// Estimated rows of a plan.
    fn rows(&self, plan: &Plan) -> Result<Option<usize>> {
        let statistics = self.statistics.compute(plan.as_ref(), &StatisticsArgs::new())?;
        Ok(statistics.num_rows.get_value().copied())
    }
}

/// The semi join over another input.
fn semi_join(semi: &HashJoinExec, input: &Plan, keys: &[usize]) -> Result<Plan> {
    let schema = input.schema();
    let on = keys.iter().zip(semi.on()).map(|(key, (_, right))| {
        let left: PhysicalExprRef = Arc::new(Column::new(schema.field(*key).name(), *key));
        (left, Arc::clone(right))
    });
    HashJoinExecBuilder::new(
        Arc::clone(input),
        Arc::clone(semi.right()),
        on.collect(),
        JoinType::LeftSemi,
    )
    .with_partition_mode(*semi.partition_mode())
    .with_null_equality(semi.null_equality())
    .build_exec()
}

/// Where a column of the join's output is, or is found again by its condition, on one side.
fn place_in(join: &HashJoinExec, output: usize, side: JoinSide) -> Option<usize> {
    let place = match &join.projection {
        Some(projection) => *projection.get(output)?,
        None => output,
    };
    let left_len = join.left().schema().fields().len();
    let (of, place) = match place.checked_sub(left_len) {
        None => (JoinSide::Left, place),
        Some(place) => (JoinSide::Right, place),
    };
    if of == side {
        return Some(place);
    }
    if *join.join_type() != JoinType::Inner {
        return None;
    }
    join.on().iter().find_map(|(left, right)| {
        let (left, right) = (column(left)?, column(right)?);
        let (there, here) = if of == JoinSide::Left { (left, right) } else { (right, left) };
        (there == place).then_some(here)
    })
}
