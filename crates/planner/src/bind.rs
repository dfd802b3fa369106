//! Binding slices to a stage template: narrow its leaves to the slices, leave all else whole.
//!
//! Who calls it: executors, for each task. The bound plan is run with *all* its partitions polled
//! at once. One partition of a shared plan must never be run alone: hash joins wait for all
//! partitions of their build side, and file scans share their work among their partitions.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::{Error, Result};
use dunlin_proto::plan::{EdgeKind, Slice, StageSpec, StageTemplate};
use prost::Message;

use crate::codec::{PlanCodec, ProtoCodec, check_header, decode_expr, decode_group};
use crate::cut::{df, partitions_of};
use crate::footers::keep_errors;
use crate::nodes::{ExchangeReadExec, ExchangeSource, Part, SliceScanExec};

/// A stage template that this build can run.
pub struct Template {
    spec: StageSpec,
    header: dunlin_proto::plan::Header,
}

/// A plan ready to run, and where its streams go.
pub struct BoundTask {
    /// The narrowed plan: every partition of it is to be run, all at once, once.
    pub plan: Arc<dyn ExecutionPlan>,
    /// Where the rows go.
    pub output: TaskOutput,
}

/// Where the rows of a task go.
#[derive(Clone, Debug)]
pub enum TaskOutput {
    /// To the partition of the hash of these keys.
    Hash { keys: Vec<Arc<dyn PhysicalExpr>>, partitions: u32 },
    /// All to partition 0.
    One { result: bool },
    /// Stream `i` to the partition `streams[i]`, so that its order is kept.
    Streams(Vec<u32>),
}

impl Template {
    /// Reads a template. `Invalid` if another build made it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let template = StageTemplate::decode(bytes)
            .map_err(|e| Error::invalid("stage template can not be read").with_source(e))?;
        check_header(template.header.as_ref())?;
        let spec =
            template.spec.clone().ok_or_else(|| Error::bug("stage template without stage"))?;
        Ok(Self { spec, header: template.header.unwrap_or_default() })
    }

    /// The stage.
    pub fn spec(&self) -> &StageSpec {
        &self.spec
    }

    /// Header: settings and stores that the task needs.
    pub fn header(&self) -> &dunlin_proto::plan::Header {
        &self.header
    }

    /// A fresh plan for `slices` (the first of which is number `first_slice`) in `width` streams.
    pub fn bind(
        &self,
        slices: &[Slice],
        first_slice: u32,
        width: usize,
        source: &Arc<dyn ExchangeSource>,
        context: &TaskContext,
    ) -> Result<BoundTask> {
        let plan = ProtoCodec.decode(&self.spec.plan, context)?;
        let groups = share_out(slices, width.max(1));
        let binding = Binding { groups: &groups, source, context };
        let bound = plan.transform_up(|node| binding.leaf(node)).map_err(df)?.data;
        let output = self.output(&bound, &groups, first_slice, context)?;
        Ok(BoundTask { plan: bound, output })
    }

    fn output(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        groups: &[Vec<&Slice>],
        first_slice: u32,
        context: &TaskContext,
    ) -> Result<TaskOutput> {
        match EdgeKind::try_from(self.spec.output) {
            Ok(EdgeKind::Hash) => {
                let schema = plan.schema();
                let key = |bytes: &bytes::Bytes| decode_expr(bytes, &schema, context);
                let keys = self.spec.hash_keys.iter().map(key).collect::<Result<_>>()?;
                Ok(TaskOutput::Hash { keys, partitions: self.spec.output_partitions })
            }
            Ok(EdgeKind::OrderedGather | EdgeKind::Forward) => {
                // Named by the first slice of the stream, so that no two tasks share a name.
                let mut streams = Vec::new();
                let mut next = first_slice;
                for group in groups {
                    streams.push(next);
                    next += group.len() as u32;
                }
                let n = partitions_of(plan);
                if streams.len() != n {
                    streams = (first_slice..first_slice + n as u32).collect();
                }
                Ok(TaskOutput::Streams(streams))
            }
            Ok(EdgeKind::Gather | EdgeKind::Broadcast) => Ok(TaskOutput::One { result: false }),
            Ok(EdgeKind::Result) => Ok(TaskOutput::One { result: true }),
            Ok(EdgeKind::Unspecified) | Err(_) => Err(Error::bug("stage without an output edge")),
        }
    }
}

