//! One query on its way: published, awaited, its rows read back, its remains removed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, Kind, PartitionId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_queue::{Ended, Heir, Lost, Missing, Phase};
use dunlin_shuffle::{ReadFault, read_partition};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;

use crate::gateway::Gateway;

/// A place in a result. Places are the same on every gateway: chunks are the batches as the last
/// stage wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Chunks before it.
    pub(crate) chunk: u64,
    /// Rows before it in its chunk.
    pub(crate) row: u64,
    /// Which output of the query it counts in: lost slices that were run again may come in another
    /// order.
    pub(crate) output: u64,
}

/// A batch of a result, and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) start: Place,
    pub(crate) batch: RecordBatch,
}

/// How a result is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Where to begin; `None` is the beginning.
    pub(crate) from: Option<Place>,
    /// The result stays when it was read, or when its reader goes early.
    pub(crate) keep: bool,
}

/// The rows of a query: waits for its end, then reads its result. Unless it is to be kept: dropped
/// early, it cancels the query; either way the query's remains are removed.
pub(crate) struct RowStream {
    rows: BoxStream<'static, Result<Chunk>>,
    cleaner: Option<Cleaner>,
}

/// Removes what a query leaves, once.
struct Cleaner {
    gateway: Gateway,
    query: QueryId,
}

impl RowStream {
    /// The rows of `query`, which this or another gateway published.
    pub(crate) fn new(
        gateway: Gateway,
        query: QueryId,
        schema: SchemaRef,
        reading: Reading,
    ) -> Self {
        let cleaner = (!reading.keep).then(|| Cleaner { gateway: gateway.clone(), query });
        let rows = stream::once(result(gateway, query, schema, reading.from))
            .flat_map(|rows| rows.unwrap_or_else(|error| stream::iter([Err(error)]).boxed()))
            .boxed();
        Self { rows, cleaner }
    }
}

impl Stream for RowStream {
    type Item = Result<Chunk>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.rows.poll_next_unpin(cx);
        if let Poll::Ready(None | Some(Err(_))) = &next
            && let Some(cleaner) = self.cleaner.take()
        {
            cleaner.clean(false);
        }
        next
    }
}

impl Drop for RowStream {
    fn drop(&mut self) {
        if let Some(cleaner) = self.cleaner.take()
            && !cleaner.gateway.is_leaving()
        {
            cleaner.clean(true);
        }
    }
}

impl Cleaner {
    fn clean(self, cancel: bool) {
        let Self { gateway, query } = self;
        gateway.clone().in_background(async move {
            if cancel && let Err(error) = gateway.parts().queue.cancel(query).await {
                tracing::warn!(%query, %error, "could not cancel");
            }
            gateway.clean_up(query).await;
        });
    }
}

async fn result(
    gateway: Gateway,
    query: QueryId,
    schema: SchemaRef,
    from: Option<Place>,
) -> Result<BoxStream<'static, Result<Chunk>>> {
    let until = gateway.parts().env.now() + WORKER_WAIT;
    let heir_until = gateway.parts().env.now() + HEIR_WAIT;
    loop {
        let (stage, epoch, mut chunks) = open(&gateway, query, &schema, from).await?;
        // Once rows were handed out, rows of another run must not follow.
        let first = chunks.next().await;
        match first {
            Some(Err(error)) if from.is_none() && gateway.parts().env.now() < until => {
                let waits = gateway.parts().env.now() < heir_until;
                remake(&gateway, query, (stage, epoch), error, waits).await?;
            }
            first => return Ok(stream::iter(first).chain(chunks).boxed()),
        }
    }
}

/// How long a gateway tries to reach the worker that has the result.
const WORKER_WAIT: Duration = Duration::from_secs(60);

/// How long it waits for somebody to adopt a result that a dead worker left in the object store. Then
/// there is time left to have it made again.
const HEIR_WAIT: Duration = Duration::from_secs(45);

/// Between two tries.
const WORKER_LOOK: Duration = Duration::from_millis(200);

/// Has a result made again that is gone, or waits a little for a worker that is out of reach, or, if
/// it `waits`, for one that adopts the result. Any other error comes back.
async fn remake(
    gateway: &Gateway,
    query: QueryId,
    (stage, epoch): (StageId, StageEpoch),
    error: Error,
    waits: bool,
) -> Result<()> {
    let parts = gateway.parts();
    let Some(fault) = ReadFault::of(&error) else { return Err(error) };
    let mut gone = fault.all_gone();
    for holder in &fault.holders {
        // A worker that this gateway has not heard of yet is not gone.
        gone = gone && !parts.queue.has_shuffle_worker(holder.worker).await?;
    }
    let stored = fault.holders.iter().find(|holder| holder.stored && gone);
    let due = match stored {
        Some(holder) if waits => parts.queue.heir_of(holder.worker).await? != Heir::Nobody,
        _ => false,
    };
    let names = || fault.holders.iter().map(|holder| holder.worker.to_string()).collect();
    let what = match error.kind() {
        Kind::Lost if gone && !due && stored.is_some() => Lost::Estates(names()),
        Kind::Lost if gone && !due => Lost::Workers(names()),
        Kind::Lost if !fault.all_gone() => Lost::Maps(fault.maps.clone()),
        _ => {
            parts.env.sleep(WORKER_LOOK).await;
            return Ok(());
        }
    };
    let missing = Missing { stage, epoch, what, cause: error };
    parts.queue.reopen(query, &missing).await.map(drop)
}

