//! A cluster in miniature: it unfolds a stage graph with the real decider, claims ranges of slices
//! by a seed, binds and runs them with the real codec, and keeps shuffle partitions in a map.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::UnboundedMemoryPool;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use dunlin_base::{Env, StageId};
use dunlin_planner::nodes::{ExchangeSource, Part};
use dunlin_planner::{Contexts, CutOptions, DecideOptions, Decider, TaskOutput, Template};
use dunlin_proto::decide::{Decide, OpenStage, Situation};
use dunlin_proto::output::{MapOutput, PartitionOutput, StageOutput};
use dunlin_proto::plan::{Graph, SliceList};
use futures::{StreamExt, TryStreamExt};
use prost::Message;

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) stages: usize,
    pub(crate) tasks: usize,
    pub(crate) notes: Vec<String>,
}

/// How a run is varied.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) cut: CutOptions,
    pub(crate) decide: DecideOptions,
    pub(crate) seed: u64,
}

/// Blocks of one partition, each with the map task that wrote it.
type Blocks = Vec<(u32, RecordBatch)>;

#[derive(Debug, Default)]
struct Store {
    /// By stage and partition.
    blocks: Mutex<HashMap<(u32, u32), Blocks>>,
}

impl ExchangeSource for Store {
    fn partitions(&self, stage: u32) -> DfResult<Vec<u32>> {
        let blocks = self.blocks.lock().expect("no panic holds it");
        let mut found: Vec<u32> =
            blocks.keys().filter(|(s, _)| *s == stage).map(|(_, p)| *p).collect();
        found.sort_unstable();
        Ok(found)
    }

