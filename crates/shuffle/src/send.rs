//! The pushes of a writer that are under way: started as soon as they are large enough, waited for
//! when there are too many of them, and at the end.

use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use dunlin_proto::block::Block;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::output::WriterOptions;
use crate::place::Placement;
use crate::push::{At, Pushing, size};
use crate::read::Workers;

/// Bytes for one permit of the in-flight limit.
const PERMIT: usize = 1024;

/// The pushing half of a writer. Pushes go on while their writer makes the next block.
pub(crate) struct Sender {
    pub(crate) pushing: Arc<Pushing>,
    pushes_on: Option<Env>,
    in_flight_max: usize,
    /// One permit for each [`PERMIT`] bytes that may be in flight.
    in_flight: Arc<Semaphore>,
    /// Who waits for one waits for any, so the lock is as good as the wait.
    under_way: Mutex<FuturesUnordered<BoxFuture<'static, Result<()>>>>,
}

impl Sender {
    pub(crate) fn new(
        workers: Arc<dyn Workers>,
        placement: Arc<dyn Placement>,
        options: &WriterOptions,
    ) -> Self {
        let permits = options.in_flight_max.div_ceil(PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            pushing: Arc::new(Pushing::new(workers, placement, options)),
            pushes_on: options.pushes_on.clone(),
            in_flight_max: options.in_flight_max,
            in_flight: Arc::new(Semaphore::new(permits)),
            under_way: Mutex::default(),
        }
    }

    /// Takes a block, and starts the pushes that have become large enough. Waits while too many bytes
    /// are in flight. An error may be that of an earlier push.
    pub(crate) async fn add(&self, block: Block) -> Result<()> {
        for (at, blocks) in self.pushing.take(block).await? {
            self.start(at, blocks).await?;
        }
        Ok(())
    }

    /// As [`Sender::add`], for blocks that come together.
    pub(crate) async fn add_all(&self, blocks: Vec<Block>) -> Result<()> {
        for (at, blocks) in self.pushing.take_all(blocks).await? {
            self.start(at, blocks).await?;
        }
        Ok(())
    }

    /// Pushes the rest. If all blocks are to travel inline, they are the result.
    pub(crate) async fn finish(&self) -> Result<Option<Vec<Block>>> {
        let inline = self.pushing.take_inline();
        if inline.is_none() {
            self.push_pending().await?;
        }
        Ok(inline)
    }

    /// Pushes what is not enough for a push yet, and waits for all pushes.
    pub(crate) async fn push_pending(&self) -> Result<()> {
        for (at, blocks) in self.pushing.take_pending() {
            self.start(at, blocks).await?;
        }
        let mut under_way = self.under_way.lock().await;
        while let Some(outcome) = under_way.next().await {
            outcome?;
        }
        Ok(())
    }

    /// Forgets the attempt everywhere. All workers are asked; the first error is returned.
    pub(crate) async fn discard(&self, options: &WriterOptions) -> Result<()> {
        // A push that arrives after it is refused there.
        self.under_way.lock().await.clear();
        self.pushing.discard(options).await
    }

    async fn start(&self, at: At, blocks: Vec<Block>) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let permit = self.room(blocks.iter().map(size).sum()).await?;
        let pushing = Arc::clone(&self.pushing);
        let push = async move {
            let outcome = pushing.push(at, blocks).await;
            drop(permit);
            outcome
        };
        let mut push = match &self.pushes_on {
            Some(env) => {
                let task = env.spawn("shuffle push", push).join_or_abort();
                let panicked = |panic| Err(Error::bug(format!("a shuffle push: {panic}")));
                async move { task.await.unwrap_or_else(panicked) }.boxed()
            }
            None => push.boxed(),
        };
        // Without a task of its own, the first look sends the request.
        if let Some(outcome) = (&mut push).now_or_never() {
            return outcome;
        }
        self.under_way.lock().await.push(push);
        Ok(())
    }

    /// Waits until so many bytes more may be in flight.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let most = self.in_flight_max.div_ceil(PERMIT).max(1);
        let permits = u32::try_from(bytes.div_ceil(PERMIT).min(most)).unwrap_or(u32::MAX);
        loop {
            let mut under_way = self.under_way.lock().await;
            // What has ended is an error that should be known soon.
            while let Some(Some(outcome)) = under_way.next().now_or_never() {
                outcome?;
            }
            match Arc::clone(&self.in_flight).try_acquire_many_owned(permits) {
                Ok(permit) => return Ok(permit),
                Err(tokio::sync::TryAcquireError::NoPermits) => {}
                Err(closed) => {
                    return Err(Error::bug("the in-flight limit was closed").with_source(closed));
                }
            }
            match under_way.next().await {
                Some(outcome) => outcome?,
                // The others are about to be listed.
                None => {
                    drop(under_way);
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
