//! Cutting a physical plan into stages at its exchanges.
//!
//! Who calls it: gateways, once for each query. Pure: plan and options in, stage graph out. What is
//! cut: hash repartitions; inputs of merges (sorted or not) with several partitions; build sides
//! that every task of a join needs whole; branches of unions. The merge operators themselves stay
//! in the consuming stage, so limits and orders keep DataFusion's own semantics.
//!
//! What a stage's slices are is decided in [`roles`] by an allow-list of operators: a stage that
//! holds anything else runs as one slice, which is always right.

mod determinate;
mod files;
mod normalize;
pub(crate) mod roles;

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::config::SessionConfig;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode,
};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use dunlin_base::{ByteCount, Error, Result};
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{EdgeKind, Graph, Header, Input, SliceSource, StageSpec};

use self::roles::Drive;
use crate::codec::{PlanCodec, ProtoCodec, encode_expr};
use crate::decide::broadcast;
use crate::nodes::ExchangeReadExec;

/// What cutting depends on besides the plan.
#[derive(Clone, Debug)]
pub struct CutOptions {
    /// Bytes of files that one slice of a scan should have.
    pub slice_bytes: ByteCount,
    /// Scans are cut into at least this many slices if each has a MiB.
    pub slices_min: usize,
    /// A plan that scans no more than this is not cut at all.
    pub collapse_bytes: ByteCount,
    /// A join that emits rows of its collected build side runs as one task while its probe side
    /// scans no more than this; above, both sides are hashed.
    pub whole_join_bytes: ByteCount,
    /// A build side of scans and filters over no more than this is read by every task itself.
    pub inline_build_bytes: ByteCount,
}

impl Default for CutOptions {
    fn default() -> Self {
        Self {
            slice_bytes: ByteCount::mib(32),
            slices_min: 2,
            collapse_bytes: ByteCount::mib(4),
            whole_join_bytes: ByteCount::mib(8),
            inline_build_bytes: ByteCount::mib(1),
        }
    }
}

/// Cuts `plan` into a stage graph. `Bug` if a part of the plan can not travel; the message names
/// the operator.
pub fn cut(
    plan: Arc<dyn ExecutionPlan>,
    header: Header,
    options: &CutOptions,
    config: &SessionConfig,
) -> Result<Graph> {
    let schema = plan.schema();
    let plan = normalize::normalize(plan, options, config).map_err(df)?;
    let mut cutter = Cutter { options, config, stages: Vec::new() };
    let whole = files::scan_bytes(&plan) <= options.collapse_bytes.0;
    let root = strip_root_merge(plan);
    let result_stage = cutter.stage(root, &Output::plain(EdgeKind::Result), !whole)?;
    let mut stages = cutter.stages;
    broadcast::order_builds_before_probes(&mut stages);
    let specs = stages.iter().map(StageDraft::encode).collect::<Result<Vec<_>>>()?;
    let result_schema = schema_message(&schema)?;
    Ok(Graph { header: Some(header), stages: specs, result_stage, result_schema })
}

/// A merge without order or limit at the very top only copies: the result is gathered anyway.
fn strip_root_merge(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.downcast_ref::<CoalescePartitionsExec>() {
        Some(merge) if merge.fetch().is_none() => Arc::clone(merge.input()),
        _ => plan,
    }
}

/// A stage before it is encoded.
pub(crate) struct StageDraft {
    pub(crate) id: u32,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) output: Output,
    pub(crate) slices: SliceSource,
    pub(crate) after: Vec<u32>,
    pub(crate) scan_bytes: u64,
    pub(crate) plan_partitions: u32,
}

/// Where a stage's rows go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) kind: EdgeKind,
    pub(crate) partitions: u32,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
}

impl Output {
    fn plain(kind: EdgeKind) -> Self {
        let partitions = match kind {
            EdgeKind::OrderedGather | EdgeKind::Forward => 0,
            _ => 1,
        };
        Self { kind, partitions, keys: Vec::new() }
    }
}

impl StageDraft {
    fn encode(&self) -> Result<StageSpec> {
        let hash_keys: Vec<Bytes> =
            self.output.keys.iter().map(encode_expr).collect::<Result<_>>()?;
        Ok(StageSpec {
            id: self.id,
            plan: ProtoCodec.encode(&self.plan)?,
            inputs: self.inputs.clone(),
            output: self.output.kind.into(),
            output_partitions: self.output.partitions,
            hash_keys,
            slices: Some(self.slices.clone()),
            after: self.after.clone(),
            scan_bytes: self.scan_bytes,
            plan_partitions: self.plan_partitions,
            determinate: determinate::is_determinate(&self.plan, &self.output),
        })
    }
}

