//! A simulated process's ways to everything outside of it.
//!
//! The one thing to know: once a link is cut, no call on it ever returns, so a process that has died
//! does nothing more, whatever of its code is still in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dunlin_base::Env;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a call goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the metadata store.
    Store,
    /// The same, for a transaction: a process may be doomed to die of one.
    Txn,
    /// To blobs, tables and shuffle workers.
    Wire,
}

/// The links of one life of one process.
#[derive(Debug)]
pub(crate) struct Link {
    env: Env,
    dead: AtomicBool,
    bell: Notify,
    held: Mutex<Held>,
    doom: Mutex<Option<Doom>>,
}

/// Until when nothing passes.
#[derive(Debug, Default)]
struct Held {
    store: Duration,
    wire: Duration,
}

/// The process dies of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doom {
    /// So many transactions from now on it lives through.
    pub(crate) after: u64,
    /// The one that it dies of takes effect.
    pub(crate) sent: bool,
}

impl Link {
    pub(crate) fn new(env: Env) -> Self {
        let (dead, bell) = (AtomicBool::new(false), Notify::new());
        Self { env, dead, bell, held: Mutex::default(), doom: Mutex::new(None) }
    }

    /// Nothing passes for this long, in either direction: what a process that is paused looks like
    /// from outside.
    pub(crate) fn hold(&self, time: Duration) {
        let until = self.env.now() + time;
        *self.held.lock() = Held { store: until, wire: until };
    }

    /// The store alone is out of reach for this long.
    pub(crate) fn hold_store(&self, time: Duration) {
        self.held.lock().store = self.env.now() + time;
    }

    pub(crate) fn doom(&self, doom: Doom) {
        *self.doom.lock() = Some(doom);
    }

    /// The process dies.
    pub(crate) fn cut(&self) {
        self.dead.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }

    /// Undoes all that is not for ever.
    pub(crate) fn heal(&self) {
        *self.held.lock() = Held::default();
        *self.doom.lock() = None;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Returns when the process dies.
    pub(crate) async fn died(&self) {
        let mut rung = std::pin::pin!(self.bell.notified());
        // Registered before the look, so that no death goes unnoticed between the two.
        rung.as_mut().enable();
        if !self.is_dead() {
            rung.await;
        }
    }

    /// The value of `call`, or `None` if the process dies before.
    pub(crate) async fn unless_dead<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.died() => None,
            value = call => Some(value),
        }
    }

    /// Makes a call. It returns when the process may go on, and never if that has died.
    pub(crate) async fn through<T>(&self, way: Way, call: impl Future<Output = T>) -> T {
        let passed = async {
            self.pass(way).await;
            let doomed = (way == Way::Txn).then(|| self.meet_doom()).flatten();
            if doomed.is_some_and(|doom| !doom.sent) {
                self.cut();
            }
            self.pass(way).await;
            let answer = call.await;
            // Calm may have come meanwhile, and with it pardon.
            if doomed.is_some() && self.doom.lock().is_some() {
                self.cut();
            }
            self.pass(way).await;
            answer
        };
        match self.unless_dead(passed).await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    fn meet_doom(&self) -> Option<Doom> {
        let mut doom = self.doom.lock();
        match doom.as_mut() {
            Some(Doom { after: 0, .. }) => *doom,
            Some(doom) => {
                doom.after -= 1;
                None
            }
            None => None,
        }
    }

    async fn pass(&self, way: Way) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let until = {
                let held = self.held.lock();
                if way == Way::Wire { held.wire } else { held.store }
            };
            let wait = until.saturating_sub(self.env.now());
            if wait.is_zero() {
                return;
            }
            // In steps, so that healing is noticed.
            self.env.sleep(wait.min(STEP)).await;
        }
    }
}

/// Between two looks at whether a link still holds.
const STEP: Duration = Duration::from_millis(500);
