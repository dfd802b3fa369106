//! What waits to be written to one stream: small things first and at once, bulk in order and
//! within a budget.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Pieces, Writer};
use crate::{ByteCount, Env, Error, Result};

/// Small things are joined into one write up to this many.
const JOINED_MAX: usize = 64;

/// Bytes for one permit of the bulk budget.
const PERMIT: usize = 1024;

/// The limits of an [`Outbox`].
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    /// Bytes of bulk that wait or are being written; more wait outside. A piece of bulk that is
    /// larger than this takes all of it.
    pub bulk_bytes_max: ByteCount,
    /// Small things that wait. The protocol above has to bound them; reaching this ends the
    /// connection, since the peer does not read and yet asks.
    pub posts_max: usize,
    /// [`OutboxOptions::ping`] is written when nothing else was for this long.
    pub ping_every: Duration,
    /// A sign of life.
    pub ping: Pieces,
}

/// The way to the writer of one stream. Cheap to clone; all clones are the same outbox.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    options: OutboxOptions,
    lanes: Mutex<Lanes>,
    ready: Notify,
    budget: Arc<Semaphore>,
}

#[derive(Default)]
struct Lanes {
    posts: VecDeque<Pieces>,
    bulk: VecDeque<(Pieces, OwnedSemaphorePermit)>,
    last: Option<Pieces>,
    closed: bool,
}

enum Next {
    Some(Pieces, Option<OwnedSemaphorePermit>),
    Last(Pieces),
}

impl Outbox {
    /// An outbox that nobody empties yet: see [`Outbox::run`].
    pub fn new(options: OutboxOptions) -> Self {
        let permits = permits(options.bulk_bytes_max.as_usize());
        let budget = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Shared { options, lanes: Mutex::default(), ready: Notify::new(), budget }))
    }

    /// Adds something small. It goes before all bulk, in the order of the posts. `Retry` if the
    /// connection has ended or too much waits already.
    pub fn post(&self, pieces: Pieces) -> Result<()> {
        let mut lanes = self.0.lanes.lock();
        if lanes.closed || lanes.last.is_some() {
            return Err(ended());
        }
        if lanes.posts.len() >= self.0.options.posts_max {
            lanes.closed = true;
            self.0.ready.notify_one();
            return Err(Error::retry("the peer does not read what it asks for"));
        }
        lanes.posts.push_back(pieces);
        self.0.ready.notify_one();
        Ok(())
    }

    /// Adds bulk, waiting for room first. Returns before it is written. `Retry` if the connection
    /// ends meanwhile. Dropping the future adds nothing.
    pub async fn send(&self, pieces: Pieces) -> Result<()> {
        let bytes: usize = pieces.iter().map(bytes::Bytes::len).sum();
        let most = permits(self.0.options.bulk_bytes_max.as_usize());
        let count = u32::try_from(permits(bytes).min(most)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0.budget).acquire_many_owned(count).await;
        let permit = permit.map_err(|_| ended())?;
        let mut lanes = self.0.lanes.lock();
        if lanes.closed || lanes.last.is_some() {
            return Err(ended());
        }
        lanes.bulk.push_back((pieces, permit));
        self.0.ready.notify_one();
        Ok(())
    }

    /// Adds the last thing: bulk that waits is dropped, posts go before it, later calls fail, and
    /// [`Outbox::run`] returns when it is written. Only the first last thing counts.
    pub fn finish(&self, last: Pieces) {
        let mut lanes = self.0.lanes.lock();
        lanes.last.get_or_insert(last);
        lanes.bulk.clear();
        self.0.ready.notify_one();
    }

    /// Writes what comes until [`Outbox::finish`] or an error: `Retry`, the connection failed.
    /// However it ends, also by being dropped, later calls fail and nothing waits any more.
    pub async fn run(&self, env: &Env, mut writer: Writer) -> Result<()> {
        let closing = Closing(&self.0);
        let OutboxOptions { ping_every, ping, .. } = &self.0.options;
        loop {
            let next = env.timeout(*ping_every, closing.0.next()).await;
            match next.unwrap_or_else(|| Some(Next::Some(ping.clone(), None))) {
                Some(Next::Some(pieces, _permit)) => writer.write(pieces).await?,
                Some(Next::Last(pieces)) => {
                    writer.write(pieces).await?;
                    writer.shutdown().await;
                    return Ok(());
                }
                None => return Err(Error::retry("the peer does not read what it asks for")),
            }
        }
    }
}

impl Shared {
    /// What to write next; `None` once the outbox is closed.
    async fn next(&self) -> Option<Next> {
        loop {
            {
                let mut lanes = self.lanes.lock();
                if lanes.closed {
                    return None;
                }
                if let Some(next) = lanes.take() {
                    return Some(next);
                }
            }
            self.ready.notified().await;
        }
    }
}

impl Lanes {
    fn take(&mut self) -> Option<Next> {
        if !self.posts.is_empty() {
            let count = self.posts.len().min(JOINED_MAX);
            return Some(Next::Some(self.posts.drain(..count).flatten().collect(), None));
        }
        if let Some(last) = &self.last {
            return Some(Next::Last(last.clone()));
        }
        let (pieces, permit) = self.bulk.pop_front()?;
        Some(Next::Some(pieces, Some(permit)))
    }
}

/// Lets go of everything that waits when the writing ends.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.budget.close();
        let mut lanes = self.0.lanes.lock();
        *lanes = Lanes { closed: true, ..Lanes::default() };
    }
}

fn permits(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT).clamp(1, Semaphore::MAX_PERMITS)
}

fn ended() -> Error {
    Error::retry("the connection has ended")
}
