//! How long something takes: how often, and of the last one to two minutes the mean, the longest and
//! percentiles. A histogram of fixed size, written without a lock.
//!
//! The one thing to know: whoever turns the minute over empties a window while others write to it, so a
//! few samples may get lost then. It is a metric, not an account.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The length of a window; two are read together.
const WINDOW: Duration = Duration::from_secs(60);

/// A power of two is cut into so many buckets: values are wrong by an eighth at most.
const PARTS_LOG2: u32 = 3;
const PARTS: usize = 1 << PARTS_LOG2;

/// Up to 2³² microseconds, more than an hour; what is longer counts as that.
const BUCKETS: usize = (32 - PARTS_LOG2 as usize + 1) * PARTS;

/// What [`Times::percentiles`] are: per mille.
const SHARES: [u64; 6] = [500, 750, 950, 980, 990, 999];

/// What is known of how long something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How often it happened since the start.
    pub count: u64,
    /// Microseconds, of the last minutes: on average.
    pub mean: u64,
    /// The longest of them.
    pub max: u64,
    /// So long at most took 50, 75, 95, 98, 99 and 99.9 percent.
    pub percentiles: [u64; 6],
}

/// Measures one kind of thing.
pub(crate) struct Timer {
    count: AtomicU64,
    windows: [Window; 2],
}

struct Window {
    /// Which minute it is of.
    minute: AtomicU64,
    sum: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Timer {
    fn default() -> Self {
        let window = || Window {
            minute: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        };
        Self { count: AtomicU64::new(0), windows: [window(), window()] }
    }
}

impl Timer {
    /// It took so long, and ended at `now` of one clock.
    pub(crate) fn record(&self, took: Duration, now: Duration) {
        self.count.fetch_add(1, Relaxed);
        let minute = minute(now);
        let window = &self.windows[(minute % 2) as usize];
        let of = window.minute.load(Relaxed);
        if of != minute && window.minute.compare_exchange(of, minute, Relaxed, Relaxed).is_ok() {
            window.clear();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        window.sum.fetch_add(micros, Relaxed);
        window.max.fetch_max(micros, Relaxed);
        window.buckets[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// What is known at `now`.
    pub(crate) fn times(&self, now: Duration) -> Times {
        let recent = |window: &&Window| window.minute.load(Relaxed) + 1 >= minute(now);
        let windows: Vec<&Window> = self.windows.iter().filter(recent).collect();
        let mut counts = [0_u64; BUCKETS];
        for window in &windows {
            for (count, bucket) in counts.iter_mut().zip(&window.buckets) {
                *count += bucket.load(Relaxed);
            }
        }
        let total: u64 = counts.iter().sum();
        let sum: u64 = windows.iter().map(|window| window.sum.load(Relaxed)).sum();
        let max = windows.iter().map(|window| window.max.load(Relaxed)).max().unwrap_or(0);
        Times {
            count: self.count.load(Relaxed),
            mean: sum.checked_div(total).unwrap_or(0),
            max,
            percentiles: SHARES.map(|share| percentile(&counts, total, share).min(max)),
        }
    }
}

impl Window {
    fn clear(&self) {
        self.sum.store(0, Relaxed);
        self.max.store(0, Relaxed);
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }
}

fn minute(now: Duration) -> u64 {
    // Never 0: what was never written is of no minute.
    now.as_secs() / WINDOW.as_secs() + 2
}

fn bucket(micros: u64) -> usize {
    if micros < PARTS as u64 {
        return micros as usize;
    }
    let exponent = micros.ilog2() - PARTS_LOG2;
    let part = (micros >> exponent) as usize - PARTS;
    ((exponent as usize + 1) * PARTS + part).min(BUCKETS - 1)
}

/// The longest time that counts to a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let exponent = bucket / PARTS - 1;
    ((((bucket % PARTS) + PARTS + 1) as u64) << exponent) - 1
}

fn percentile(counts: &[u64], total: u64, share: u64) -> u64 {
    let wanted = (total * share).div_ceil(1000);
    let mut seen = 0;
    for (at, count) in counts.iter().enumerate() {
        seen += count;
        if seen >= wanted && seen > 0 {
            return upper(at);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_belongs_there() {
        let mut last = 0;
        for micros in (0..5_000).chain((12..32).map(|log| (1 << log) + 12_345)) {
            let at = bucket(micros);
            assert!(at == last || micros > 5_000 || at == last + 1, "{micros}");
            assert!(upper(at) >= micros && upper(at) - micros <= micros / 8, "{micros}");
            last = at;
        }
        assert_eq!(bucket(u64::from(u32::MAX)), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 1), u64::from(u32::MAX));
    }

    #[test]
    fn the_last_minutes_are_told_and_the_count_is_of_all() {
        let (timer, second) = (Timer::default(), Duration::from_secs(1));
        assert_eq!(timer.times(second), Times::default());
        for millis in 1..=100 {
            timer.record(Duration::from_millis(millis), second);
        }
        let times = timer.times(second * 60);
        assert_eq!((times.count, times.mean, times.max), (100, 50_500, 100_000));
        for (share, expected) in [(0, 50_000), (1, 75_000), (2, 95_000), (4, 99_000)] {
            let found = times.percentiles[share];
            assert!((expected..=expected + expected / 8).contains(&found), "{found} {expected}");
        }
        assert_eq!(times.percentiles[5], 100_000, "no more than the longest");
        timer.record(Duration::from_millis(7), second * 130);
        let later = timer.times(second * 130);
        assert_eq!((later.count, later.mean, later.max), (101, 7_000, 7_000), "the first are old");
        let silent = timer.times(second * 300);
        assert_eq!((silent.count, silent.mean, silent.max), (101, 0, 0));
    }
}
