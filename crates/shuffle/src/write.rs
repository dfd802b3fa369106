//! The map side: one task's output, partition by partition, to shuffle workers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::block::{Block, BlockId, Codec};
use parking_lot::Mutex;

use crate::codec::{Encoder, Style};
use crate::gather::{Gather, Numbered};
use crate::layout::Layout;
use crate::measure::batch_bytes;
use crate::output::{WriterOptions, WrittenOutput};
use crate::place::Placement;
use crate::push::size;
use crate::read::Workers;
use crate::send::Sender;
use crate::sorted::Sorted;

/// Writes one attempt of one map task.
///
/// [`ShuffleWriter::write`] and [`ShuffleWriter::scatter`] may be called from several tasks at once.
/// Rows that one caller writes to a partition keep their order.
/// Durability: after [`ShuffleWriter::finish`] every block was acknowledged by a worker, at the
/// level that its result names, or is inline in the result. Nothing is promised before that.
/// Dropping a writer pushes nothing more, but blocks already pushed stay until
/// [`ShuffleWriter::abort`] or the end of the query.
pub struct ShuffleWriter {
    pub(crate) sender: Sender,
    pub(crate) options: WriterOptions,
    encoder: Encoder,
    pub(crate) partitions: Vec<Mutex<Gather>>,
    /// Whether rows go to `partitions` or to `sorted`.
    pub(crate) layout: Layout,
    pub(crate) sorted: Mutex<Sorted>,
    /// Held by who empties `sorted`: one at a time, so that blocks are numbered in order.
    pub(crate) emptying: tokio::sync::Mutex<()>,
    /// Bytes of rows that are gathered or wait to be encoded.
    pub(crate) gathered: AtomicUsize,
    /// Why the writer has ended: its output would not be whole.
    failure: Mutex<Option<Error>>,
}

impl ShuffleWriter {
    /// A writer to the locations that `placement` chooses, reached through `workers`. Does no I/O.
    pub fn new(
        workers: Arc<dyn Workers>,
        placement: Arc<dyn Placement>,
        options: WriterOptions,
    ) -> Self {
        let encoder = Encoder::new(Arc::clone(&options.schema));
        let layout = Layout::new(options.partitions, options.target(), options.buffer_bytes);
        Self {
            layout,
            sorted: Mutex::default(),
            emptying: tokio::sync::Mutex::new(()),
            sender: Sender::new(workers, placement, &options),
            encoder,
            partitions: (0..options.partitions).map(|_| Mutex::default()).collect(),
            gathered: AtomicUsize::new(0),
            failure: Mutex::new(None),
            options,
        }
    }

    /// Takes rows of one partition. Waits while too many bytes are on their way: this is the
    /// back-pressure of the shuffle.
    ///
    /// A worker that wants blocks elsewhere, or fails before it alone holds any, is left for the next
    /// location. Other errors of a worker (`Exhausted`, `Fenced`, `Retry`) end the writer: all later
    /// calls return the same error. What a worker did not take for a reason of its own is `Retry`
    /// with a [`crate::PushFault`] as its cause. Dropping the future in the middle also ends the writer, since
    /// blocks may be missing.
    pub async fn write(&self, partition: PartitionId, batch: RecordBatch) -> Result<()> {
        self.check()?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let gather = self.partitions.get(partition.0 as usize).ok_or_else(|| {
            let known = self.partitions.len();
            Error::bug(format!("partition {partition} of a shuffle with {known}"))
        })?;
        let ending = Ending::new(self);
        let outcome = if self.layout.see(batch.num_rows(), batch_bytes(&batch)) {
            let of = vec![partition.0; batch.num_rows()];
            self.add_sorted(batch, of).await
        } else {
            self.add(partition, gather, batch).await
        };
        ending.is(outcome)
    }

    pub(crate) async fn add(
        &self,
        partition: PartitionId,
        gather: &Mutex<Gather>,
        batch: RecordBatch,
    ) -> Result<()> {
        let mut ready = Vec::new();
        let target = self.options.target();
        self.gather(gather, |g| g.add(batch, &self.options.schema, target, &mut ready))?;
        self.send(partition, gather, ready).await
    }

    /// Pushes what is left and reports the output. Call it after all writes have returned. If it
    /// fails, or a write has failed before, the attempt is given up as by [`ShuffleWriter::abort`].
    pub async fn finish(self) -> Result<WrittenOutput> {
        let outcome = self.complete().await;
        if outcome.is_err() {
            // The cause is what the caller needs; the sweeper removes what stays.
            drop(self.abort().await);
        }
        outcome
    }

    async fn complete(&self) -> Result<WrittenOutput> {
        self.check()?;
        self.empty_all().await?;
        let partitions =
            (0..).zip(&self.partitions).filter_map(|(id, gather)| gather.lock().output(id));
        let mut partitions: Vec<_> = partitions.collect();
        let mut written = WrittenOutput::default();
        match self.sender.finish().await? {
            Some(blocks) => {
                written.inline_blocks = blocks.iter().map(inline).collect();
                written.inlined = true;
            }
            None => {
                let places = self.sender.pushing.places(&mut partitions);
                (written.locations, written.levels) = places.into_iter().unzip();
                written.durability = self.sender.pushing.durability();
            }
        }
        Ok(WrittenOutput { partitions, ..written })
    }

