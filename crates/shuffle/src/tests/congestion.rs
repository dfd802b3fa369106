//! A writer and two real workers, of which one is near the mark of its memory.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::shuffle::{BlockStream, MapAttempt, Push, Pushed, ReadRequest};
use dunlin_shuffle_service::{Options, ShuffleWorker};

use super::*;
use crate::{Location, Placement};

/// A worker that takes a while for each push, and counts what is under way.
struct Metered {
    inner: Arc<ShuffleWorker>,
    under_way: AtomicUsize,
    /// Pushes under way at once, at most.
    most: AtomicUsize,
}

impl Metered {
    fn new(memory: ByteCount) -> Arc<Self> {
        let inner = ShuffleWorker::new(Options::new(memory), Env::seeded(1)).expect("no disk");
        Arc::new(Self { inner, under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl ShuffleApi for Metered {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.inner.push(blocks).await
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        Env::seeded(1).sleep(Duration::from_millis(1)).await;
        self.under_way.fetch_sub(1, SeqCst);
        self.inner.store(push).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.inner.seal(shuffle).await
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.inner.read(request).await
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

/// Partition `n` to worker `n`.
struct Each;

#[async_trait]
impl Placement for Each {
    async fn locate(&self, partition: PartitionId, _: u32) -> Result<Location> {
        Ok(Location::one(process(u128::from(partition.0))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_near_its_memory_mark_gets_pushes_one_by_one_and_the_other_as_before() {
    let workers = [Metered::new(ByteCount::mib(1)), Metered::new(ByteCount::mib(64))];
    let local = LocalWorkers::new();
    for (id, worker) in (0..).zip(&workers) {
        local.insert(process(id), Arc::clone(worker) as _);
    }
    let options = WriterOptions {
        block_rows: 64,
        push_bytes: 4_000,
        in_flight_max: 1 << 20,
        ..options(0, 2)
    };
    let writer = ShuffleWriter::new(Arc::new(local), Arc::new(Each), options);
    let mut next = 0;
    let mut most_of = async |blocks: i64| {
        for _ in 0..blocks {
            for partition in 0..2 {
                let rows = data::rows(next, next + 64);
                writer.write(PartitionId(partition), rows).await.expect("stored");
                next += 64;
            }
        }
        writer.relieve().await.expect("stored");
        [0, 1].map(|worker: usize| workers[worker].most.swap(0, SeqCst))
    };
    let [one, other] = most_of(60).await;
    assert!(one >= 8 && other >= 8, "{one} and {other}: both windows open");
    while !workers[0].inner.store(Push::plain(Vec::new())).await.expect("nothing").is_slow() {
        most_of(1).await;
    }
    // The first answers say so, the next pushes show it.
    most_of(1).await;
    let [one, other] = most_of(20).await;
    assert_eq!(one, 1, "near its mark");
    assert!(other >= 8, "{other} at once, as before");
    assert!(workers[0].inner.stats().memory_bytes > 700 << 10);
}

trait IsSlow {
    fn is_slow(&self) -> bool;
}

impl IsSlow for Pushed {
    fn is_slow(&self) -> bool {
        matches!(self, Pushed::Stored(ack) if ack.slow)
    }
}
