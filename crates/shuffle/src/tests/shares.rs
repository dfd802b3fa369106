//! Several partitions in one go, and parts of one.

use async_trait::async_trait;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::{BlockStream, MapAttempt, Push, Pushed, ReadRequest};
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::*;
use crate::{Location, Placement, Share, read_shares};

const PARTITIONS: u32 = 100;
const MAPS: u32 = 6;

/// A worker that remembers what it was asked to read.
struct Asked {
    inner: Arc<ShuffleWorker>,
    reads: Mutex<Vec<Vec<ReadRequest>>>,
}

#[async_trait]
impl ShuffleApi for Asked {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.inner.push(blocks).await
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.inner.store(push).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.inner.seal(shuffle).await
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.read_many(vec![request]).await
    }

    async fn read_many(&self, requests: Vec<ReadRequest>) -> Result<BlockStream> {
        self.reads.lock().push(requests.clone());
        self.inner.read_many(requests).await
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.inner.discard(shuffle, attempt).await
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        self.inner.delete_query(query).await
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        self.inner.shuffles().await
    }
}

/// The rows of one map in a partition; some have none.
fn rows_of(map: u32, partition: u32) -> Vec<i64> {
    let first = i64::from(map * 100_000 + partition * 100);
    (first..first + i64::from((map + partition) % 4)).collect()
}

async fn written() -> (LocalWorkers, Arc<Asked>, Arc<StageOutput>) {
    let inner = ShuffleWorker::new(Options::new(ByteCount::mib(64)), Env::seeded(1));
    let inner = inner.expect("no disk");
    let worker = Arc::new(Asked { inner, reads: Mutex::default() });
    let workers = LocalWorkers::new();
    workers.insert(process(1), Arc::clone(&worker) as _);
    let mut maps = Vec::new();
    for map in 0..MAPS {
        let writer = writer_to(Arc::clone(&worker) as _, process(1), options(map, PARTITIONS));
        for partition in 0..PARTITIONS {
            let rows = rows_of(map, partition);
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            let rows = data::rows(*first, last + 1);
            writer.write(PartitionId(partition), rows).await.expect("stored");
        }
        let written = writer.finish().await.expect("stored");
        maps.push(written.into_map_output((map, 1), Attempt(1), shuffle().epoch));
    }
    (workers, worker, Arc::new(StageOutput { maps }))
}

/// Maps that wrote to one of two workers, and one that moved from the first to the second between its
/// batches; and what these workers are asked.
async fn scattered() -> (LocalWorkers, [Arc<Asked>; 2], Arc<StageOutput>) {
    let workers = LocalWorkers::new();
    let asked = [1, 2].map(|id| {
        let inner = ShuffleWorker::new(Options::new(ByteCount::mib(64)), Env::seeded(1));
        let inner = inner.expect("no disk");
        let worker = Arc::new(Asked { inner, reads: Mutex::default() });
        workers.insert(process(id), Arc::clone(&worker) as _);
        worker
    });
    let workers = Arc::new(workers);
    let mut maps = Vec::new();
    for map in 0..MAPS {
        let options = WriterOptions { block_rows: 5, push_bytes: 1, ..options(map, 2) };
        let placement = Arc::new(Moving(map));
        let writer = ShuffleWriter::new(Arc::clone(&workers) as _, placement, options);
        let first = i64::from(map * 1000);
        for from in [first, first + 5] {
            writer.write(PartitionId(1), data::rows(from, from + 5)).await.expect("stored");
            if map == 3 {
                asked[0].inner.drain();
            }
        }
        let written = writer.finish().await.expect("stored");
        asked[0].inner.resume();
        maps.push(written.into_map_output((map, 1), Attempt(1), shuffle().epoch));
    }
    let workers = Arc::into_inner(workers).expect("the writers have ended");
    (workers, asked, Arc::new(StageOutput { maps }))
}

/// Even maps go to worker 1, odd ones to worker 2; map 3 to worker 1 first.
struct Moving(u32);

#[async_trait]
impl Placement for Moving {
    async fn locate(&self, _: PartitionId, moves: u32) -> Result<Location> {
        let second = if self.0 == 3 { moves > 0 } else { self.0 % 2 == 1 };
        Ok(Location::one(process(1 + u128::from(second))))
    }
}

