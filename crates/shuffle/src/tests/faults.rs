//! Readers against a worker that loses, repeats and mixes up blocks.

use std::collections::HashSet;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_base::{Kind, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest, ShuffleApi};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::*;
use crate::{LocalWorkers, partition_stats, read_partition};

/// Keeps what is pushed, in order, and hands all of it out, whatever was asked for.
#[derive(Default)]
struct Careless {
    blocks: Mutex<Vec<Block>>,
    discarded: Mutex<HashSet<MapAttempt>>,
}

#[async_trait]
impl ShuffleApi for Careless {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.blocks.lock().extend(blocks);
        Ok(())
    }

    async fn seal(&self, _: ShuffleId) -> Result<()> {
        Ok(())
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        let blocks = self.blocks.lock().clone();
        let mine = blocks.into_iter().filter(move |b| b.id.partition == request.partition);
        Ok(stream::iter(mine.map(Ok)).boxed())
    }

    async fn discard(&self, _: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.discarded.lock().insert(attempt);
        Ok(())
    }

    async fn delete_query(&self, _: QueryId) -> Result<()> {
        Ok(())
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Ok(Vec::new())
    }
}

struct Fixture {
    worker: Arc<Careless>,
    workers: LocalWorkers,
    output: StageOutput,
}

/// Maps 0 and 10 wrote rows 0..30 and 100..130 to partition 1, in blocks of ten rows.
async fn fixture() -> Fixture {
    let worker = Arc::new(Careless::default());
    let workers = LocalWorkers::new();
    workers.insert(process(1), Arc::clone(&worker) as Arc<dyn ShuffleApi>);
    let mut output = StageOutput::default();
    for map in [0, 10] {
        output.maps.push(write(&worker, map, Attempt(1), i64::from(map) * 10).await);
    }
    Fixture { worker, workers, output }
}

async fn write(worker: &Arc<Careless>, map: u32, attempt: Attempt, first: i64) -> MapOutput {
    let api = Arc::clone(worker) as Arc<dyn ShuffleApi>;
    let options = WriterOptions { attempt, block_rows: 10, ..options(map, 3) };
    let writer = writer_to(api, process(1), options);
    for ten in 0..3 {
        let rows = data::rows(first + ten * 10, first + ten * 10 + 10);
        writer.write(PartitionId(1), rows).await.expect("stored");
    }
    let written = writer.finish().await.expect("stored");
    written.into_map_output((map, 10), attempt, shuffle().epoch)
}

async fn read(fixture: &Fixture) -> Result<Vec<RecordBatch>> {
    let output = Arc::new(fixture.output.clone());
    read_partition(&fixture.workers, of(), PartitionId(1), output, data::schema())
        .try_collect()
        .await
}

fn all_rows() -> Vec<i64> {
    (0..30).chain(100..130).collect()
}

#[tokio::test]
async fn whole_output_is_read_in_order_and_counted() {
    let fixture = fixture().await;
    let batches = read(&fixture).await.expect("whole");
    assert_eq!(data::numbers(&batches), all_rows());
    let stats = partition_stats(&fixture.output, 3);
    assert_eq!(stats.iter().map(|s| s.rows).collect::<Vec<_>>(), [0, 60, 0]);
    let stored: usize = fixture.worker.blocks.lock().iter().map(|b| b.body.len()).sum();
    assert_eq!(stats[1].bytes, stored as u64);
}

#[tokio::test]
async fn repeated_blocks_and_other_attempts_are_skipped() {
    for at in 0..7 {
        let mut fixture = fixture().await;
        // A loser's blocks lie among the winners', and every block may come again anywhere later.
        let winners = std::mem::take(&mut *fixture.worker.blocks.lock());
        write(&fixture.worker, 0, Attempt(2), 500).await;
        write(&fixture.worker, 7, Attempt(1), 700).await;
        let strangers = std::mem::take(&mut *fixture.worker.blocks.lock());
        let (before, after) = winners.split_at(at.min(winners.len()));
        let mixed = [before, &strangers, before, after, &winners].concat();
        fixture.worker.blocks.lock().extend(mixed);
        fixture.output.maps.truncate(2);
        let batches = read(&fixture).await.expect("the winners are whole");
        assert_eq!(data::numbers(&batches), all_rows(), "strangers at {at}");
    }
}

#[tokio::test]
async fn every_lost_block_is_noticed_and_named() {
    for lost in 0..6 {
        let fixture = fixture().await;
        fixture.worker.blocks.lock().remove(lost);
        let error = error(read(&fixture).await);
        assert_eq!(error.kind(), Kind::Lost);
        let map = if lost < 3 { "map 0 attempt 1" } else { "map 10 attempt 1" };
        for word in ["partition 1", map, &process(1).to_string()] {
            assert!(error.message().contains(word), "block {lost}: {error}");
        }
    }
}

#[tokio::test]
async fn other_counts_than_reported_are_noticed() {
    for change in 0..6 {
        let mut fixture = fixture().await;
        let reported = &mut fixture.output.maps[1].partitions[0];
        match change {
            0 => reported.rows += 1,
            1 => reported.bytes -= 1,
            2 => reported.checksum ^= 1,
            3 => reported.blocks += 1,
            4 => reported.blocks -= 1,
            _ => fixture.worker.blocks.lock()[4].id.partition = PartitionId(0),
        }
        assert_eq!(error(read(&fixture).await).kind(), Kind::Lost, "change {change}");
    }
}

#[tokio::test]
async fn a_worker_that_is_gone_is_lost_before_the_first_row() {
    let fixture = fixture().await;
    assert_eq!(fixture.workers.ids(), [process(1)]);
    fixture.workers.remove(process(1));
    let output = Arc::new(fixture.output.clone());
    let read = |partition| {
        let output = Arc::clone(&output);
        read_partition(&fixture.workers, of(), PartitionId(partition), output, data::schema())
    };
    let first = read(1).next().await.expect("an error");
    assert_eq!(error(first).kind(), Kind::Lost);
    assert!(read(2).next().await.is_none(), "an empty partition needs no worker");
}

#[tokio::test]
async fn giving_up_discards_the_attempt() {
    let worker = Arc::new(Careless::default());
    let new = || {
        let api = Arc::clone(&worker) as Arc<dyn ShuffleApi>;
        writer_to(api, process(1), WriterOptions { push_bytes: 1, ..options(4, 1) })
    };
    new().abort().await.expect("nobody holds anything");
    assert!(worker.discarded.lock().is_empty());
    let writer = new();
    writer.write(PartitionId(0), data::rows(0, 9000)).await.expect("stored");
    writer.abort().await.expect("the worker answers");
    let mine = MapAttempt { map: 4, attempt: Attempt(1) };
    assert!(worker.discarded.lock().remove(&mine));
    // A failed write makes finish give up, too.
    let writer = new();
    let wrong = writer.write(PartitionId(1), data::rows(0, 1)).await;
    assert_eq!(error(wrong).kind(), Kind::Bug);
    writer.finish().await.expect("a refused partition changes nothing");
    assert!(worker.discarded.lock().is_empty());
}
