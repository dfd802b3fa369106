//! What the calls of a worker share: registry, memory budget, counters, and the flusher that
//! moves the largest partitions to disk when memory is short.
//!
//! At most one flusher runs. It is started by the push that passes the memory mark and ends when
//! memory is below it again, so an idle worker runs nothing.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::{ByteCount, Env, Error, QueryId, Result};
use parking_lot::Mutex;

use crate::disk::Disk;
use crate::flush::{Flush, Written};
use crate::memory::{Memory, Reservation};
use crate::options::Options;
use crate::partition::Partition;
use crate::registry::Registry;
use crate::stats::Counters;

/// A disk that failed is not tried again for this long; pushes that need it are refused at once.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// What to do about a disk without room.
const ROOM: &str = "make room there, or give the worker another folder with --scratch";

/// Before waiting pushes are woken by a flusher that found nothing to do, so that they do not spin.
const IDLE_PAUSE: Duration = Duration::from_millis(10);

/// The shared state.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) registry: Registry,
    pub(crate) memory: Memory,
    pub(crate) counters: Counters,
    pub(crate) disk: Option<Arc<dyn Disk>>,
    /// Queries that may have files: most short ones never have.
    on_disk: Mutex<BTreeSet<QueryId>>,
    flushing: AtomicBool,
    /// Why the disk is paused, and until when.
    paused: Mutex<Option<(Duration, Error)>>,
}

impl Core {
    pub(crate) fn new(options: Options, disk: Option<Arc<dyn Disk>>, env: Env) -> Self {
        Self {
            registry: Registry::new(options.tombstones),
            memory: Memory::new(options.memory_limit.0, options.memory_mark_percent),
            counters: Counters::default(),
            on_disk: Mutex::default(),
            flushing: AtomicBool::new(false),
            paused: Mutex::new(None),
            options,
            env,
            disk,
        }
    }

