//! What waits to be written to one stream: small things first and at once, bulk in order and
//! within a budget.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::lanes::{Lanes, Next};
use super::{Pieces, Writer, writer};
use crate::{ByteCount, Env, Error, Result};

/// What is not larger goes out on the thread of whoever adds it, if nothing is before it: to wake the
/// thread of the socket takes longer than such a write.
const AT_ONCE_MAX: usize = 16 << 10;

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
    /// Something is to be done by [`Outbox::run`].
    ready: Notify,
    budget: Arc<Semaphore>,
}

impl Outbox {
    /// An outbox that nobody empties yet: see [`Outbox::run`].
    pub fn new(options: OutboxOptions) -> Self {
        let permits = permits(options.bulk_bytes_max.as_usize());
        let budget = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Shared { options, lanes: Mutex::default(), ready: Notify::new(), budget }))
    }

    /// Adds something small. It goes before all bulk, in the order of the posts. `Retry` if the
    /// connection has ended or too much waits already. If nothing waits it is written on this thread.
    pub fn post(&self, pieces: Pieces) -> Result<()> {
        let Some(pieces) = self.0.write_at_once(pieces) else { return Ok(()) };
        let mut lanes = self.0.lanes.lock();
        if !lanes.is_open() {
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

    /// Adds bulk, waiting for room first. Returns before it is written, unless it is small and nothing
    /// waits. `Retry` if the connection
    /// ends meanwhile. Dropping the future adds nothing.
    pub async fn send(&self, pieces: Pieces) -> Result<()> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let most = permits(self.0.options.bulk_bytes_max.as_usize());
        let count = u32::try_from(permits(bytes).min(most)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0.budget).acquire_many_owned(count).await;
        let permit = permit.map_err(|_| ended())?;
        let Some(pieces) = self.0.write_at_once(pieces) else { return Ok(()) };
        let mut lanes = self.0.lanes.lock();
        if !lanes.is_open() {
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
    pub async fn run(&self, env: &Env, writer: Writer) -> Result<()> {
        let closing = Closing(&self.0);
        let OutboxOptions { ping_every, ping, .. } = &self.0.options;
        self.0.lanes.lock().put_back(writer, Ok(None));
        loop {
            let next = env.timeout(*ping_every, closing.0.next()).await;
            let (mut writer, next) = match next {
                Some(next) => next?,
                None => match closing.0.lanes.lock().writer() {
                    Some(writer) => (writer, Next::Some(ping.clone().into(), None)),
                    // Something is being written now.
                    None => continue,
                },
            };
            match next {
                Next::Some(pieces, _permit) => {
                    writer.write(pieces).await?;
                    closing.0.lanes.lock().put_back(writer, Ok(None));
                }
                Next::Last(pieces) => {
                    writer.write(pieces).await?;
                    writer.shutdown().await;
                    return Ok(());
                }
            }
        }
    }
}

impl Shared {
    /// What to write next; an error once the outbox is closed.
    async fn next(&self) -> Result<(Writer, Next)> {
        loop {
            if let Some(next) = self.lanes.lock().take()? {
                return Ok(next);
            }
            self.ready.notified().await;
        }
    }

    /// Writes something small on this thread if nothing else is to be written. Gives it back if that
    /// cannot be.
    fn write_at_once(&self, pieces: Pieces) -> Option<Pieces> {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > AT_ONCE_MAX {
            return Some(pieces);
        }
        let Some(mut writer) = self.lanes.lock().writer_at_once() else { return Some(pieces) };
        let mut left = VecDeque::from(pieces);
        let outcome = writer.write_now(&mut left).map_err(writer::failed);
        let rest = outcome.map(|all| (!all).then_some(left));
        if self.lanes.lock().put_back(writer, rest) {
            self.ready.notify_one();
        }
        None
    }
}

/// Lets go of everything that waits when the writing ends.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.budget.close();
        *self.0.lanes.lock() = Lanes::closed();
    }
}

fn permits(bytes: usize) -> usize {
    bytes.div_ceil(PERMIT).clamp(1, Semaphore::MAX_PERMITS)
}

fn ended() -> Error {
    Error::retry("the connection has ended")
}
