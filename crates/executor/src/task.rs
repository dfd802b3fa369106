//! One task: a claim's slices, bound, run, written, reported.

use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use dunlin_base::env::Task;
use dunlin_base::{Error, Result};
use dunlin_planner::errors::{from_datafusion, name_files, name_spill};
use dunlin_planner::nodes::{ExchangeSource, bind_files};
use dunlin_planner::{StoreSpec, TaskOutput, Template};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::output::{MapOutput, TaskStats};
use dunlin_proto::plan::{Header, Slice, SliceList};
use dunlin_queue::ClaimedSlices;
use dunlin_shuffle::{Encoding, ShuffleWriter, WriterOptions};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use prost::Message;

use crate::executor::Shared;
use crate::memory::{Charge, TaskPool};
use crate::partition::write_stream;
use crate::placement::StagePlacement;
use crate::source::ShuffleSource;
use crate::stats;

/// A contiguous part of a claim that is run and committed as one.
pub(crate) struct Work {
    pub(crate) claim: ClaimedSlices,
    pub(crate) template: Arc<Template>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) first_slice: u32,
    /// Slots that the task holds: how many streams it runs, and its share of the memory.
    pub(crate) width: u32,
}

/// The slices of a claim with their descriptions.
pub(crate) fn claimed_slices(claim: &ClaimedSlices) -> Result<Vec<Slice>> {
    let list = SliceList::decode(claim.slice_list.as_ref())
        .map_err(|e| Error::invalid("slice list can not be read").with_source(e))?;
    let (from, to) = (claim.slices.start as usize, claim.slices.end as usize);
    let slices = list.slices.get(from..to);
    slices.map(<[Slice]>::to_vec).ok_or_else(|| Error::bug("a claim beyond its slice list"))
}

/// Runs the task on the CPU runtime (decoding a plan is CPU work, too) and returns its output, not
/// yet committed. Dropping the future stops the task at the next batch of each stream. On an error
/// what was pushed is discarded.
pub(crate) async fn run(shared: &Arc<Shared>, work: Work) -> Result<MapOutput> {
    let (done, ended) = futures::channel::oneshot::channel();
    let this = Arc::clone(shared);
    let task = shared.parts.cpu.spawn("task", async move {
        let result = caught(run_here(&this, &work)).await;
        // Nobody listens any more when the task was cancelled.
        let _ = done.send(result);
    });
    let _stopped = AbortOnDrop(vec![task]);
    ended.await.unwrap_or_else(|_| Err(Error::bug("a task was lost")))
}

async fn run_here(shared: &Arc<Shared>, work: &Work) -> Result<MapOutput> {
    let env = &shared.parts.env;
    let started = env.now();
    let share = shared.options.memory_limit.0 / u64::from(shared.options.slots.max(1));
    let memory = (share * u64::from(work.width.max(1))) as usize;
    let pool = TaskPool::new(memory);
    let header = work.template.header();
    import_stores(shared, header)?;
    let contexts = shared.parts.contexts.for_header(header, Arc::clone(&pool.pool))?;
    let claim = &work.claim;
    let workers = Arc::clone(&shared.parts.workers);
    let source: Arc<dyn ExchangeSource> =
        Arc::new(ShuffleSource::new(claim.query, &claim.inputs, workers));
    let (slices, width) = (work.slices.as_slice(), work.width as usize);
    let mut bound =
        work.template.bind(slices, work.first_slice, width, &source, &contexts.decode)?;
    bound.plan = bind_files(bound.plan, &files_prefix(work), env);
    let writer = writer(shared, work, &bound.plan, &bound.output, memory);
    let writer = Arc::new(writer);
    // Until the last block is acknowledged.
    let charge = Arc::new(Charge::new(&pool));
    let sink = (Arc::clone(&writer), Arc::clone(&charge));
    let streams = run_streams(shared, &bound.plan, &contexts.run, bound.output, sink).await;
    let writer = Arc::into_inner(writer).ok_or_else(|| Error::bug("a stream outlived its task"))?;
    if let Err(error) = streams {
        // What is left is swept with the query; the first error is the one to report.
        let _ = writer.abort().await;
        return Err(name_spill(name_files(error, &bound.plan), &contexts.run));
    }
    let written = writer.finish().await?;
    drop(charge);
    let count = work.slices.len() as u32;
    let mut output = written.into_map_output((work.first_slice, count), claim.attempt, claim.epoch);
    let mut task = TaskStats {
        elapsed_us: (env.now() - started).as_micros() as u64,
        peak_memory_bytes: pool.peak(),
        executor: shared.id_text(),
        ..TaskStats::default()
    };
    stats::collect(env, &bound.plan, &mut task);
    stats::add_output(&output.partitions, &mut task);
    output.stats = Some(task);
    Ok(output)
}

