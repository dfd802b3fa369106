//! What is wrong with the network between simulated processes, beside the store's own faults.

use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use parking_lot::Mutex;

/// How bad it is. Chances are in thousandths; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Climate {
    /// Longest wait before a call takes effect, and again before its answer.
    pub(crate) delay_max: Duration,
    /// Chance that a call does nothing and fails.
    pub(crate) refused: u64,
    /// Chance that a call happens and fails.
    pub(crate) unanswered: u64,
    /// Chance that a block of a read is damaged on its way.
    pub(crate) flipped: u64,
}

/// How often each has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) flipped: u64,
}

/// The network's faults, drawn from the seed.
#[derive(Debug)]
pub(crate) struct Weather {
    env: Env,
    climate: Mutex<Climate>,
    broken: Mutex<Broken>,
}

impl Weather {
    pub(crate) fn new(env: Env) -> Self {
        Self { env, climate: Mutex::default(), broken: Mutex::default() }
    }

    pub(crate) fn set(&self, climate: Climate) {
        *self.climate.lock() = climate;
    }

    pub(crate) fn broken(&self) -> Broken {
        *self.broken.lock()
    }

    fn now(&self) -> Climate {
        *self.climate.lock()
    }

    fn rolls(&self, chance: u64) -> bool {
        chance > 0 && self.env.random_below(1000) < chance
    }

    /// Waits for as long as something is on its way.
    pub(crate) async fn delay(&self) {
        let max = self.now().delay_max;
        if !max.is_zero() {
            let micros = self.env.random_below(max.as_micros() as u64 + 1);
            self.env.sleep(Duration::from_micros(micros)).await;
        }
    }

    pub(crate) fn refuses(&self) -> bool {
        let refuses = self.rolls(self.now().refused);
        self.broken.lock().refused += u64::from(refuses);
        refuses
    }

    pub(crate) fn swallows_answer(&self) -> bool {
        let swallows = self.rolls(self.now().unanswered);
        self.broken.lock().unanswered += u64::from(swallows);
        swallows
    }

    pub(crate) fn flips(&self) -> bool {
        let flips = self.rolls(self.now().flipped);
        self.broken.lock().flipped += u64::from(flips);
        flips
    }

    /// A call over the network.
    pub(crate) async fn cross<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.delay().await;
        if self.refuses() {
            return Err(Error::retry(format!("{what}: the connection was refused")));
        }
        let answer = call.await;
        self.delay().await;
        if self.swallows_answer() {
            return Err(Error::retry(format!("{what}: the connection broke")));
        }
        answer
    }
}
