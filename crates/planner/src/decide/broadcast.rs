//! Replacing a hash join by a broadcast join when the sealed build side is small.
//!
//! A candidate is a partitioned hash join whose sides are hash exchanges, in a stage where nothing
//! above the join relies on its partitioning. When the build side turns out small, the stage of the
//! probe side is taken into the joining stage: the probe side is never shuffled, and the join's
//! dynamic filter reaches its scan. For that the probe side must not have been opened, so it waits
//! for the build side ([`order_builds_before_probes`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use dunlin_base::{Error, Result};
use dunlin_proto::output::StageOutput;
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{DecisionBody, EdgeKind, StageSpec};

use super::{DecideOptions, reduce};
use crate::codec::{PlanCodec, ProtoCodec, decode_together};
use crate::cut::{StageDraft, collect_inputs, df, roles, with_children};
use crate::nodes::{ExchangeReadExec, WriteFilesExec};

type Plan = Arc<dyn ExecutionPlan>;

/// The two stages of a join that may become a broadcast join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) build: u32,
    pub(super) probe: u32,
}

/// What a decider knows besides the graph.
pub(super) struct Known<'a> {
    pub(super) opened: &'a BTreeSet<u32>,
    pub(super) sealed: &'a BTreeMap<u32, &'a StageOutput>,
    pub(super) options: DecideOptions,
    pub(super) context: &'a TaskContext,
}

/// Makes probe sides of candidates wait for their build sides.
pub(crate) fn order_builds_before_probes(stages: &mut [StageDraft]) {
    let mut candidates: Vec<Candidate> =
        stages.iter().filter_map(|stage| candidate(&stage.plan)).collect();
    candidates.extend(stages.iter().flat_map(|stage| reduce::candidates(&stage.plan)));
    for Candidate { build, probe } in candidates {
        if let Some(stage) = stages.get_mut(probe as usize) {
            stage.after.push(build);
        }
    }
}

/// A probe stage inside its joining stage.
pub(super) struct Absorbed {
    join: u32,
    probe: u32,
    build: u32,
}

/// Takes note of those that are opened now. The others are absorbed again by the next decision,
/// which may have other reasons then.
pub(super) fn record(absorbed: &[Absorbed], body: &mut DecisionBody) {
    // A joining stage may be inside another one in its turn, which may come later in the list.
    let mut rest: Vec<&Absorbed> = absorbed.iter().collect();
    loop {
        let runs =
            |one: &&Absorbed| body.opened.contains(&one.join) || body.absorbed.contains(&one.join);
        let (now, later): (Vec<_>, Vec<_>) = rest.into_iter().partition(runs);
        if now.is_empty() {
            return;
        }
        for Absorbed { join, probe, build } in now {
            body.absorbed.push(*probe);
            body.notes.push(format!(
                "stage {join}: build side (stage {build}) is small, broadcast; probe side (stage \
                 {probe}) is read here"
            ));
        }
        rest = later;
    }
}

/// Takes probe stages into their joining stage wherever the build side is sealed and small.
pub(super) fn absorb_probes(
    stages: &mut BTreeMap<u32, StageSpec>,
    known: &Known<'_>,
) -> Result<Vec<Absorbed>> {
    let mut absorbed = Vec::new();
    // Probe stages are known by what waits for a build side; most graphs have none.
    let waiting: Vec<(u32, u32)> = stages
        .values()
        .flat_map(|spec| spec.after.iter().map(|build| (spec.id, *build)))
        .filter(|(probe, build)| !known.opened.contains(probe) && is_small(*build, known))
        .collect();
    for (probe, build) in waiting {
        let reads = |spec: &&StageSpec| {
            spec.inputs.iter().any(|i| i.stage == probe && i.edge == i32::from(EdgeKind::Hash))
        };
        let Some(join) = stages.values().find(reads).cloned() else { continue };
        let Some(probe_spec) = stages.get(&probe).cloned() else { continue };
        if known.opened.contains(&join.id) || !can_drive(&probe_spec) {
            continue;
        }
        let Some(merged) = absorb(&join, &probe_spec, build, known.context)? else { continue };
        absorbed.push(Absorbed { join: join.id, probe, build });
        stages.insert(join.id, merged);
        stages.remove(&probe);
    }
    Ok(absorbed)
}

