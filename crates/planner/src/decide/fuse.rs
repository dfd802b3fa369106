//! Running a stage of one small slice together with the stage that reads it.
//!
//! One slice is one task with one stream, so nothing is shared out between the two: the shuffle
//! would only carry the rows to whoever claims the next task, for two more transactions of the store
//! and the wait for them. The reader takes the stage in and keeps its number and its output.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::{Error, Result};
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{EdgeKind, StageSpec};

use crate::codec::{PlanCodec, ProtoCodec, decode_together};
use crate::cut::{collect_inputs, with_children};
use crate::nodes::ExchangeReadExec;

type Plan = Arc<dyn ExecutionPlan>;

/// The reader of `stage`, which has one slice, with the stage inside. `None` if it reads anything
/// else, if others read the stage or wait for it, or if it must read it in several streams.
pub(super) fn fused(
    stage: &StageSpec,
    stages: &BTreeMap<u32, StageSpec>,
    context: &TaskContext,
) -> Result<Option<StageSpec>> {
    let uses = |spec: &&StageSpec| {
        spec.after.contains(&stage.id) || spec.inputs.iter().any(|input| input.stage == stage.id)
    };
    let mut users = stages.values().filter(uses);
    let (Some(reader), None) = (users.next(), users.next()) else { return Ok(None) };
    let [input] = reader.inputs.as_slice() else { return Ok(None) };
    let fits = match EdgeKind::try_from(input.edge) {
        Ok(EdgeKind::Gather | EdgeKind::OrderedGather) => is_whole(reader),
        Ok(EdgeKind::Hash) => has_one_stream(stage),
        _ => false,
    };
    if !fits || !reader.after.is_empty() {
        return Ok(None);
    }
    let plans = decode_together(&[&reader.plan, &stage.plan], context)?;
    let [above, below] = plans.as_slice() else {
        return Err(Error::bug("two plans were encoded, another number came back"));
    };
    // Each reading end needs rows of its own.
    if reads_of(above) != 1 {
        return Ok(None);
    }
    let plan = replace_read(above, below)?;
    let mut inputs = Vec::new();
    collect_inputs(&plan, &mut inputs);
    Ok(Some(StageSpec {
        plan: ProtoCodec.encode(&plan)?,
        inputs,
        slices: stage.slices.clone(),
        after: stage.after.clone(),
        scan_bytes: reader.scan_bytes + stage.scan_bytes,
        plan_partitions: stage.plan_partitions,
        determinate: reader.determinate && stage.determinate,
        ..reader.clone()
    }))
}

fn slices(spec: &StageSpec) -> Option<&SliceKind> {
    spec.slices.as_ref().and_then(|slices| slices.kind.as_ref())
}

fn is_whole(spec: &StageSpec) -> bool {
    matches!(slices(spec), Some(SliceKind::Whole(_)))
}

/// True if the stage's only slice makes one stream: it is bound to just what drives the stage.
fn has_one_stream(spec: &StageSpec) -> bool {
    let shared = matches!(slices(spec), Some(SliceKind::Files(_) | SliceKind::HashPartitions(_)));
    shared || spec.plan_partitions <= 1
}

fn reads_of(plan: &Plan) -> usize {
    let own = usize::from(plan.is::<ExchangeReadExec>());
    own + plan.children().into_iter().map(reads_of).sum::<usize>()
}

fn replace_read(plan: &Plan, rows: &Plan) -> Result<Plan> {
    if plan.is::<ExchangeReadExec>() {
        return Ok(Arc::clone(rows));
    }
    let children = plan.children().into_iter().map(|child| replace_read(child, rows));
    let children = children.collect::<Result<Vec<_>>>()?;
    if children.is_empty() { Ok(Arc::clone(plan)) } else { with_children(plan, children) }
}