struct Cutter<'a> {
    options: &'a CutOptions,
    config: &'a SessionConfig,
    stages: Vec<StageDraft>,
}

type Plan = Arc<dyn ExecutionPlan>;

impl Cutter<'_> {
    /// Makes a stage of `plan` (and the stages below it); returns its id.
    fn stage(&mut self, plan: Plan, output: &Output, cut: bool) -> Result<u32> {
        let scan_bytes = if cut { 0 } else { files::scan_bytes(&plan) };
        let plan = if cut { self.cut_node(plan)? } else { plan };
        let drive = if cut { roles::drive(&plan) } else { Drive::Whole };
        let plan_partitions = plan.output_partitioning().partition_count() as u32;
        let (plan, slices) = self.slice(plan, drive)?;
        let mut inputs = Vec::new();
        collect_inputs(&plan, &mut inputs);
        let id = self.stages.len() as u32;
        let scan_bytes = scan_bytes.max(files::scan_bytes(&plan) + files::slice_bytes(&slices));
        self.stages.push(StageDraft {
            id,
            plan,
            inputs,
            output: output.clone(),
            slices: SliceSource { kind: Some(slices) },
            after: Vec::new(),
            scan_bytes,
            plan_partitions,
        });
        Ok(id)
    }

    fn slice(&self, plan: Plan, drive: Drive) -> Result<(Plan, SliceKind)> {
        match drive {
            Drive::Whole => Ok((plan, SliceKind::Whole(true))),
            Drive::Forward => Ok((roles::mark_exchanges(plan)?, SliceKind::Forward(true))),
            Drive::Hash(n) => Ok((roles::mark_exchanges(plan)?, SliceKind::HashPartitions(n))),
            Drive::Files => {
                let mut slices = None;
                let plan = roles::replace_scan(plan, &mut |scan| {
                    let (marked, list) = files::slice_scan(scan, self.options, self.config)?;
                    slices = Some(list);
                    Ok(marked)
                })?;
                let slices = slices.ok_or_else(|| Error::bug("a driving scan was not found"))?;
                Ok((plan, SliceKind::Files(slices)))
            }
        }
    }

    /// Replaces the exchanges at the lower rim of the stage that `node` belongs to.
    fn cut_node(&mut self, node: Plan) -> Result<Plan> {
        if node.is::<RecursiveQueryExec>() {
            return Ok(node);
        }
        if let Some(repartition) = node.downcast_ref::<RepartitionExec>()
            && let Partitioning::Hash(keys, n) = repartition.partitioning()
        {
            let output = Output { kind: EdgeKind::Hash, partitions: *n as u32, keys: keys.clone() };
            let stages = self.producers(repartition.input(), &output)?;
            return self.hash_read(repartition, stages, &output);
        }
        if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>()
            && partitions_of(merge.input()) > 1
        {
            let read = self.read_of(merge.input(), EdgeKind::OrderedGather)?;
            return with_children(&node, vec![read]);
        }
        if let Some(merge) = node.downcast_ref::<CoalescePartitionsExec>()
            && partitions_of(merge.input()) > 1
        {
            let read = self.read_of(merge.input(), EdgeKind::Gather)?;
            return with_children(&node, vec![read]);
        }
        if let Some(union) = node.downcast_ref::<UnionExec>()
            && partitions_of(&node) > 1
        {
            let output = Output::plain(EdgeKind::Forward);
            let mut stages = Vec::new();
            for input in union.inputs() {
                stages.extend(self.producers(input, &output)?);
            }
            let streams = Partitioning::UnknownPartitioning(partitions_of(&node));
            let equivalence = node.properties().eq_properties.clone();
            let read = ExchangeReadExec::new(stages, EdgeKind::Forward, 0, streams, equivalence);
            return Ok(Arc::new(read));
        }
        self.cut_children(node)
    }

    fn cut_children(&mut self, node: Plan) -> Result<Plan> {
        let collected = is_collecting_join(&node);
        let mut children = Vec::new();
        for (i, child) in node.children().into_iter().enumerate() {
            children.push(match (collected, i) {
                (true, 0) => self.build_side(child)?,
                _ => self.cut_node(Arc::clone(child))?,
            });
        }
        if children.is_empty() { Ok(node) } else { with_children(&node, children) }
    }

    /// The side of a join that every task needs whole.
    fn build_side(&mut self, build: &Plan) -> Result<Plan> {
        if let Some(merge) = build.downcast_ref::<CoalescePartitionsExec>()
            && partitions_of(merge.input()) > 1
        {
            let read = self.read_of(merge.input(), EdgeKind::Broadcast)?;
            return with_children(build, vec![read]);
        }
        if roles::is_cheap_to_repeat(build, self.options.inline_build_bytes) {
            return Ok(Arc::clone(build));
        }
        self.read_of(build, EdgeKind::Broadcast)
    }

    /// Cuts `input` off as a stage (or one for each branch of a union) and returns its read.
    fn read_of(&mut self, input: &Plan, kind: EdgeKind) -> Result<Plan> {
        let stages = self.producers(input, &Output::plain(kind))?;
        let schema = input.schema();
        let (streams, equivalence) = match kind {
            EdgeKind::OrderedGather => {
                (partitions_of(input).max(2), input.properties().eq_properties.clone())
            }
            _ => (1, EquivalenceProperties::new(schema)),
        };
        let streams = Partitioning::UnknownPartitioning(streams);
        let partitions = Output::plain(kind).partitions;
        Ok(Arc::new(ExchangeReadExec::new(stages, kind, partitions, streams, equivalence)))
    }

    fn hash_read(
        &mut self,
        repartition: &RepartitionExec,
        stages: Vec<u32>,
        output: &Output,
    ) -> Result<Plan> {
        let properties = repartition.properties();
        let mut equivalence = properties.eq_properties.clone();
        equivalence.clear_orderings();
        let streams = properties.partitioning.clone();
        let read =
            ExchangeReadExec::new(stages, EdgeKind::Hash, output.partitions, streams, equivalence);
        // A repartition that kept the order of its input: the exchange does not, so sort again.
        match properties.output_ordering() {
            Some(order) if repartition.preserve_order() => {
                let sort = SortExec::new(order.clone(), Arc::new(read));
                Ok(Arc::new(sort.with_preserve_partitioning(true)))
            }
            _ => Ok(Arc::new(read)),
        }
    }

    /// The stages that make the rows of `input`: one, or one for each branch of a union.
    fn producers(&mut self, input: &Plan, output: &Output) -> Result<Vec<u32>> {
        match input.downcast_ref::<UnionExec>() {
            Some(union) => {
                let mut stages = Vec::new();
                for branch in union.inputs() {
                    stages.extend(self.producers(branch, output)?);
                }
                Ok(stages)
            }
            None => Ok(vec![self.stage(Arc::clone(input), output, true)?]),
        }
    }
}

