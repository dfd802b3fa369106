//! Several partitions in one go, and parts of one.

use async_trait::async_trait;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest};
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::TryStreamExt;
use parking_lot::Mutex;

use super::*;
use crate::{Share, read_shares};

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
