//! The one seam to time, chance and spawning; [`crate::net`] adds the network to it.
//!
//! Product code never asks the operating system for the time, a random number or a task: it asks
//! the [`Env`] it was given. In production that is tokio and the system's entropy; in a simulation
//! it is a paused tokio clock on one thread and a seeded generator, so that a run is a pure
//! function of its seed. `clippy.toml` bans the real ones outside this file.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::{OsRng, SmallRng};
use rand::{RngCore, SeedableRng, TryRngCore};
use tokio::task::JoinHandle;

/// Time, chance and spawning for one process (or one simulated process). Cheap to clone.
#[derive(Clone)]
pub struct Env {
    inner: Arc<Inner>,
}

struct Inner {
    started: tokio::time::Instant,
    started_unix_ms: u64,
    random: std::sync::Mutex<SmallRng>,
    /// A world whose chance is a function of its seed has no secrets.
    seeded: bool,
    runtime: Option<tokio::runtime::Handle>,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// A task started by [`Env::spawn`]. Dropping the handle leaves the task running; call
/// [`Task::abort`] to end it at its next await.
#[derive(Debug)]
pub struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    /// Ends the task at its next await. Does nothing if it has ended.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// True once the task has returned, panicked or been aborted.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The task's value; `Err` with the panic's text if it panicked or was aborted.
    pub async fn join(self) -> Result<T, String> {
        self.0.await.map_err(|e| {
            if e.is_cancelled() {
                return "the task was aborted".to_owned();
            }
            let panic = e.into_panic();
            panic_text(panic.as_ref())
        })
    }
}

impl<T> Task<T> {
    /// As [`Task::join`], but dropping the future ends the task at its next await: for work that is
    /// of no use to anybody but its caller.
    pub fn join_or_abort(self) -> impl Future<Output = Result<T, String>> {
        // Of a task that has ended nothing is aborted.
        let abort = Abort(self.0.abort_handle());
        async move {
            let _abort = abort;
            self.join().await
        }
    }
}

struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The text of a caught panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a text".to_owned()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
impl Env {
    /// The real world. Spawns on `runtime`, or on the caller's runtime if none is given.
    pub fn real(runtime: Option<tokio::runtime::Handle>) -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let unix_ms = unix.unwrap_or_default().as_millis() as u64;
        Self::build(unix_ms, SmallRng::from_os_rng(), false, runtime)
    }

    /// A world of its own for tests and simulations: chance comes from `seed`, the wall clock
    /// starts at a fixed date, time is tokio's (pause it for virtual time).
    pub fn seeded(seed: u64) -> Self {
        Self::build(1_700_000_000_000, SmallRng::seed_from_u64(seed), true, None)
    }

    fn build(
        unix_ms: u64,
        random: SmallRng,
        seeded: bool,
        runtime: Option<tokio::runtime::Handle>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                started: tokio::time::Instant::now(),
                started_unix_ms: unix_ms,
                random: std::sync::Mutex::new(random),
                seeded,
                runtime,
            }),
        }
    }

    /// The same world, spawning on another runtime.
    #[must_use]
    pub fn on(&self, runtime: tokio::runtime::Handle) -> Self {
        Self {
            inner: Arc::new(Inner {
                started: self.inner.started,
                started_unix_ms: self.inner.started_unix_ms,
                random: std::sync::Mutex::new(SmallRng::seed_from_u64(self.random())),
                seeded: self.inner.seeded,
                runtime: Some(runtime),
            }),
        }
    }

    /// Monotonic time since this world began.
    pub fn now(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// Milliseconds since 1970: the wall clock at the start plus [`Env::now`], so it never jumps
    /// back within a process.
    pub fn unix_ms(&self) -> u64 {
        self.inner.started_unix_ms + self.now().as_millis() as u64
    }

    /// Returns after `duration`. Dropping it cancels the wait.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The value of `future`, or `None` if `limit` passes first (the future is then dropped).
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(limit, future).await.ok()
    }

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        self.inner.random.lock().map_or(0, |mut r| r.next_u64())
    }

    /// A random number below `bound` (0 if `bound` is 0).
    pub fn random_below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.random() % bound }
    }

    /// 32 bytes that nobody can guess, for keys and salts: [`Env::random`] is quick, and gives
    /// itself away in every id. `Retry` if the system has no entropy to give.
    pub fn secret(&self) -> Result<[u8; 32], crate::Error> {
        let mut bytes = [0; 32];
        if self.inner.seeded {
            for part in bytes.chunks_exact_mut(8) {
                part.copy_from_slice(&self.random().to_le_bytes());
            }
            return Ok(bytes);
        }
        OsRng
            .try_fill_bytes(&mut bytes)
            .map_err(|e| crate::Error::retry("the system gives no random bytes").with_source(e))?;
        Ok(bytes)
    }

    /// A time that a library has measured by a clock of its own. A seeded world has no such clock: 0.
    pub fn measured(&self, time: u64) -> u64 {
        if self.inner.seeded { 0 } else { time }
    }

    /// Starts `future` as a task. `name` says what it is in traces.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        use tracing::Instrument;
        let future = future.instrument(tracing::trace_span!("task", name));
        Task(match &self.inner.runtime {
            Some(runtime) => runtime.spawn(future),
            None => tokio::spawn(future),
        })
    }

    /// Runs blocking work (a file, an fsync) on a thread that may block. Once the future was polled
    /// the work is done though it is dropped: what bounds such work belongs to the work.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let handle = match &self.inner.runtime {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        };
        Task(handle).join().await
    }

    /// Starts an operating-system thread for work that blocks all its life (a writer that waits
    /// for the disk). Its owner ends it by closing its queue, then joins it. `Exhausted` if the
    /// system grants no more threads.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<std::thread::JoinHandle<T>, crate::Error> {
        std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|e| {
            crate::Error::exhausted(format!("the system refuses thread '{name}'"))
                .with_source(e)
                .with_hint("raise the limit on processes (ulimit -u)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_the_caller_that_waits_for_it() {
        let env = Env::real(None);
        let (held, ended) = tokio::sync::oneshot::channel::<()>();
        let task = env.spawn("waits", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(task.join_or_abort());
        let ended = env.timeout(Duration::from_secs(60), ended).await;
        assert!(ended.expect("it ends").is_err());
        let task = env.spawn("answers", async { 7 });
        assert_eq!(task.join_or_abort().await, Ok(7));
    }
}
