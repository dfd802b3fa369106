//! The resume loop of watches.
//!
//! etcd's own watch ends with its connection, its member or a compaction, sometimes without an
//! error. Ours goes on: after every break (a clean end is one) it starts again behind the last
//! revision that it passed on. Only when etcd has forgotten that revision, or the reader is too
//! slow, it says [`Event::Resync`].
//!
//! A task per watch always drains etcd's stream: an unread one would fill the connection's flow
//! window and hold up every other call on it.

use std::time::Duration;

use dunlin_base::{Env, Error, Result, Revision};
use etcd_client::{GetOptions, KvClient, WatchClient, WatchOptions, WatchResponse, WatchStream};
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::convert::{Root, revision};
use super::error::{from_etcd, is_out_of_range};
use super::store::CALL_TIMEOUT;
use crate::store::{Event, Watch};

/// Batches that wait for a slow reader before it is told to read again.
const QUEUE_BATCHES: usize = 256;

/// Waits between tries: full jitter below a bound that doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Where the events come from.
pub(super) struct Source {
    pub(super) env: Env,
    pub(super) root: Root,
    pub(super) prefix: String,
    pub(super) watches: WatchClient,
    pub(super) kv: KvClient,
}

/// Starts a watch; dropping it ends its task.
pub(super) fn start(source: Source, from: Revision) -> Watch {
    let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
    let sink = Sink { next: from.max(Revision(1)), sender, lost: false };
    let env = source.env.clone();
    env.spawn("metadata-watch", Watcher { source, sink, failures: 0 }.run());
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|events| (events, receiver))
    })
    .boxed()
}

/// Why a session with etcd ended.
enum End {
    /// The reader has gone.
    Unwatched,
    /// etcd no longer has the revisions that we want.
    Forgotten,
    /// Anything else.
    Broken(Error),
}

struct Watcher {
    source: Source,
    sink: Sink,
    failures: u32,
}

impl Watcher {
    async fn run(mut self) {
        while !self.sink.sender.is_closed() {
            let started = self.source.env.now();
            let end = match self.connect().await {
                Ok(stream) => self.session(stream).await,
                Err(e) => End::Broken(e),
            };
            let broken = match end {
                End::Unwatched => return,
                End::Forgotten => self.skip_to_now().await.err(),
                End::Broken(e) => Some(e),
            };
            // Not at every answer: a member without a leader answers, then cancels at once.
            if self.source.env.now() - started > BACKOFF_MAX {
                self.failures = 0;
            }
            if let Some(e) = broken {
                tracing::warn!(prefix = self.source.prefix, error = %e, "metadata watch broke");
                self.back_off().await;
            }
        }
    }

    async fn connect(&mut self) -> Result<WatchStream> {
        let source = &mut self.source;
        let options = WatchOptions::new()
            .with_range(source.root.end_of(&source.prefix))
            .with_start_revision(self.sink.next.0);
        let opening = source.watches.watch(source.root.key(&source.prefix), Some(options));
        match source.env.timeout(CALL_TIMEOUT, opening).await {
            Some(opened) => opened.map_err(|e| from_etcd("watch", e)),
            None => Err(Error::retry(format!("etcd watch: no answer within {CALL_TIMEOUT:?}"))),
        }
    }

    /// Passes events on until the stream ends, however it does.
    async fn session(&mut self, mut stream: WatchStream) -> End {
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                gone = self.sink.wait() => {
                    if gone { return End::Unwatched } else { continue }
                }
            };
            let response = match message {
                Ok(Some(response)) => response,
                Ok(None) => return End::Broken(Error::retry("etcd ended the watch")),
                Err(e) if is_out_of_range(&e) => return End::Forgotten,
                Err(e) => return End::Broken(from_etcd("watch", e)),
            };
            if response.compact_revision() > 0 {
                return End::Forgotten;
            }
            if response.canceled() {
                return End::Broken(Error::retry("etcd cancelled the watch"));
            }
            if let Err(e) = self.pass_on(&response) {
                return End::Broken(e);
            }
        }
    }

    fn pass_on(&mut self, response: &WatchResponse) -> Result<()> {
        let Some(last) = response.events().last().and_then(|event| event.kv()) else {
            return Ok(());
        };
        let last = Revision(last.mod_revision());
        self.failures = 0;
        let root = &self.source.root;
        let events: Result<Vec<_>> = response.events().iter().map(|e| root.event(e)).collect();
        self.sink.push(events?, last);
        Ok(())
    }

    /// Gives up what is forgotten: the reader must read again, and events go on from now.
    async fn skip_to_now(&mut self) -> Result<()> {
        let source = &mut self.source;
        let count = Some(GetOptions::new().with_count_only());
        let read = source.kv.get(source.root.key("probe"), count);
        let read = source.env.timeout(CALL_TIMEOUT, read).await;
        let read = read.ok_or_else(|| Error::retry("etcd get: no answer"))?;
        let now = revision(read.map_err(|e| from_etcd("get", e))?.header())?;
        self.sink.push(vec![Event::Resync(now)], now);
        Ok(())
    }

    async fn back_off(&mut self) {
        let limit = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = Duration::from_micros(self.source.env.random_below(limit.as_micros() as u64));
        // Cut short if the reader goes meanwhile.
        let _ = self.source.env.timeout(wait, self.sink.sender.closed()).await;
    }
}

/// The way to the reader: bounded, and never in the way of the stream.
struct Sink {
    /// The first revision that was not passed on.
    next: Revision,
    sender: mpsc::Sender<Vec<Event>>,
    /// Events were dropped: the next thing to tell is a resync.
    lost: bool,
}

impl Sink {
    /// Passes on all events up to `last`, or drops them and remembers that.
    fn push(&mut self, events: Vec<Event>, last: Revision) {
        self.next = Revision(last.0 + 1);
        if !self.lost
            && let Err(TrySendError::Full(_)) = self.sender.try_send(events)
        {
            self.lost = true;
        }
    }

    /// Waits for the reader to go (true) or, if events were lost, for room to say so (false).
    async fn wait(&mut self) -> bool {
        if !self.lost {
            self.sender.closed().await;
            return true;
        }
        let Ok(room) = self.sender.reserve().await else { return true };
        room.send(vec![Event::Resync(Revision(self.next.0 - 1))]);
        self.lost = false;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(revision: i64) -> Vec<Event> {
        vec![Event::Delete("a".into(), Revision(revision))]
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_to_read_again() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut sink = Sink { next: Revision(1), sender, lost: false };
        for revision in 1..=5 {
            sink.push(delete(revision), Revision(revision));
        }
        assert_eq!(receiver.recv().await, Some(delete(1)));
        // There is room now, but 3 to 5 are gone: 6 must not come before the resync.
        sink.push(delete(6), Revision(6));
        assert!(!sink.wait().await);
        sink.push(delete(7), Revision(7));
        assert_eq!(receiver.recv().await, Some(delete(2)));
        assert_eq!(receiver.recv().await, Some(vec![Event::Resync(Revision(6))]));
        // 7 had found no room either.
        assert!(!sink.wait().await);
        assert_eq!(receiver.recv().await, Some(vec![Event::Resync(Revision(7))]));
        drop(receiver);
        assert!(sink.wait().await);
    }
}
