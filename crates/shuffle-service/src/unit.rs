//! One disk of a worker with what is known of it: health, space, speed, and the limits on what is
//! done with it at once. `core` has a list of them; `aim` chooses, `carry` writes, `probe` probes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::disk::{Disk, Space};
use crate::health::{DiskState, Health};
use crate::options::DiskOptions;
use crate::stats::DiskStats;

/// Reads of one disk at once: a disk that hangs must not take all threads that may block.
const READS: usize = 16;

/// How long somebody waits for a disk that is to give something back.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Smaller writes say more about the cost of a call than about the disk.
const SPEED_LEN: u64 = 64 << 10;

/// What to do about a disk without room.
pub(crate) const ROOM: &str = "make room there, or give the worker another folder with --scratch";

/// The disk.
pub(crate) struct Unit {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: DiskOptions,
    /// Permits for reads and removals; held by the thread that does them.
    calls: Arc<Semaphore>,
    /// A probe runs; while it hangs, no other is started.
    pub(crate) probing: AtomicBool,
    meter: Mutex<Meter>,
}

#[derive(Default)]
struct Meter {
    health: Health,
    /// Why it does not take data, if it does not.
    trouble: Option<Error>,
    /// As last measured, less what was written since.
    space: Space,
    /// Bytes in extents. Signed: a removal may be counted before what it removes.
    used: i64,
    /// Bytes of writes under way.
    reserved: u64,
    written: u64,
    errors: u64,
    speed: u64,
    /// When it was last told that there is no room.
    told_full: Option<Duration>,
}

/// A disk that stays full is told of this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

impl Unit {
    /// Of a disk whose space cannot be measured nothing is expected.
    pub(crate) fn new(disk: Arc<dyn Disk>, options: DiskOptions) -> Self {
        let unit = Self {
            options,
            calls: Arc::new(Semaphore::new(READS)),
            probing: AtomicBool::new(false),
            meter: Mutex::default(),
            disk,
        };
        let space = unit.disk.space().inspect_err(|error| drop(unit.failed(Duration::ZERO, error)));
        unit.measured(space.unwrap_or_default());
        unit
    }

    /// Does something with the disk on a thread that may block, and waits for it within bounds:
    /// `TimedOut` says that the disk hangs, and then so does the thread, which keeps its permit.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        env: &Env,
        work: impl FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let call = async {
            let permit = Arc::clone(&self.calls).acquire_owned().await;
            let disk = Arc::clone(&self.disk);
            let work = move || {
                let _permit = permit;
                work(disk.as_ref())
            };
            env.blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
        };
        let late = || {
            let text = format!("no answer within {} s", CALL_MAX.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        };
        env.timeout(CALL_MAX, call).await.unwrap_or_else(late)
    }

    pub(crate) fn state(&self, now: Duration) -> DiskState {
        self.meter.lock().health.state(now)
    }

    /// Bytes that may still be written here.
    pub(crate) fn room(&self) -> u64 {
        let meter = self.meter.lock();
        let free = meter.space.free.saturating_sub(self.options.reserve.0);
        let used = meter.used.max(0).unsigned_abs();
        let allowed = self.options.capacity.map_or(u64::MAX, |all| all.0.saturating_sub(used));
        free.min(allowed).saturating_sub(meter.reserved)
    }

    pub(crate) fn speed(&self) -> u64 {
        self.meter.lock().speed
    }

    /// Bytes in extents here.
    pub(crate) fn used(&self) -> u64 {
        self.meter.lock().used.max(0).unsigned_abs()
    }

    /// Bytes of writes under way.
    pub(crate) fn reserved(&self) -> u64 {
        self.meter.lock().reserved
    }

    /// Why nothing can be written here, if that is so.
    pub(crate) fn trouble(&self, now: Duration) -> Option<Error> {
        let meter = self.meter.lock();
        if meter.health.state(now) == DiskState::Good {
            return None;
        }
        let text = || format!("the disk of {} takes no data", self.place());
        Some(meter.trouble.clone().unwrap_or_else(|| Error::exhausted(text()).with_hint(ROOM)))
    }

    pub(crate) fn place(&self) -> String {
        self.disk.directory().display().to_string()
    }

