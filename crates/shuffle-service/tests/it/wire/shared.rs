//! What a door receives is what is stored, and what is stored is what is read: bodies that are not small
//! are not copied on their way.

use async_trait::async_trait;
use dunlin_proto::shuffle::{BlockStream, Push, Pushed};
use dunlin_proto::wire::SMALL_BODY;
use dunlin_shuffle::{TcpOptions, Workers};
use parking_lot::Mutex;

use crate::bed::{local, me, open, soon, workers_at};
use crate::*;

/// A worker that remembers where the bodies of its pushes lie.
struct Watched {
    inner: Arc<ShuffleWorker>,
    bodies: Mutex<Vec<(usize, usize)>>,
}

fn places(blocks: &[Block]) -> Vec<(usize, usize)> {
    blocks.iter().map(|block| (block.body.as_ptr() as usize, block.body.len())).collect()
}

#[async_trait]
impl ShuffleApi for Watched {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.inner.push(blocks).await
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.bodies.lock().extend(places(&push.blocks));
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

#[tokio::test]
async fn the_stored_body_is_the_buffer_that_was_received() {
    let map = attempt(0, 0);
    let lengths = [SMALL_BODY + 1, 70_000, 3 << 20];
    let blocks = || (0..).zip(lengths).map(|(n, length)| block(1, map, n, length)).collect();
    let inner = in_memory(64 << 20);
    let worker = Arc::new(Watched { inner, bodies: Mutex::default() });
    let door = open(Arc::clone(&worker) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    soon("the push", api.store(Push::plain(blocks()))).await.expect("taken");
    let received = worker.bodies.lock().clone();
    assert_eq!(received.len(), lengths.len());
    // Twice, since a read gives nothing away.
    for _ in 0..2 {
        let stored = read(&worker.inner, 1, Some(&[map])).await.expect("all there");
        assert!(same(&stored, &blocks()));
        assert_eq!(places(&stored), received, "no copy");
    }
}

#[tokio::test]
async fn within_a_process_writer_worker_and_reader_share_one_buffer() {
    let map = attempt(0, 0);
    let worker = in_memory(1 << 20);
    let pushed: Vec<_> = (0..3).map(|n| block(1, map, n, 10_000)).collect();
    let written = places(&pushed);
    worker.push(pushed).await.expect("fits");
    let first = read(&worker, 1, Some(&[map])).await.expect("all there");
    assert_eq!(places(&first), written);
}