/// Neighbouring slices in at most `width` groups of about equal weight.
fn share_out(slices: &[Slice], width: usize) -> Vec<Vec<&Slice>> {
    let width = width.min(slices.len()).max(1);
    let total: u64 = slices.iter().map(|s| s.weight_bytes.max(1)).sum();
    let mut groups: Vec<Vec<&Slice>> = vec![Vec::new()];
    let mut before = 0;
    for (i, slice) in slices.iter().enumerate() {
        let full = before * width as u64 >= total * groups.len() as u64;
        let must = slices.len() - i <= width - groups.len();
        let current = groups.last().is_some_and(|group| !group.is_empty());
        if current && groups.len() < width && (full || must) {
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.push(slice);
        }
        before += slice.weight_bytes.max(1);
    }
    groups
}

struct Binding<'a> {
    groups: &'a [Vec<&'a Slice>],
    source: &'a Arc<dyn ExchangeSource>,
    context: &'a TaskContext,
}

type Plan = Arc<dyn ExecutionPlan>;
type Rewritten = datafusion::common::Result<Transformed<Plan>>;

impl Binding<'_> {
    fn leaf(&self, node: Plan) -> Rewritten {
        if let Some(marked) = node.downcast_ref::<SliceScanExec>() {
            let scan = self.scan(marked)?;
            let kept = keep_errors(&scan, self.context)?;
            return Ok(Transformed::yes(kept.unwrap_or(scan)));
        }
        if let Some(read) = node.downcast_ref::<ExchangeReadExec>() {
            let parts = if read.driving() { self.shared(read) } else { self.whole(read)? };
            return Ok(Transformed::yes(Arc::new(read.bind(parts, Arc::clone(self.source)))));
        }
        Ok(match keep_errors(&node, self.context)? {
            Some(scan) => Transformed::yes(scan),
            None => Transformed::no(node),
        })
    }

    fn scan(&self, marked: &SliceScanExec) -> datafusion::common::Result<Plan> {
        let scan = marked.scan().downcast_ref::<DataSourceExec>();
        let config = scan.and_then(|s| s.data_source().downcast_ref::<FileScanConfig>());
        let Some(config) = config else {
            return datafusion::common::internal_err!("a slice scan without a file scan");
        };
        let mut file_groups = Vec::new();
        for group in self.groups {
            let mut files = Vec::new();
            for slice in group {
                let decoded = decode_group(&slice.group).map_err(crate::errors::into_datafusion)?;
                files.extend(decoded.into_inner());
            }
            file_groups.push(FileGroup::new(files));
        }
        let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(file_groups);
        Ok(DataSourceExec::from_data_source(config.build()))
    }

    /// The partitions that the slices choose.
    fn shared(&self, read: &ExchangeReadExec) -> Vec<Vec<Part>> {
        let forward = read.kind() == EdgeKind::Forward;
        let parts_of = |slice: &&Slice| -> Vec<Part> {
            if forward {
                return vec![Part { stage: slice.stage, partition: slice.first_partition }];
            }
            let range = slice.first_partition..slice.first_partition + slice.partition_count;
            let all = range.flat_map(|partition| {
                read.stages().iter().map(move |stage| Part { stage: *stage, partition })
            });
            all.collect()
        };
        self.groups.iter().map(|group| group.iter().flat_map(parts_of).collect()).collect()
    }

    /// All partitions.
    fn whole(&self, read: &ExchangeReadExec) -> datafusion::common::Result<Vec<Vec<Part>>> {
        let everywhere = |partition: u32| {
            read.stages().iter().map(move |stage| Part { stage: *stage, partition })
        };
        Ok(match read.kind() {
            EdgeKind::Hash => (0..read.partitions()).map(|p| everywhere(p).collect()).collect(),
            EdgeKind::OrderedGather | EdgeKind::Forward => {
                let mut streams = Vec::new();
                for stage in read.stages() {
                    for partition in self.source.partitions(*stage)? {
                        streams.push(vec![Part { stage: *stage, partition }]);
                    }
                }
                if streams.is_empty() {
                    streams.push(Vec::new());
                }
                streams
            }
            _ => vec![(0..read.partitions().max(1)).flat_map(everywhere).collect()],
        })
    }
}
