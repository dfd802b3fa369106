//! The writer against workers that are slow or refuse: sizes of blocks, back-pressure, inline
//! results, errors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use dunlin_base::{Kind, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest, ShuffleApi};
use futures::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::{LocalWorkers, read_partition};

/// Takes a push for every permit it has; refuses when told to.
struct Slow {
    gate: Semaphore,
    refuse: AtomicBool,
    pushes: Mutex<Vec<Vec<Block>>>,
    discards: AtomicUsize,
}

impl Slow {
    fn new(permits: usize) -> Arc<Self> {
        let gate = Semaphore::new(permits);
        let (refuse, pushes) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Self { gate, refuse, pushes, discards: AtomicUsize::new(0) })
    }

    fn blocks(&self) -> Vec<Block> {
        self.pushes.lock().concat()
    }
}

#[async_trait]
impl ShuffleApi for Slow {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.gate.acquire().await.expect("never closed").forget();
        if self.refuse.load(SeqCst) {
            return Err(Error::exhausted("full"));
        }
        self.pushes.lock().push(blocks);
        Ok(())
    }

    async fn seal(&self, _: ShuffleId) -> Result<()> {
        Ok(())
    }

    async fn read(&self, _: ReadRequest) -> Result<BlockStream> {
        Err(Error::bug("not read here"))
    }

    async fn discard(&self, _: ShuffleId, _: MapAttempt) -> Result<()> {
        self.discards.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn delete_query(&self, _: QueryId) -> Result<()> {
        Ok(())
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Ok(Vec::new())
    }
}

fn writer(worker: &Arc<Slow>, options: WriterOptions) -> ShuffleWriter {
    writer_to(Arc::clone(worker) as Arc<dyn ShuffleApi>, process(1), options)
}

const MANY: usize = 1 << 20;

#[tokio::test]
async fn small_batches_are_gathered_and_large_ones_are_not_copied_or_are_cut() {
    let worker = Slow::new(MANY);
    let options = WriterOptions { block_rows: 100, block_bytes: 20_000, ..options(0, 2) };
    let writer = writer(&worker, options);
    let mut next = 0;
    for rows in [7_i64; 30].into_iter().chain([60, 3, 9_000]) {
        writer.write(PartitionId(1), data::rows(next, next + rows)).await.expect("stored");
        next += rows;
    }
    let output = writer.finish().await.expect("stored").partitions;
    let blocks = worker.blocks();
    let rows: Vec<_> = blocks.iter().map(|b| b.rows).collect();
    assert_eq!(rows[..5], [100, 100, 10, 60, 3]);
    assert!(rows[5..].len() >= 4 && rows[5..].iter().all(|n| *n <= 4500), "{rows:?}");
    assert!(blocks.iter().enumerate().all(|(n, b)| b.id.batch == n as u32), "numbered in order");
    assert_eq!((output.len(), output[0].partition, output[0].rows), (1, 1, 9273));
    assert_eq!(output[0].blocks as usize, blocks.len());
    assert!(blocks.iter().all(|b| b.verify().is_ok()));
}

#[tokio::test]
async fn wide_rows_are_counted_in_bytes() {
    let worker = Slow::new(MANY);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(3_000)]));
    let batch = RecordBatch::try_from_iter([("text", text)]).expect("one column");
    let options = WriterOptions { schema: batch.schema(), block_bytes: 10_000, ..options(0, 1) };
    let writer = writer(&worker, options);
    for _ in 0..10 {
        writer.write(PartitionId(0), batch.clone()).await.expect("stored");
        assert!(writer.buffered_bytes() < 50_000);
    }
    writer.finish().await.expect("stored");
    assert_eq!(worker.blocks().iter().map(|b| b.rows).collect::<Vec<_>>(), [4, 4, 2]);
}

#[tokio::test]
async fn a_slow_worker_holds_the_writer_back() {
    let worker = Slow::new(0);
    let options = WriterOptions { push_bytes: 1, in_flight_max: 1, ..options(0, 1) };
    let writer = writer(&worker, options);
    writer.write(PartitionId(0), data::rows(0, 10)).await.expect("gathered");
    let held = writer.buffered_bytes();
    assert!(held > 0);
    let mut waiting = Box::pin(writer.write(PartitionId(0), data::rows(10, 8010)));
    assert!(futures::poll!(&mut waiting).is_pending(), "nothing was acknowledged");
    assert!(writer.buffered_bytes() > held);
    worker.gate.add_permits(MANY);
    waiting.await.expect("goes on");
    assert_eq!(writer.buffered_bytes(), 0);
    assert_eq!(writer.finish().await.expect("stored").partitions[0].rows, 8010);
}