pub(super) fn is_small(build: u32, known: &Known<'_>) -> bool {
    let Some(output) = known.sealed.get(&build) else { return false };
    let partitions = || output.maps.iter().flat_map(|map| &map.partitions);
    partitions().map(|p| p.bytes).sum::<u64>() <= known.options.broadcast_bytes
        && partitions().map(|p| p.rows).sum::<u64>() <= known.options.broadcast_rows
}

fn can_drive(probe: &StageSpec) -> bool {
    let kind = probe.slices.as_ref().and_then(|s| s.kind.as_ref());
    matches!(kind, Some(SliceKind::Files(_) | SliceKind::HashPartitions(_)))
}

/// The joining stage with the probe stage inside.
fn absorb(
    join: &StageSpec,
    probe: &StageSpec,
    build: u32,
    context: &TaskContext,
) -> Result<Option<StageSpec>> {
    let plans = decode_together(&[&join.plan, &probe.plan], context)?;
    let [join_plan, probe_plan] = plans.as_slice() else {
        return Err(Error::bug("two plans were encoded, another number came back"));
    };
    let wanted = Candidate { build, probe: probe.id };
    if candidate(join_plan) != Some(wanted) {
        return Ok(None);
    }
    let plan = replace(join_plan, probe_plan)?;
    let mut inputs = Vec::new();
    collect_inputs(&plan, &mut inputs);
    Ok(Some(StageSpec {
        plan: ProtoCodec.encode(&plan)?,
        inputs,
        slices: probe.slices.clone(),
        scan_bytes: join.scan_bytes + probe.scan_bytes,
        plan_partitions: probe.plan_partitions,
        determinate: join.determinate && probe.determinate,
        after: probe.after.iter().chain(&join.after).filter(|s| **s != build).copied().collect(),
        ..join.clone()
    }))
}

/// The child through which the rows of the join flow, if the operator does not rely on how they
/// are partitioned.
fn passes(plan: &Plan) -> Option<usize> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let collects = *join.partition_mode() == PartitionMode::CollectLeft;
        let safe = !roles::emits_build_rows(*join.join_type()) && !join.null_aware;
        return (collects && safe).then_some(1);
    }
    let aggregate = plan.downcast_ref::<AggregateExec>();
    let sort = plan.downcast_ref::<SortExec>();
    let agnostic = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<WriteFilesExec>()
        || aggregate.is_some_and(|a| *a.mode() == AggregateMode::Partial)
        || sort.is_some_and(|s| s.preserve_partitioning());
    agnostic.then_some(0)
}

fn candidate(plan: &Plan) -> Option<Candidate> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && *join.partition_mode() == PartitionMode::Partitioned
    {
        let safe = !roles::emits_build_rows(*join.join_type()) && !join.null_aware;
        let (build, probe) = (only_stage(join.left())?, only_stage(join.right())?);
        return safe.then_some(Candidate { build, probe });
    }
    candidate(plan.children().get(passes(plan)?)?)
}

/// The stage that a hash exchange reads, if it is one.
pub(super) fn only_stage(plan: &Plan) -> Option<u32> {
    let read = plan.downcast_ref::<ExchangeReadExec>()?;
    match read.stages() {
        [stage] if read.kind() == EdgeKind::Hash => Some(*stage),
        _ => None,
    }
}

fn replace(plan: &Plan, probe: &Plan) -> Result<Plan> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && *join.partition_mode() == PartitionMode::Partitioned
    {
        let read = join.left().downcast_ref::<ExchangeReadExec>();
        let read = read.ok_or_else(|| Error::bug("a broadcast candidate changed its shape"))?;
        let build: Plan = Arc::new(read.into_broadcast());
        return join
            .builder()
            .with_partition_mode(PartitionMode::CollectLeft)
            .with_new_children(vec![build, Arc::clone(probe)])
            .and_then(|builder| builder.build_exec())
            .map_err(df);
    }
    let through = passes(plan).ok_or_else(|| Error::bug("a broadcast candidate disappeared"))?;
    let mut children: Vec<Plan> = plan.children().into_iter().cloned().collect();
    children[through] = replace(&children[through], probe)?;
    with_children(plan, children)
}
