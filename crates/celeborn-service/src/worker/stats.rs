//! What a worker's door counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::Env;
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::status::StatusCode;

use crate::timer::Timer;

/// Counters since the start, and what is so now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Pushes that were stored, merged ones as one.
    pub pushes: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Pushes that a client was told to send elsewhere, in part or as a whole.
    pub hard_splits: u64,
    /// Pushes that failed.
    pub push_failures: u64,
    /// Copies that other workers sent and that were stored.
    pub copies: u64,
    /// Chunks that were sent.
    pub chunks: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Chunks that could not be sent.
    pub chunk_failures: u64,
    /// Streams that were opened, and that could not be.
    pub opened: [u64; 2],
    /// Commits that were answered, and those of them with a location that is not here.
    pub commits: [u64; 2],
    /// Copies that the worker of the second copy did not take: for want of a connection, because that
    /// broke, for lack of an answer in time, and otherwise.
    pub copy_failures: [u64; 4],
    /// Streams that are open.
    pub streams: u64,
    /// Shuffles that are known.
    pub shuffles: u64,
    /// Locations that take data.
    pub open_locations: u64,
    /// Locations that were reserved.
    pub reserved: u64,
    /// The worker is to go.
    pub draining: bool,
    /// The core had no room a moment ago.
    pub full: bool,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) pushes: AtomicU64,
    pub(super) pushed_bytes: AtomicU64,
    pub(super) hard_splits: AtomicU64,
    pub(super) push_failures: AtomicU64,
    pub(super) copies: AtomicU64,
    pub(super) chunks: AtomicU64,
    pub(super) fetched_bytes: AtomicU64,
    pub(super) chunk_failures: AtomicU64,
    pub(super) opened: [AtomicU64; 2],
    pub(super) commits: [AtomicU64; 2],
    pub(super) copy_failures: [AtomicU64; 4],
    pub(super) reserved: AtomicU64,
}

/// How long things take.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) reserve: Timer,
    pub(super) commit: Timer,
    pub(super) open: Timer,
    /// Until the bytes are there; sending them is the client's pace.
    pub(super) fetch: Timer,
    primary: Timer,
    replica: Timer,
}

impl Timers {
    /// Of pushes of clients, or of copies of other workers.
    pub(super) fn push(&self, mode: Mode) -> &Timer {
        match mode {
            Mode::Primary => &self.primary,
            Mode::Replica => &self.replica,
        }
    }
}

/// Waits for something, and measures that.
pub(super) async fn timed<T>(env: &Env, timer: &Timer, what: impl Future<Output = T>) -> T {
    let start: Duration = env.now();
    let done = what.await;
    let now = env.now();
    timer.record(now.saturating_sub(start), now);
    done
}

/// Which of [`WorkerStats::copy_failures`] it is.
pub(super) fn kind_of(code: StatusCode) -> usize {
    match code {
        StatusCode::PushDataCreateConnectionFailReplica => 0,
        StatusCode::PushDataConnectionExceptionReplica => 1,
        StatusCode::PushDataTimeoutReplica => 2,
        _ => 3,
    }
}

impl super::floor::Floor {
    pub(super) fn stats(&self) -> WorkerStats {
        let counters = &self.counters;
        let shuffles = self.all();
        WorkerStats {
            pushes: counters.pushes.load(Relaxed),
            pushed_bytes: counters.pushed_bytes.load(Relaxed),
            hard_splits: counters.hard_splits.load(Relaxed),
            push_failures: counters.push_failures.load(Relaxed),
            copies: counters.copies.load(Relaxed),
            chunks: counters.chunks.load(Relaxed),
            fetched_bytes: counters.fetched_bytes.load(Relaxed),
            chunk_failures: counters.chunk_failures.load(Relaxed),
            opened: [0, 1].map(|at: usize| counters.opened[at].load(Relaxed)),
            commits: [0, 1].map(|at: usize| counters.commits[at].load(Relaxed)),
            copy_failures: [0, 1, 2, 3].map(|at: usize| counters.copy_failures[at].load(Relaxed)),
            reserved: counters.reserved.load(Relaxed),
            draining: self.core.is_draining(),
            full: self.is_full(),
            streams: self.streams.len() as u64,
            shuffles: shuffles.len() as u64,
            open_locations: shuffles.iter().map(|shuffle| shuffle.open() as u64).sum(),
        }
    }
}