fn is_collecting_join(node: &Plan) -> bool {
    match node.downcast_ref::<HashJoinExec>() {
        Some(join) => *join.partition_mode() != PartitionMode::Partitioned,
        None => node.is::<NestedLoopJoinExec>() || node.is::<CrossJoinExec>(),
    }
}

/// All reads of a stage plan, as inputs of the stage.
pub(crate) fn collect_inputs(plan: &Plan, inputs: &mut Vec<Input>) {
    if let Some(read) = plan.downcast_ref::<ExchangeReadExec>() {
        for stage in read.stages() {
            let input =
                Input { stage: *stage, edge: read.kind().into(), partitions: read.partitions() };
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
    }
    for child in plan.children() {
        collect_inputs(child, inputs);
    }
}

pub(crate) fn partitions_of(plan: &Plan) -> usize {
    plan.output_partitioning().partition_count()
}

pub(crate) fn with_children(node: &Plan, children: Vec<Plan>) -> Result<Plan> {
    use datafusion::physical_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(children, options).map_err(df)
}

fn schema_message(schema: &SchemaRef) -> Result<Bytes> {
    use prost::Message;
    let node: datafusion_proto::protobuf::Schema =
        schema.as_ref().try_into().map_err(|e: datafusion_proto::protobuf::ToProtoError| {
            Error::bug(format!("result schema: {e}"))
        })?;
    Ok(node.encode_to_vec().into())
}

pub(crate) fn df(error: datafusion::error::DataFusionError) -> Error {
    crate::errors::from_datafusion(error)
}
