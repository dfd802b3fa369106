//! Whether a slice of a stage that runs again gives the same rows to the same partitions. If it
//! does, lost output of it can be made again beside what others have read already.
//!
//! Called once for each stage when a plan is cut. Operators and functions that are not known to
//! qualify do not: a wrong "no" costs work after a loss, a wrong "yes" costs rows.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use dunlin_proto::plan::EdgeKind;

use super::Output;
use crate::nodes::{ExchangeReadExec, SliceScanExec};

/// Aggregates whose result does not depend on the order of their input.
const ORDERLESS: [&str; 9] = [
    "count",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "approx_distinct",
];

/// Those that do not, unless they add up floats.
const ORDERLESS_IF_EXACT: [&str; 2] = ["sum", "avg"];

/// True if the rows of a slice, and the partition of each row, follow from its input alone,
/// whatever order the input comes in.
pub(super) fn is_determinate(plan: &Arc<dyn ExecutionPlan>, output: &Output) -> bool {
    // Where partitions are those of the plan, the plan must not deal its rows out by turns.
    let by_stream = matches!(output.kind, EdgeKind::Forward | EdgeKind::OrderedGather);
    output.keys.iter().all(|key| !is_volatile(key)) && rows_follow(plan, by_stream)
}

fn rows_follow(plan: &Arc<dyn ExecutionPlan>, by_stream: bool) -> bool {
    // Which rows a limit lets through is a matter of time.
    plan.fetch().is_none()
        && !draws_lots(plan)
        && node_follows(plan, by_stream)
        && plan.children().into_iter().all(|child| rows_follow(child, by_stream))
}

/// True if an expression of the operator is volatile. A scan has some, too: what was pushed down.
fn draws_lots(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let mut volatile = false;
    let looked = plan.apply_expressions(&mut |expr| {
        volatile |= is_volatile(expr);
        Ok(TreeNodeRecursion::Continue)
    });
    let scan = plan.downcast_ref::<DataSourceExec>();
    let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let pushed = files.map(|files| files.file_source());
    let projected = pushed.and_then(|source| source.projection());
    let filter = pushed.and_then(|source| source.filter());
    volatile
        || looked.is_err()
        || projected.is_some_and(|exprs| exprs.iter().any(|one| is_volatile(&one.expr)))
        || filter.is_some_and(|filter| is_volatile(&filter))
}

fn node_follows(plan: &Arc<dyn ExecutionPlan>, by_stream: bool) -> bool {
    let none_volatile = |exprs: &[Arc<dyn PhysicalExpr>]| exprs.iter().all(|e| !is_volatile(e));
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return !is_volatile(filter.predicate());
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return projection.expr().iter().all(|projected| !is_volatile(&projected.expr));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let filters = aggregate.filter_expr().iter().flatten();
        return aggregate.limit_options().is_none()
            && aggregate.aggr_expr().iter().all(|function| is_orderless(function))
            && aggregate.group_expr().expr().iter().all(|(group, _)| !is_volatile(group))
            && filters.clone().all(|filter| !is_volatile(filter));
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return match repartition.partitioning() {
            Partitioning::Hash(keys, _) => none_volatile(keys),
            _ => !by_stream,
        };
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return join.filter().is_none_or(|filter| !is_volatile(filter.expression()));
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return join.filter().is_none_or(|filter| !is_volatile(filter.expression()));
    }
    if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
        return join.filter().as_ref().is_none_or(|filter| !is_volatile(filter.expression()));
    }
    passes_rows_on(plan)
}

/// Operators without expressions that choose or make rows.
fn passes_rows_on(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<DataSourceExec>()
        || plan.is::<SliceScanExec>()
        || plan.is::<ExchangeReadExec>()
        || plan.is::<EmptyExec>()
        || plan.is::<PlaceholderRowExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<SortExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<UnionExec>()
        || plan.is::<InterleaveExec>()
        || plan.is::<UnnestExec>()
}

fn is_orderless(function: &AggregateFunctionExpr) -> bool {
    let name = function.fun().name();
    let exact = || !function.field().data_type().is_floating();
    let known = ORDERLESS.contains(&name) || (ORDERLESS_IF_EXACT.contains(&name) && exact());
    known && function.expressions().iter().all(|argument| !is_volatile(argument))
}
