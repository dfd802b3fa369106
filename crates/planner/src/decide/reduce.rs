//! Leaving out rows of a probe side that no row of a small build side can match, before they are
//! shuffled.
//!
//! A join that emits rows of its build side (semi, anti, mark) cannot become a broadcast join: each
//! task would emit them again. So both sides are hashed. But once the build side is sealed and is
//! small, every task of the probe stage can read all of its keys and drop what they do not have: a
//! semi join on the keys alone, below the exchange. The join itself stays as it is, with whatever
//! else it compares.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use dunlin_base::{Error, Result};
use dunlin_proto::plan::{EdgeKind, StageSpec};

use super::broadcast::{Candidate, Known, is_small, only_stage};
use crate::codec::{PlanCodec, ProtoCodec, decode_together};
use crate::cut::{collect_inputs, df};
use crate::nodes::ExchangeReadExec;

type Plan = Arc<dyn ExecutionPlan>;

/// The joins of a stage whose probe stages may be reduced.
pub(super) fn candidates(plan: &Plan) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = plan.children().into_iter().flat_map(candidates).collect();
    found.extend(plan.downcast_ref::<HashJoinExec>().and_then(candidate));
    found
}

fn candidate(join: &HashJoinExec) -> Option<Candidate> {
    use JoinType::{LeftAnti, LeftMark, LeftSemi};
    let only_matches = matches!(join.join_type(), LeftSemi | LeftAnti | LeftMark);
    let hashed = *join.partition_mode() == PartitionMode::Partitioned;
    if !only_matches || !hashed || join.null_aware {
        return None;
    }
    Some(Candidate { build: only_stage(join.left())?, probe: only_stage(join.right())? })
}

/// The stage `probe` with rows left out, if it is the probe side of such a join whose build side is
/// sealed and small; and that build side.
pub(super) fn reduced(
    probe: &StageSpec,
    stages: &BTreeMap<u32, StageSpec>,
    known: &Known<'_>,
) -> Result<Option<(StageSpec, u32)>> {
    // A stage that waits for a build side is the probe side of a candidate of some kind.
    if !probe.after.iter().any(|build| is_small(*build, known)) {
        return Ok(None);
    }
    let reads = |spec: &&StageSpec| spec.inputs.iter().any(|input| input.stage == probe.id);
    let mut readers = stages.values().filter(reads);
    let (Some(reader), None) = (readers.next(), readers.next()) else { return Ok(None) };
    let plans = decode_together(&[&reader.plan, &probe.plan], known.context)?;
    let [reader, rows] = plans.as_slice() else {
        return Err(Error::bug("two plans were encoded, another number came back"));
    };
    let Some((join, build)) = join_of(reader, probe.id) else { return Ok(None) };
    if !is_small(build, known) {
        return Ok(None);
    }
    let plan = semi_join(join, rows)?;
    let mut inputs = Vec::new();
    collect_inputs(&plan, &mut inputs);
    let spec = StageSpec { plan: ProtoCodec.encode(&plan)?, inputs, ..probe.clone() };
    Ok(Some((spec, build)))
}

fn join_of(plan: &Plan, probe: u32) -> Option<(&HashJoinExec, u32)> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(found) = candidate(join)
        && found.probe == probe
    {
        return Some((join, found.build));
    }
    plan.children().into_iter().find_map(|child| join_of(child, probe))
}

/// The rows that have the keys of some row of the join's build side.
fn semi_join(join: &HashJoinExec, rows: &Plan) -> Result<Plan> {
    let read = join.left().downcast_ref::<ExchangeReadExec>();
    let read = read.filter(|read| read.kind() == EdgeKind::Hash);
    let read = read.ok_or_else(|| Error::bug("a candidate for reducing changed its shape"))?;
    let mut keys: Vec<ProjectionExpr> = Vec::new();
    let mut on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> = Vec::new();
    for (number, (build, probe)) in join.on().iter().enumerate() {
        let name = format!("key{number}");
        on.push((Arc::new(Column::new(&name, number)), Arc::clone(probe)));
        keys.push(ProjectionExpr { expr: Arc::clone(build), alias: name });
    }
    let keys = ProjectionExec::try_new(keys, Arc::new(read.into_broadcast())).map_err(df)?;
    let semi = HashJoinExec::try_new(
        Arc::new(keys),
        Arc::clone(rows),
        on,
        None,
        &JoinType::RightSemi,
        None,
        PartitionMode::CollectLeft,
        join.null_equality(),
        false,
    );
    Ok(Arc::new(semi.map_err(df)?))
}