    /// Gives the attempt up: the workers forget what was pushed. Idempotent, and harmless after a
    /// failed [`ShuffleWriter::write`].
    pub async fn abort(self) -> Result<()> {
        self.sender.discard(&self.options).await
    }

    /// Bytes that the writer holds: gathered rows and blocks that were not acknowledged. Slices
    /// are counted as what they show, not as the buffers that they keep alive.
    pub fn buffered_bytes(&self) -> usize {
        self.gathered.load(Relaxed) + self.sender.pushing.held()
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Changes one partition and keeps count of what it holds.
    pub(crate) fn gather(
        &self,
        gather: &Mutex<Gather>,
        change: impl FnOnce(&mut Gather) -> Result<(), ArrowError>,
    ) -> Result<()> {
        let mut gather = gather.lock();
        let before = gather.gathered_bytes();
        let changed = change(&mut gather);
        self.gathered.fetch_add(gather.gathered_bytes(), Relaxed);
        self.gathered.fetch_sub(before, Relaxed);
        changed.map_err(|e| Error::bug(format!("cannot gather shuffle rows: {e}")).with_source(e))
    }

    /// Encodes full blocks and pushes them as soon as there are enough. Encoding holds no lock:
    /// the numbers keep the order.
    pub(crate) async fn send(
        &self,
        partition: PartitionId,
        gather: &Mutex<Gather>,
        ready: Vec<Numbered>,
    ) -> Result<()> {
        let sizes: Vec<_> = ready.iter().map(|(_, rows)| batch_bytes(rows)).collect();
        let mut waiting = Waiting::new(&self.gathered, sizes.iter().sum());
        for ((batch, rows), size) in ready.into_iter().zip(sizes) {
            let block = self.encode(partition, batch, &rows)?;
            drop(rows);
            gather.lock().count(&block);
            waiting.done(size);
            self.sender.add(block).await?;
        }
        Ok(())
    }

    fn encode(&self, partition: PartitionId, batch: u32, rows: &RecordBatch) -> Result<Block> {
        let body = self.encoder.encode(rows, self.style())?;
        self.encoded(rows, body.len(), 1);
        self.block((partition, batch), rows.num_rows(), body)
    }

    /// The blocks of these rows, each of a range of them for one partition. Counts them.
    pub(crate) fn encode_chunk(
        &self,
        rows: &RecordBatch,
        groups: Vec<(u32, Range<usize>)>,
    ) -> Result<Vec<Block>> {
        let ranges: Vec<_> = groups.iter().map(|(_, range)| range.clone()).collect();
        let bodies = self.encoder.encode_ranges(rows, &ranges, self.style())?;
        self.encoded(rows, bodies.iter().map(Bytes::len).sum(), bodies.len());
        let blocks = groups.into_iter().zip(bodies).map(|((partition, range), body)| {
            let mut gather = self.partitions[partition as usize].lock();
            let place = (PartitionId(partition), gather.number());
            let block = self.block(place, range.len(), body)?;
            gather.count(&block);
            Ok(block)
        });
        blocks.collect()
    }

    fn block(&self, place: (PartitionId, u32), rows: usize, body: Bytes) -> Result<Block> {
        let WriterOptions { shuffle, map, attempt, .. } = self.options;
        let (partition, batch) = place;
        let id = BlockId { shuffle, partition, map, attempt, batch };
        let rows = u32::try_from(rows);
        let rows = rows.map_err(|_| Error::bug("more rows in a block than can be counted"))?;
        Ok(Block::new(id, rows, Codec::Columns, body))
    }

    fn style(&self) -> Style {
        let measured = || self.options.traffic.as_ref().and_then(|traffic| traffic.link_bytes_s());
        self.options.encoding.style(self.options.leaves_host, measured)
    }

    fn encoded(&self, rows: &RecordBatch, bytes: usize, blocks: usize) {
        if let Some(traffic) = &self.options.traffic {
            traffic.encoded(batch_bytes(rows), bytes, blocks);
        }
    }
}

fn inline(block: &Block) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size(block));
    bytes.extend_from_slice(&block.header());
    bytes.extend_from_slice(&block.body);
    bytes.freeze()
}

/// Rows that wait for something, as the writer counts them.
pub(crate) struct Waiting<'a> {
    count: &'a AtomicUsize,
    left: usize,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(count: &'a AtomicUsize, bytes: usize) -> Self {
        count.fetch_add(bytes, Relaxed);
        Self { count, left: bytes }
    }

    /// Some do not wait any more.
    pub(crate) fn done(&mut self, bytes: usize) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.count.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.left, Relaxed);
    }
}

/// Ends the writer unless the write under way returns well. A write that is dropped in the middle
/// may have lost blocks that it had taken, so nothing after it can make the output whole.
pub(crate) struct Ending<'a> {
    writer: &'a ShuffleWriter,
    error: Option<Error>,
}

impl<'a> Ending<'a> {
    pub(crate) fn new(writer: &'a ShuffleWriter) -> Self {
        let error = Error::retry("a shuffle write was dropped before it returned");
        Self { writer, error: Some(error) }
    }

    pub(crate) fn is(mut self, outcome: Result<()>) -> Result<()> {
        self.error = outcome.as_ref().err().cloned();
        outcome
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            self.writer.failure.lock().get_or_insert(error);
        }
    }
}