/// What the files of this attempt are called, if it writes any: no other attempt of the query has
/// it.
fn files_prefix(work: &Work) -> String {
    let claim = &work.claim;
    format!("{}-{:05}-{}", claim.epoch, work.first_slice, claim.attempt)
}

fn import_stores(shared: &Shared, header: &Header) -> Result<()> {
    let mut specs = Vec::with_capacity(header.stores.len());
    for bytes in &header.stores {
        let store = dunlin_proto::catalog::v1::Store::decode(bytes.as_ref())
            .map_err(|e| Error::invalid("object store of another build").with_source(e))?;
        specs.push(StoreSpec::from_proto(store));
    }
    shared.parts.stores.import(&specs)
}

fn writer(
    shared: &Arc<Shared>,
    work: &Work,
    plan: &Arc<dyn ExecutionPlan>,
    output: &TaskOutput,
    memory: usize,
) -> ShuffleWriter {
    let claim = &work.claim;
    let shuffle = ShuffleId { query: claim.query, stage: claim.stage, epoch: claim.epoch };
    let partitions = match output {
        TaskOutput::Hash { partitions, .. } => *partitions,
        TaskOutput::One { .. } => 1,
        TaskOutput::Streams(streams) => streams.iter().max().map_or(1, |max| max + 1),
    };
    let (map, attempt) = (work.first_slice, claim.attempt);
    let mut options = WriterOptions::new(shuffle, map, attempt, plan.schema(), partitions);
    options.buffer_bytes = buffer_bytes(memory);
    options.user = (!claim.user.is_empty()).then(|| claim.user.as_str().into());
    options.pushes_on = Some(shared.parts.cpu.clone());
    if let TaskOutput::One { result: true } = output {
        options.inline_max = shared.options.inline_result_bytes.as_usize();
    }
    let workers = Arc::clone(&shared.parts.workers);
    let cards = shared.workers_alive();
    options.leaves_host = cards.cards().iter().any(|(id, _)| workers.leaves_host(*id));
    options.traffic = Some(Arc::clone(&shared.traffic));
    // A name that only a later build knows: any encoding is right.
    let encoding = Encoding::of(&work.template.header().shuffle_encoding);
    options.encoding = encoding.unwrap_or(Encoding::Auto);
    let placement = StagePlacement {
        shared: Arc::clone(shared),
        of: (claim.query, claim.stage),
        partitions,
        copies: work.template.header().shuffle_copies,
    };
    ShuffleWriter::new(workers, Arc::new(placement), options)
}

/// What gathered rows may take of the memory of a task: the operators need the most of it, and large
/// blocks are no better from some size on.
fn buffer_bytes(memory: usize) -> usize {
    (memory / 4).clamp(1 << 20, 64 << 20)
}

/// Runs every stream of the plan at once; the first error stops them all.
async fn run_streams(
    shared: &Arc<Shared>,
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    output: TaskOutput,
    (writer, charge): (Arc<ShuffleWriter>, Arc<Charge>),
) -> Result<()> {
    let output = Arc::new(output);
    let stream = |index| {
        let (plan, context) = (Arc::clone(plan), Arc::clone(context));
        let output = Arc::clone(&output);
        let (writer, charge) = (Arc::clone(&writer), Arc::clone(&charge));
        let env = shared.parts.env.clone();
        caught(async move {
            let rows = plan.execute(index, context).map_err(from_datafusion)?;
            drop(plan);
            write_stream(&env, rows, index, &output, (&writer, &charge)).await
        })
    };
    let count = plan.output_partitioning().partition_count();
    if count == 1 {
        return stream(0).await;
    }
    let mut streams = FuturesUnordered::new();
    let mut tasks = AbortOnDrop(Vec::new());
    for index in 0..count {
        let (done, ended) = futures::channel::oneshot::channel();
        let stream = stream(index);
        tasks.0.push(shared.parts.cpu.spawn("stream", async move {
            let _ = done.send(stream.await);
        }));
        streams.push(ended);
    }
    let mut outcome = Ok(());
    while let Some(ended) = streams.next().await {
        outcome = ended.unwrap_or_else(|_| Err(Error::bug("a stream was lost")));
        if outcome.is_err() {
            tasks.0.iter().for_each(Task::abort);
            break;
        }
    }
    if outcome.is_err() {
        for task in std::mem::take(&mut tasks.0) {
            let _ = task.join().await;
        }
    }
    outcome
}

/// A panic is an error of the task, not the end of the process.
async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let result = std::panic::AssertUnwindSafe(work).catch_unwind().await;
    result.unwrap_or_else(|panic| {
        let text = dunlin_base::env::panic_text(panic.as_ref());
        Err(Error::bug(format!("a task panicked: {text}")))
    })
}

/// Tasks stop when the future that waits for them is dropped.
struct AbortOnDrop(Vec<Task<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::abort);
    }
}