    /// Memory for a push. Waits for the flusher if need be; `Exhausted` when that is hopeless.
    pub(crate) async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation<'_>> {
        if let Some(reserved) = self.memory.try_reserve(bytes) {
            return Ok(reserved);
        }
        if bytes > self.memory.limit {
            return Err(self.refuse(format!("a push of {} is larger than it", ByteCount(bytes))));
        }
        let limit = self.options.push_wait;
        let waited = self.env.timeout(limit, self.wait_for_memory(bytes)).await;
        let late = || format!("none was freed within {} s", limit.as_secs());
        waited.unwrap_or_else(|| Err(self.refuse(late())))
    }

    async fn wait_for_memory(self: &Arc<Self>, bytes: u64) -> Result<Reservation<'_>> {
        let _want = self.memory.want(bytes);
        loop {
            let mut freed = std::pin::pin!(self.memory.freed.notified());
            // Registered before the look, so that what is freed after it is not missed.
            freed.as_mut().enable();
            if let Some(reserved) = self.memory.try_reserve(bytes) {
                return Ok(reserved);
            }
            if self.disk.is_none() {
                return Err(self.refuse("it has no directory to write to".to_owned()));
            }
            if let Some(error) = self.disk_trouble() {
                return Err(error);
            }
            self.start_flush();
            freed.await;
        }
    }

    fn refuse(&self, why: String) -> Error {
        let limit = self.options.memory_limit;
        Error::exhausted(format!(
            "the memory limit of the shuffle worker ({limit}) is reached: {why}"
        ))
        .with_hint("raise the memory limit, or give the worker a directory with free space")
    }

    fn disk_trouble(&self) -> Option<Error> {
        let paused = self.paused.lock();
        paused.as_ref().filter(|(until, _)| self.env.now() < *until).map(|(_, e)| e.clone())
    }

    /// Starts the flusher if memory is over the mark, there is a disk, and none runs.
    pub(crate) fn flush_if_needed(self: &Arc<Self>) {
        if self.memory.over_mark() && self.disk.is_some() && self.disk_trouble().is_none() {
            self.start_flush();
        }
    }

    fn start_flush(self: &Arc<Self>) {
        if self.flushing.compare_exchange(false, true, AcqRel, Acquire).is_err() {
            return;
        }
        let running = Running(Arc::clone(self));
        self.env.spawn("shuffle-flush", async move {
            let core = &running.0;
            match core.flush_to_target().await {
                Ok(0) => core.env.sleep(IDLE_PAUSE).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot write shuffle data to disk");
                    *core.paused.lock() = Some((core.env.now() + DISK_PAUSE, error));
                }
            }
        });
    }

    async fn flush_to_target(&self) -> Result<u64> {
        let mut total = 0;
        while self.memory.over_target() {
            let before = total;
            for partition in self.registry.largest() {
                total += self.flush_partition(&partition).await?;
                if !self.memory.over_target() {
                    break;
                }
            }
            if total == before {
                break;
            }
        }
        Ok(total)
    }

    /// Moves everything that is in memory to disk.
    pub(crate) async fn flush_all(&self) -> Result<()> {
        for partition in self.registry.largest() {
            self.flush_partition(&partition).await?;
        }
        Ok(())
    }

    /// Moves one partition to its file and says how many bytes of memory that freed. Not to be
    /// dropped in the middle: it runs in a task of its own.
    async fn flush_partition(&self, partition: &Arc<Partition>) -> Result<u64> {
        let Some(disk) = self.disk.clone() else { return Ok(0) };
        let Some(flush) = partition.begin_flush() else { return Ok(0) };
        let query = partition.shuffle().query;
        self.on_disk.lock().insert(query);
        let written = self.write(disk, flush).await;
        let (written, failure) = match written {
            Ok(written) => (Some(written), None),
            Err(error) => (None, Some(error)),
        };
        let wrote = written.is_some();
        let Some(flushed) = partition.end_flush(written, &self.memory) else {
            // The query ended while its partition was being written.
            let _ = self.remove_files(query).await;
            return Ok(0);
        };
        self.counters.disk_bytes.fetch_add(flushed.disk_bytes.cast_signed(), Relaxed);
        self.counters.flushes.fetch_add(u64::from(wrote), Relaxed);
        failure.map_or(Ok(flushed.freed), Err)
    }

    /// Removes the files of a query, if it may have any. May be repeated.
    pub(crate) async fn remove_files(&self, query: QueryId) -> io::Result<()> {
        let Some(disk) = self.disk.clone() else { return Ok(()) };
        if !self.on_disk.lock().contains(&query) {
            return Ok(());
        }
        let removed = self.env.blocking(move || disk.remove_query(query)).await;
        removed.unwrap_or_else(|panic| Err(io::Error::other(panic)))?;
        self.on_disk.lock().remove(&query);
        Ok(())
    }

    async fn write(&self, disk: Arc<dyn Disk>, flush: Flush) -> Result<Written> {
        let directory = disk.directory().display().to_string();
        let needed = self.counters.disk_bytes().saturating_add(flush.length());
        if needed > self.options.disk_limit.0 {
            let limit = self.options.disk_limit;
            let text = format!("the disk limit of the shuffle worker ({limit}) is reached");
            return Err(Error::exhausted(format!("{text} in {directory}")).with_hint(ROOM));
        }
        let written = self.env.blocking(move || flush.write(disk.as_ref())).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|cause| {
            let text = format!("cannot write shuffle data to disk in {directory}: {cause}");
            Error::exhausted(text).with_source(cause).with_hint(ROOM)
        })
    }
}

/// Marks the flusher as running; its end, however it comes, lets the next one start and wakes
/// the pushes that wait.
struct Running(Arc<Core>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.flushing.store(false, std::sync::atomic::Ordering::Release);
        self.0.memory.freed.notify_waiters();
    }
}
