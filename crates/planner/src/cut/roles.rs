//! Which operators may run on a share of their input, and which input they share out.
//!
//! The rule behind the table: with slice `i` bound, an operator must give just the rows that its
//! partition `i` would give in the whole plan. Operators not in the table make their stage run as
//! one slice.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::partial_sort::PartialSortExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::InterleaveExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use dunlin_base::{ByteCount, Result};
use dunlin_proto::plan::EdgeKind;

use super::{files, partitions_of, with_children};
use crate::nodes::{ExchangeReadExec, WriteFilesExec};

/// What a slice of a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Ranges of the files of its one scan.
    Files,
    /// Partitions of its hash exchanges.
    Hash(u32),
    /// Partitions of its forward exchange.
    Forward,
    /// All of it.
    Whole,
}

/// What an operator needs of its inputs in a task that runs a share of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roles {
    /// The task's share of every input.
    All,
    /// All rows of the first input, the task's share of the others.
    BuildWhole,
}

impl Roles {
    fn shares(self, input: usize) -> bool {
        self == Self::All || input > 0
    }
}

/// What the slices of a stage with this plan are.
pub(crate) fn drive(plan: &Arc<dyn ExecutionPlan>) -> Drive {
    let mut leaves = Vec::new();
    if partitions_of(plan) <= 1 || !collect(plan, &mut leaves) {
        return Drive::Whole;
    }
    match leaves.split_first() {
        Some((Drive::Hash(n), rest)) if rest.iter().all(|leaf| leaf == &Drive::Hash(*n)) => {
            Drive::Hash(*n)
        }
        Some((one @ (Drive::Files | Drive::Forward), [])) => *one,
        _ => Drive::Whole,
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, leaves: &mut Vec<Drive>) -> bool {
    if let Some(leaf) = leaf(plan) {
        leaves.push(leaf);
        return true;
    }
    let Some(roles) = roles(plan) else { return false };
    let children = plan.children();
    !children.is_empty()
        && children.iter().enumerate().all(|(i, child)| !roles.shares(i) || collect(child, leaves))
}

fn leaf(plan: &Arc<dyn ExecutionPlan>) -> Option<Drive> {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        return match read.kind() {
            EdgeKind::Hash => Some(Drive::Hash(read.partitions())),
            EdgeKind::Forward => Some(Drive::Forward),
            _ => None,
        };
    }
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    (config.output_partitioning.is_none()).then_some(Drive::Files)
}

/// The table. `None`: unknown, or not to be shared out.
fn roles(plan: &Arc<dyn ExecutionPlan>) -> Option<Roles> {
    let both = Some(Roles::All);
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return match join.partition_mode() {
            PartitionMode::Partitioned => both,
            _ if emits_build_rows(*join.join_type()) || join.null_aware => None,
            _ => Some(Roles::BuildWhole),
        };
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        return (!emits_build_rows(*join.join_type())).then_some(Roles::BuildWhole);
    }
    if plan.is::<CrossJoinExec>() {
        return Some(Roles::BuildWhole);
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return match aggregate.mode() {
            AggregateMode::Final | AggregateMode::Single => None,
            _ => both,
        };
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return if sort.preserve_partitioning() { both } else { None };
    }
    let shares = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<UnnestExec>()
        || plan.is::<BoundedWindowAggExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<PartialSortExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<InterleaveExec>()
        || plan.is::<WriteFilesExec>();
    if shares { both } else { None }
}

/// True for joins that emit rows of the side that they collect: in several tasks, each with the
/// whole build side, such rows would come out once for each task.
pub(crate) fn emits_build_rows(join: JoinType) -> bool {
    use JoinType::{Full, Left, LeftAnti, LeftMark, LeftSemi};
    matches!(join, Left | LeftSemi | LeftAnti | LeftMark | Full)
}

/// True for scans, filters and projections over few bytes with one partition: reading them again in
/// every task costs less than a stage.
pub(crate) fn is_cheap_to_repeat(plan: &Arc<dyn ExecutionPlan>, limit: ByteCount) -> bool {
    if partitions_of(plan) != 1 || files::scan_bytes(plan) > limit.0 {
        return false;
    }
    let simple = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>()
        || plan.children().is_empty();
    simple && plan.children().into_iter().all(|child| is_cheap_to_repeat(child, limit))
}

/// Marks the exchange reads that the slices choose from.
pub(crate) fn mark_exchanges(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    replace_leaves(plan, &mut |leaf| match leaf.downcast_ref::<ExchangeReadExec>() {
        Some(read) => Ok(Arc::new(read.with_driving(true))),
        None => Ok(Arc::clone(leaf)),
    })
}

/// What a leaf becomes.
type Replace<'a> = dyn FnMut(&Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> + 'a;

/// Replaces the one scan that the slices choose the files of.
pub(crate) fn replace_scan(
    plan: Arc<dyn ExecutionPlan>,
    replace: &mut Replace<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    replace_leaves(plan, replace)
}

fn replace_leaves(
    plan: Arc<dyn ExecutionPlan>,
    replace: &mut Replace<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if leaf(&plan).is_some() {
        return replace(&plan);
    }
    let Some(roles) = roles(&plan) else { return Ok(plan) };
    let mut children = Vec::new();
    for (i, child) in plan.children().into_iter().enumerate() {
        children.push(match roles.shares(i) {
            true => replace_leaves(Arc::clone(child), replace)?,
            false => Arc::clone(child),
        });
    }
    with_children(&plan, children)
}