    /// A write of so many bytes begins.
    pub(crate) fn begin(&self, bytes: u64) {
        self.meter.lock().reserved += bytes;
    }

    /// A write has ended.
    pub(crate) fn end(&self, bytes: u64) {
        self.meter.lock().reserved -= bytes;
    }

    /// Bytes were written in this time, and are kept.
    pub(crate) fn wrote(&self, bytes: u64, took: Duration) {
        let mut meter = self.meter.lock();
        meter.written += bytes;
        meter.space.free = meter.space.free.saturating_sub(bytes);
        if bytes >= SPEED_LEN && !took.is_zero() {
            let now = (bytes as f64 / took.as_secs_f64()) as u64;
            let before = meter.speed;
            meter.speed = if before == 0 { now } else { before / 5 * 4 + now / 5 };
        }
    }

    /// Extents of the worker here grew by so much, or shrank.
    pub(crate) fn keeps(&self, bytes: i64) {
        self.meter.lock().used += bytes;
    }

    pub(crate) fn measured(&self, space: Space) {
        let mut meter = self.meter.lock();
        meter.space = space;
        meter.health.measured(space.free < self.options.reserve.0);
    }

    /// There is no room for a write, whoever says so.
    pub(crate) fn ran_full(&self, now: Duration, why: Error) {
        let mut meter = self.meter.lock();
        if meter.told_full.is_none_or(|at| now.saturating_sub(at) >= TOLD_EVERY) {
            meter.told_full = Some(now);
            tracing::warn!("the disk of {} is full: {why}", self.place());
        }
        meter.trouble = Some(why);
        meter.health.ran_full(now);
    }

    /// Room was made: it need not rest.
    pub(crate) fn has_room(&self) {
        self.meter.lock().health.has_room();
    }

    /// A call failed. Says what it means for whoever wanted to write.
    pub(crate) fn failed(&self, now: Duration, cause: &io::Error) -> Error {
        let text = format!("cannot write shuffle data to disk in {}: {cause}", self.place());
        let error = Error::exhausted(text).with_hint(ROOM);
        if is_full(cause) {
            self.ran_full(now, error.clone());
            return error;
        }
        let mut meter = self.meter.lock();
        meter.errors += 1;
        meter.trouble = Some(error.clone());
        meter.health.failed(now);
        error
    }

    /// A read failed, or gave other bytes than were written.
    pub(crate) fn failed_to_read(&self, now: Duration, cause: &io::Error) {
        self.failed_to("read shuffle data from", now, cause);
    }

    /// A file, or all of a query, could not be removed.
    pub(crate) fn failed_to_remove(&self, now: Duration, cause: &io::Error) {
        self.failed_to("remove shuffle data from", now, cause);
    }

    fn failed_to(&self, what: &str, now: Duration, cause: &io::Error) {
        let mut meter = self.meter.lock();
        meter.errors += 1;
        let text = format!("cannot {what} disk in {}: {cause}", self.place());
        meter.trouble = Some(Error::exhausted(text).with_hint(ROOM));
        meter.health.failed(now);
    }

    /// A probe ended: with the space that it measured, or with why it is none.
    pub(crate) fn probed(&self, outcome: Result<Space, String>) {
        let mut meter = self.meter.lock();
        meter.health.probed(outcome.is_ok());
        match outcome {
            Ok(space) => {
                meter.space = space;
                meter.health.measured(space.free < self.options.reserve.0);
            }
            Err(why) => {
                meter.errors += 1;
                let text = format!("the disk of {} is isolated: {why}", self.place());
                tracing::warn!("{text}");
                meter.trouble = Some(Error::exhausted(text).with_hint(ROOM));
            }
        }
    }

    pub(crate) fn stats(&self, now: Duration) -> DiskStats {
        let meter = self.meter.lock();
        DiskStats {
            path: self.disk.directory().to_owned(),
            class: self.options.class,
            state: meter.health.state(now),
            free: meter.space.free,
            total: meter.space.total,
            used: meter.used.max(0).unsigned_abs(),
            written: meter.written,
            speed: meter.speed,
            errors: meter.errors,
            room: 0,
            queue: (READS - self.calls.available_permits()) as u64,
        }
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