/// The chunks of a query's result once it has ended, and which output they are.
async fn open(
    gateway: &Gateway,
    query: QueryId,
    schema: &SchemaRef,
    from: Option<Place>,
) -> Result<(StageId, StageEpoch, BoxStream<'static, Result<Chunk>>)> {
    let ended = gateway.parts().queue.wait_ended(query).await?;
    if ended.phase != Phase::Done {
        return Err(failure(&ended));
    }
    let Some((stage, epoch, output)) = ended.result else {
        let message = format!("the result of query {query} was removed before it was read");
        return Err(Error::lost(message).with_hint("run the query again"));
    };
    let here = fingerprint(&output);
    let from = match from {
        Some(place) if place.output != here => {
            return Err(Error::lost(format!(
                "the result of query {query} was made again while it was read"
            ))
            .with_hint("read it from its beginning"));
        }
        Some(place) => place,
        None => Place { output: here, ..Place::default() },
    };
    let workers = gateway.parts().workers.as_ref();
    let (output, schema) = (Arc::new(output), SchemaRef::clone(schema));
    let batches = read_partition(workers, (query, stage), PartitionId(0), output, schema);
    Ok((stage, epoch, chunks(batches, from, Keeper::new(gateway.clone(), query))))
}

/// The chunks from a place on.
fn chunks(
    batches: BoxStream<'static, Result<RecordBatch>>,
    from: Place,
    keeper: Keeper,
) -> BoxStream<'static, Result<Chunk>> {
    let start = (batches, keeper, 0_u64);
    let chunks = stream::try_unfold(start, move |(mut batches, mut keeper, number)| async move {
        let Some(batch) = batches.try_next().await? else {
            if number < from.chunk {
                return Err(Error::invalid("the cursor is beyond the end of the result"));
            }
            return Ok(None);
        };
        keeper.tick().await?;
        let chunk = cut(batch, number, from)?;
        Ok::<_, Error>(Some((chunk, (batches, keeper, number + 1))))
    });
    chunks.try_filter_map(|chunk| futures::future::ready(Ok(chunk))).boxed()
}

/// What of a chunk is to be read.
fn cut(batch: RecordBatch, number: u64, from: Place) -> Result<Option<Chunk>> {
    let start = Place { chunk: number, row: 0, output: from.output };
    if number != from.chunk || from.row == 0 {
        return Ok((number >= from.chunk).then_some(Chunk { start, batch }));
    }
    let rows = batch.num_rows();
    let skip = usize::try_from(from.row).ok().filter(|row| *row <= rows);
    let skip = skip.ok_or_else(|| Error::invalid("the cursor is beyond the end of its chunk"))?;
    let batch = batch.slice(skip, rows - skip);
    Ok(Some(Chunk { start: from, batch }))
}

/// Tells outputs of one query apart: the winning attempts with their rows and checksums. Not what
/// is told of their tasks, which does not come with every way to the output.
fn fingerprint(output: &StageOutput) -> u64 {
    let maps = output.maps.iter().map(|map| MapOutput { stats: None, ..map.clone() });
    let output = StageOutput { maps: maps.collect() };
    let hash = blake3::hash(&output.encode_to_vec());
    let (first, _) = hash.as_bytes().split_at(8);
    first.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Keeps a result from the sweeper while it is read.
struct Keeper {
    gateway: Gateway,
    query: QueryId,
    kept: Duration,
}

impl Keeper {
    fn new(gateway: Gateway, query: QueryId) -> Self {
        let kept = gateway.parts().env.now();
        Self { gateway, query, kept }
    }

    /// Writes only when the read takes long. `Lost`: the sweeper was faster.
    async fn tick(&mut self) -> Result<()> {
        let parts = self.gateway.parts();
        let now = parts.env.now();
        if now.saturating_sub(self.kept) < parts.queue.hold() / 4 {
            return Ok(());
        }
        self.kept = now;
        match parts.queue.keep(self.query).await {
            // The next tick comes soon enough.
            Err(error) if error.kind() == Kind::Retry => Ok(()),
            kept => kept,
        }
    }
}

/// Why a query that is not done ended.
pub(crate) fn failure(ended: &Ended) -> Error {
    match (&ended.failure, ended.phase) {
        (Some(error), _) => error.clone(),
        (None, Phase::Cancelled) => Error::new(Kind::Fenced, "the query was cancelled"),
        (None, _) => Error::bug("the query failed without a cause"),
    }
}