#[tokio::test]
async fn who_holds_none_of_the_wanted_maps_is_not_asked() {
    let (workers, asked, output) = scattered().await;
    let locations = output.maps[3].partitions[0].parts.len();
    assert_eq!(locations, 2, "map 3 has moved: {:?}", output.maps[3]);
    let rows_of = |map: u32| i64::from(map * 1000)..i64::from(map * 1000) + 10;
    // Maps, and how often each worker is asked.
    for (maps, times) in [
        (0..1, [1, 0]),
        (1..2, [0, 1]),
        (2..3, [1, 0]),
        (3..4, [1, 1]),
        (4..6, [1, 1]),
        (0..u32::MAX, [1, 1]),
        (MAPS..u32::MAX, [0, 0]),
    ] {
        let share = Share { partition: PartitionId(1), maps: Some(maps.clone()) };
        let rows = read(&workers, &output, &[share]).await;
        let mine = (0..MAPS).filter(|map| maps.contains(map));
        assert_eq!(rows, mine.flat_map(rows_of).collect::<Vec<_>>(), "{maps:?}");
        let reads = asked.each_ref().map(|worker| std::mem::take(&mut *worker.reads.lock()));
        assert_eq!(reads.each_ref().map(Vec::len), times, "{maps:?}");
        let wanted =
            reads.iter().flatten().flatten().flat_map(|request| request.maps.iter().flatten());
        assert!(wanted.into_iter().all(|of| maps.contains(&of.map)), "{maps:?}");
    }
    // A partition that nobody wrote.
    let rows = read(&workers, &output, &[Share::whole(PartitionId(0))]).await;
    assert!(rows.is_empty() && asked.iter().all(|worker| worker.reads.lock().is_empty()));
}

async fn read(workers: &LocalWorkers, output: &Arc<StageOutput>, shares: &[Share]) -> Vec<i64> {
    let rows = read_shares(workers, of(), shares, Arc::clone(output), data::schema());
    data::numbers(&rows.try_collect::<Vec<_>>().await.expect("whole"))
}

#[tokio::test]
async fn many_small_partitions_are_asked_for_together_and_come_in_order() {
    let (workers, worker, output) = written().await;
    let order: Vec<u32> = (0..PARTITIONS).map(|n| n * 37 % PARTITIONS).collect();
    let shares: Vec<_> = order.iter().map(|n| Share::whole(PartitionId(*n))).collect();
    let rows = read(&workers, &output, &shares).await;
    let expected = order.iter().flat_map(|p| (0..MAPS).flat_map(|map| rows_of(map, *p)));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let asked: Vec<_> = worker.reads.lock().iter().map(Vec::len).collect();
    assert_eq!(asked, [64, 36], "two requests for 100 partitions");
}

#[tokio::test]
async fn tasks_share_a_partition_by_its_maps_and_a_worker_gives_each_its_own_only() {
    let (workers, worker, output) = written().await;
    let partition = PartitionId(3);
    let mut all = Vec::new();
    for maps in [0..2, 2..3, 3..u32::MAX] {
        let share = Share { partition, maps: Some(maps.clone()) };
        let rows = read(&workers, &output, &[share]).await;
        let mine = (0..MAPS).filter(|map| maps.contains(map));
        assert_eq!(rows, mine.flat_map(|map| rows_of(map, 3)).collect::<Vec<_>>());
        let asked = worker.reads.lock().pop().expect("one read");
        let asked = asked.iter().flat_map(|request| request.maps.iter().flatten());
        assert!(asked.clone().count() > 0 && asked.clone().all(|of| maps.contains(&of.map)));
        all.extend(rows);
    }
    let whole = read(&workers, &output, &[Share::whole(partition)]).await;
    assert!(!whole.is_empty());
    assert_eq!(all, whole);
}

#[tokio::test]
async fn a_block_that_is_missing_in_the_middle_is_lost_and_named() {
    let (workers, _, output) = written().await;
    let mut output = StageOutput::clone(&output);
    output.maps[2].partitions[7].rows += 1;
    let partition = output.maps[2].partitions[7].partition;
    let shares: Vec<_> = (0..PARTITIONS).map(|n| Share::whole(PartitionId(n))).collect();
    let rows = read_shares(&workers, of(), &shares, Arc::new(output), data::schema());
    let lost = error(rows.try_collect::<Vec<_>>().await);
    assert_eq!(lost.kind(), dunlin_base::Kind::Lost);
    assert!(lost.message().contains(&format!("partition {partition} map 2")), "{lost}");
    let fault = crate::ReadFault::of(&lost).expect("it says what is missing");
    let maps: std::collections::BTreeSet<_> = fault.maps.iter().map(|of| of.map).collect();
    assert_eq!(maps.len(), fault.maps.len(), "each map once");
}