    fn open(&self, parts: &[Part], schema: SchemaRef) -> DfResult<SendableRecordBatchStream> {
        let blocks = self.blocks.lock().expect("no panic holds it");
        let mut batches = Vec::new();
        for part in parts {
            for (_, batch) in blocks.get(&(part.stage, part.partition)).into_iter().flatten() {
                let columns = batch.columns().to_vec();
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let schema = Arc::clone(&schema);
                batches.push(RecordBatch::try_new_with_options(schema, columns, &options)?);
            }
        }
        let rows = futures::stream::iter(batches.into_iter().map(Ok));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Runs `sql` through stages.
pub(crate) async fn run(
    session: &SessionContext,
    sql: &str,
    variant: &Variant,
) -> Result<(Vec<RecordBatch>, Trace), String> {
    let plan = session.sql(sql).await.map_err(|e| e.to_string())?;
    let plan = plan.create_physical_plan().await.map_err(|e| e.to_string())?;
    run_plan(session, plan, variant).await
}

/// Runs a physical plan through stages.
pub(crate) async fn run_plan(
    session: &SessionContext,
    plan: Arc<dyn ExecutionPlan>,
    variant: &Variant,
) -> Result<(Vec<RecordBatch>, Trace), String> {
    let contexts = Contexts::new(session.runtime_env()).map_err(|e| e.to_string())?;
    let task = session.task_ctx();
    let header = dunlin_planner::header(task.session_config(), variant.decide.to_settings());
    let graph = dunlin_planner::cut(plan, header, &variant.cut, task.session_config())
        .map_err(|e| e.to_string())?;
    let trace = Trace { stages: graph.stages.len(), ..Trace::default() };
    let graph = bytes::Bytes::from(graph.encode_to_vec());
    let decider = Decider::new(contexts.base());
    let mut cluster =
        Mini { contexts, store: Arc::new(Store::default()), random: variant.seed.max(1), trace };
    let mut sealed: BTreeMap<u32, StageOutput> = BTreeMap::new();
    let mut decisions = Vec::new();
    // Stages that were taken into others.
    let mut done_elsewhere = BTreeSet::new();
    loop {
        let situation = Situation {
            graph: graph.clone(),
            decisions: decisions.clone(),
            sealed: sealed.iter().map(|(s, o)| (StageId(*s), o.clone())).collect(),
        };
        let step = decider.decide(&situation).map_err(|e| e.to_string())?;
        let again = decider.decide(&situation).map_err(|e| e.to_string())?;
        assert_eq!(step, again, "a decision is a function of the situation");
        if let Some(stage) = step.finished {
            let parts = [Part { stage: stage.0, partition: 0 }];
            let graph = Graph::decode(graph.as_ref()).map_err(|e| e.to_string())?;
            assert_eq!(graph.result_stage, stage.0);
            let blocks = cluster.store.blocks.lock().expect("no panic holds it");
            let rows = blocks.get(&(parts[0].stage, 0)).cloned().unwrap_or_default();
            return Ok((rows.into_iter().map(|(_, b)| b).collect(), cluster.trace));
        }
        let body = step.body.ok_or("nothing to do, and not finished")?;
        let decoded = dunlin_proto::plan::DecisionBody::decode(body.as_ref());
        let decoded = decoded.map_err(|e| e.to_string())?;
        cluster.trace.notes.extend(decoded.notes);
        done_elsewhere.extend(decoded.absorbed);
        decisions.push(body);
        for open in step.open {
            assert!(!done_elsewhere.contains(&open.stage.0), "stage {} runs twice", open.stage);
            assert!(!sealed.contains_key(&open.stage.0), "stage {} runs again", open.stage);
            let output = cluster.run_stage(&open).await?;
            sealed.insert(open.stage.0, output);
        }
    }
}

struct Mini {
    contexts: Contexts,
    store: Arc<Store>,
    random: u64,
    trace: Trace,
}

impl Mini {
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    async fn run_stage(&mut self, open: &OpenStage) -> Result<StageOutput, String> {
        let list = SliceList::decode(open.slices.as_ref()).map_err(|e| e.to_string())?.slices;
        assert_eq!(list.len() as u32, open.slice_count);
        let mut maps = Vec::new();
        let mut first = 0;
        while first < list.len() {
            let count = 1 + self.below((list.len() - first) as u64) as usize;
            let width = 1 + self.below(3) as usize;
            let slices = &list[first..first + count];
            let map = self.run_task(open, slices, first as u32, width).await;
            maps.push(map.map_err(|e| format!("stage {}: {e}", open.stage))?);
            first += count;
        }
        self.trace.tasks += maps.len();
        Ok(StageOutput { maps })
    }

    async fn run_task(
        &mut self,
        open: &OpenStage,
        slices: &[dunlin_proto::plan::Slice],
        first: u32,
        width: usize,
    ) -> Result<MapOutput, String> {
        let template = Template::decode(&open.template).map_err(|e| e.to_string())?;
        let pool = Arc::new(UnboundedMemoryPool::default());
        let contexts = self.contexts.for_header(template.header(), pool);
        let contexts = contexts.map_err(|e| e.to_string())?;
        let source: Arc<dyn ExchangeSource> = Arc::clone(&self.store) as Arc<dyn ExchangeSource>;
        let bound = template.bind(slices, first, width, &source, &contexts.decode);
        let bound = bound.map_err(|e| e.to_string())?;
        let n = bound.plan.output_partitioning().partition_count();
        let env = Env::seeded(self.random);
        let streams = (0..n).map(|i| {
            let (plan, context, output) =
                (Arc::clone(&bound.plan), Arc::clone(&contexts.run), bound.output.clone());
            env.spawn("stream", async move {
                let rows = plan.execute(i, context)?;
                route(rows, i, &output).await
            })
        });
        let mut sizes: BTreeMap<u32, PartitionOutput> = BTreeMap::new();
        let mut blocks = Vec::new();
        for stream in streams.collect::<Vec<_>>() {
            let rows = stream.join().await?.map_err(|e| e.to_string())?;
            blocks.extend(rows);
        }
        let mut store = self.store.blocks.lock().expect("no panic holds it");
        for (partition, batch) in blocks {
            let size = sizes.entry(partition).or_default();
            size.partition = partition;
            size.rows += batch.num_rows() as u64;
            size.bytes += batch.get_array_memory_size() as u64;
            store.entry((open.stage.0, partition)).or_default().push((first, batch));
        }
        let partitions = sizes.into_values().collect();
        let slice_count = slices.len() as u32;
        Ok(MapOutput { first_slice: first, slice_count, partitions, ..MapOutput::default() })
    }
}

async fn route(
    mut rows: SendableRecordBatchStream,
    index: usize,
    output: &TaskOutput,
) -> DfResult<Vec<(u32, RecordBatch)>> {
    let mut routed = Vec::new();
    if let TaskOutput::Hash { keys, partitions } = output {
        let n = *partitions as usize;
        let mut partitioner = BatchPartitioner::new_hash_partitioner(keys.clone(), n, Time::new())?;
        while let Some(batch) = rows.next().await {
            partitioner.partition(batch?, |p, batch| {
                routed.push((p as u32, batch));
                Ok(())
            })?;
        }
        return Ok(routed);
    }
    let partition = match output {
        TaskOutput::Streams(streams) => streams[index],
        _ => 0,
    };
    for batch in rows.try_collect::<Vec<_>>().await? {
        if batch.num_rows() > 0 {
            routed.push((partition, batch));
        }
    }
    Ok(routed)
}
