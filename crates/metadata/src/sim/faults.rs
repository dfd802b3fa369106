//! What may go wrong in a simulated store, and the dice that say when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dunlin_base::Env;
use parking_lot::Mutex;

/// What goes wrong and how often. Chances are in thousandths; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Longest wait before a call takes effect.
    pub delay_before_max: Duration,
    /// Longest wait between the effect of a call and its answer.
    pub delay_after_max: Duration,
    /// Chance that a call answers `Retry` and does nothing.
    pub refused: u64,
    /// Chance that a transaction happens and answers `Retry`.
    pub lost_acknowledgement: u64,
    /// Chance that a transaction answers `Retry` first and is tried later.
    pub late: u64,
    /// How much later at most.
    pub late_max: Duration,
    /// Chance that a delivery to a watch is lost and shows as [`crate::Event::Resync`].
    pub watch_dropped: u64,
    /// Longest wait of a delivery to a watch.
    pub watch_delay_max: Duration,
}

/// How often each fault has fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// Calls that did nothing and said `Retry`.
    pub refused: u64,
    /// Transactions that happened and said `Retry`.
    pub lost_acknowledgements: u64,
    /// Transactions that said `Retry` and were tried later.
    pub late: u64,
    /// Deliveries replaced by a `Resync`.
    pub watch_dropped: u64,
}

pub(super) struct Dice {
    env: Env,
    /// False while there are no faults, so that a store without them takes no second lock.
    armed: AtomicBool,
    faults: Mutex<Faults>,
    refused: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
    dropped: AtomicU64,
}

impl Dice {
    pub(super) fn new(env: Env) -> Self {
        Self {
            env,
            armed: AtomicBool::new(false),
            faults: Mutex::default(),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            late: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, faults: Faults) {
        let armed = faults != Faults::default();
        *self.faults.lock() = faults;
        self.armed.store(armed, Ordering::Release);
    }

    pub(super) fn armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    pub(super) fn fired(&self) -> Fired {
        Fired {
            refused: self.refused.load(Ordering::Relaxed),
            lost_acknowledgements: self.lost.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            watch_dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn wait_before(&self) {
        let max = self.faults.lock().delay_before_max;
        self.wait(max).await;
    }

    pub(super) async fn wait_after(&self) {
        let max = self.faults.lock().delay_after_max;
        self.wait(max).await;
    }

    pub(super) async fn wait_delivery(&self) {
        let max = self.faults.lock().watch_delay_max;
        self.wait(max).await;
    }

    pub(super) fn refuse(&self) -> bool {
        let chance = self.faults.lock().refused;
        self.roll(chance, &self.refused)
    }

    pub(super) fn lose_acknowledgement(&self) -> bool {
        let chance = self.faults.lock().lost_acknowledgement;
        self.roll(chance, &self.lost)
    }

    /// How much later a transaction is to be tried, if it is to be late.
    pub(super) fn late(&self) -> Option<Duration> {
        let (chance, max) = {
            let faults = self.faults.lock();
            (faults.late, faults.late_max)
        };
        self.roll(chance, &self.late).then(|| self.below(max))
    }

    pub(super) fn drop_delivery(&self) -> bool {
        let chance = self.faults.lock().watch_dropped;
        self.roll(chance, &self.dropped)
    }

    fn roll(&self, chance: u64, count: &AtomicU64) -> bool {
        let hit = chance > 0 && self.env.random_below(1000) < chance;
        if hit {
            count.fetch_add(1, Ordering::Relaxed);
        }
        hit
    }

    fn below(&self, max: Duration) -> Duration {
        Duration::from_micros(self.env.random_below(max.as_micros() as u64 + 1))
    }

    async fn wait(&self, max: Duration) {
        if !max.is_zero() {
            let wait = self.below(max);
            self.env.sleep(wait).await;
        }
    }
}