#[tokio::test]
async fn rows_are_written_while_pushes_are_under_way_and_their_errors_come_later() {
    let worker = Slow::new(0);
    let options = || WriterOptions { push_bytes: 1, ..options(0, 1) };
    let full = |n: i64| data::rows(n * 8192, (n + 1) * 8192);
    let writer = writer(&worker, options());
    for n in 0..3 {
        writer.write(PartitionId(0), full(n)).await.expect("none has to be acknowledged yet");
    }
    assert!(worker.blocks().is_empty() && writer.buffered_bytes() > 3 * 8192 * 24);
    worker.gate.add_permits(MANY);
    assert_eq!(writer.finish().await.expect("stored").partitions[0].rows, 3 * 8192);
    assert_eq!(worker.blocks().len(), 3);

    let worker = Slow::new(0);
    worker.refuse.store(true, SeqCst);
    let writer = writer_to(Arc::clone(&worker) as _, process(1), options());
    writer.write(PartitionId(0), full(0)).await.expect("on its way");
    worker.gate.add_permits(MANY);
    assert_eq!(error(writer.finish().await).kind(), Kind::Exhausted, "not forgotten");
}

#[tokio::test]
async fn a_write_that_was_dropped_or_refused_ends_the_writer() {
    let worker = Slow::new(0);
    let full = |n: i64| data::rows(n, n + 8192);
    let options = || WriterOptions { push_bytes: 1, in_flight_max: 1, ..options(0, 1) };
    let dropped = writer(&worker, options());
    dropped.write(PartitionId(0), full(0)).await.expect("on its way");
    {
        let mut write = Box::pin(dropped.write(PartitionId(0), full(0)));
        assert!(futures::poll!(&mut write).is_pending());
    }
    assert_eq!(error(dropped.write(PartitionId(0), full(0)).await).kind(), Kind::Retry);
    assert_eq!(error(dropped.finish().await).kind(), Kind::Retry);

    worker.gate.add_permits(MANY);
    worker.refuse.store(true, SeqCst);
    let refused = writer(&worker, options());
    assert_eq!(error(refused.write(PartitionId(0), full(0)).await).kind(), Kind::Exhausted);
    worker.refuse.store(false, SeqCst);
    assert_eq!(error(refused.write(PartitionId(0), full(0)).await).kind(), Kind::Exhausted);
    assert_eq!(error(refused.finish().await).kind(), Kind::Exhausted);
    assert_eq!(worker.discards.load(SeqCst), 2, "both attempts were given up");
}

#[tokio::test]
async fn small_results_stay_inline_and_need_no_worker() {
    let worker = Slow::new(MANY);
    let inline = |inline_max| WriterOptions { inline_max, ..options(5, 2) };
    let small = writer(&worker, inline(64 << 10));
    for n in 0..10 {
        small.write(PartitionId((n % 2) as u32), data::rows(n, n + 1)).await.expect("gathered");
    }
    let written = small.finish().await.expect("inline");
    assert!(written.inlined && worker.blocks().is_empty());
    let map = written.into_map_output((5, 1), Attempt(1), shuffle().epoch);
    let mut output = StageOutput { maps: vec![map] };
    let read = |output: &StageOutput| {
        let output = Arc::new(output.clone());
        let nobody = LocalWorkers::new();
        let stream = read_partition(&nobody, of(), PartitionId(1), output, data::schema());
        stream.try_collect::<Vec<_>>()
    };
    assert_eq!(data::numbers(&read(&output).await.expect("whole")), [1, 3, 5, 7, 9]);

    let blocks = &mut output.maps[0].inline_blocks;
    let mut bytes = blocks[1].to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    let whole = std::mem::replace(&mut blocks[1], bytes.into());
    assert_eq!(error(read(&output).await).kind(), Kind::Lost, "a changed byte");
    output.maps[0].inline_blocks[1] = whole.slice(..whole.len() - 1);
    assert_eq!(error(read(&output).await).kind(), Kind::Lost, "a cut block");
    output.maps[0].inline_blocks.remove(1);
    assert_eq!(error(read(&output).await).kind(), Kind::Lost, "a missing block");

    let large = writer(&worker, inline(2_000));
    large.write(PartitionId(0), data::rows(0, 8192)).await.expect("stored");
    let written = large.finish().await.expect("stored");
    assert!(!written.inlined && written.inline_blocks.is_empty());
    assert_eq!(worker.blocks().len(), 1);
}

#[tokio::test]
async fn row_counts_alone_can_be_shuffled() {
    let worker = Slow::new(MANY);
    let schema = Arc::new(Schema::empty());
    let options = WriterOptions { schema: Arc::clone(&schema), ..options(0, 1) };
    let writer = writer(&worker, options);
    for rows in [1, 5000, 3] {
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &count);
        writer.write(PartitionId(0), batch.expect("no columns")).await.expect("gathered");
    }
    assert_eq!(writer.finish().await.expect("stored").partitions[0].rows, 5004);
}
