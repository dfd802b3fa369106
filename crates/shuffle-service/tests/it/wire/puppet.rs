//! A worker that counts what is asked of it, and hands out endless blocks or waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use dunlin_base::{QueryId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest, ShuffleApi};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use crate::{attempt, block, shuffle};

/// Length of the bodies of the blocks that it hands out.
pub(crate) const BODY: usize = 1000;

/// Partition 0 has blocks without end; reads of others panic.
pub(crate) struct Puppet {
    /// Blocks that were looked up.
    pub(crate) given: Arc<AtomicUsize>,
    /// Reads that are open.
    pub(crate) reads: Arc<AtomicUsize>,
    /// Pushes that have begun.
    pub(crate) pushes: AtomicUsize,
    /// Pushes that wait.
    pub(crate) waiting: Arc<AtomicUsize>,
    /// A push takes one of these.
    pub(crate) gate: Semaphore,
}

/// Counts one while it lives.
struct One(Arc<AtomicUsize>);

impl One {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Puppet {
    pub(crate) fn new(gate: usize) -> Arc<Self> {
        Arc::new(Self {
            given: Arc::default(),
            reads: Arc::default(),
            pushes: AtomicUsize::new(0),
            waiting: Arc::default(),
            gate: Semaphore::new(gate),
        })
    }

    pub(crate) fn given(&self) -> usize {
        self.given.load(SeqCst)
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(SeqCst)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }
}

#[async_trait]
impl ShuffleApi for Puppet {
    async fn push(&self, _: Vec<Block>) -> Result<()> {
        self.pushes.fetch_add(1, SeqCst);
        let _waiting = One::of(&self.waiting);
        self.gate.acquire().await.expect("never closed").forget();
        Ok(())
    }

    async fn seal(&self, _: ShuffleId) -> Result<()> {
        Ok(())
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        assert_eq!(request.partition.0, 0, "this partition is a trap");
        let (given, open) = (Arc::clone(&self.given), One::of(&self.reads));
        let blocks = stream::iter(0..).map(move |batch| {
            let _ = &open;
            given.fetch_add(1, SeqCst);
            Ok(block(0, attempt(0, 0), batch, BODY))
        });
        Ok(blocks.boxed())
    }

    async fn discard(&self, _: ShuffleId, _: MapAttempt) -> Result<()> {
        Ok(())
    }

    async fn delete_query(&self, _: QueryId) -> Result<()> {
        Ok(())
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Ok((0..10_000).map(shuffle).collect())
    }
}
