//! Watermarks: what a source slot says of its rows, and what a reader makes of all that it is told.

use std::collections::BTreeMap;

use crate::id::SplitId;

/// No row with a time before this is expected any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Nothing is known yet.
    pub const MIN: Self = Self(i64::MIN);
    /// No row comes any more.
    pub const MAX: Self = Self(i64::MAX);
}

/// How a source's watermark follows its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkOptions {
    /// How much older than the newest a row may be, in milliseconds.
    pub delay_ms: i64,
    /// Rows further than this beyond the cut's clock move nothing, in milliseconds: one wrong timestamp
    /// must not make all others late.
    pub ahead_max_ms: i64,
    /// A split without rows for so long holds nothing back, in milliseconds.
    pub idle_after_ms: u64,
}

/// What became of a row's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitTiming {
    /// It counts for the watermark.
    Counts,
    /// It is too far in the future to count. To be counted and shown.
    Ahead,
}

/// The clock of one source slot, over its splits. It is part of the slot's state: a function of the cuts
/// so far, never of a clock of its own, so that a replay says the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceClock {
    options: WatermarkOptions,
    splits: BTreeMap<SplitId, Split>,
    at_ms: u64,
    said: Watermark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Split {
    newest: Option<i64>,
    rows_at_ms: u64,
    ended: bool,
}

impl SourceClock {
    /// Before the first row.
    pub fn new(options: WatermarkOptions) -> Self {
        Self { options, splits: BTreeMap::new(), at_ms: 0, said: Watermark::MIN }
    }

    /// Begins an mb whose cut was made at `at_ms`. A reading below the last one counts as that: clocks
    /// may jump back, cuts may not.
    pub fn begin(&mut self, at_ms: u64) {
        self.at_ms = self.at_ms.max(at_ms);
    }

    /// A split that this slot reads from now on. Known ones stay as they are.
    pub fn split(&mut self, split: SplitId) {
        let fresh = Split { newest: None, rows_at_ms: self.at_ms, ended: false };
        self.splits.entry(split).or_insert(fresh);
    }

    /// The time of a row of a split.
    pub fn row(&mut self, split: SplitId, time_ms: i64) -> SplitTiming {
        self.split(split);
        let Some(entry) = self.splits.get_mut(&split) else { return SplitTiming::Counts };
        entry.rows_at_ms = self.at_ms;
        let now = i64::try_from(self.at_ms).unwrap_or(i64::MAX);
        if time_ms > now.saturating_add(self.options.ahead_max_ms) {
            return SplitTiming::Ahead;
        }
        entry.newest = Some(entry.newest.map_or(time_ms, |newest| newest.max(time_ms)));
        SplitTiming::Counts
    }

    /// The split has no more rows, for ever.
    pub fn end(&mut self, split: SplitId) {
        self.split(split);
        if let Some(entry) = self.splits.get_mut(&split) {
            entry.ended = true;
        }
    }

    /// What the marker of the mb says: the watermark, which never falls, and whether the slot is idle
    /// and holds nobody back. A slot without splits is idle.
    pub fn say(&mut self) -> (Watermark, bool) {
        let ended = !self.splits.is_empty() && self.splits.values().all(|split| split.ended);
        let delay = self.options.delay_ms;
        let active = self.splits.values().filter(|split| !split.ended && !self.is_idle(split));
        let least = active.map(|s| s.newest.map_or(i64::MIN, |n| n.saturating_sub(delay))).min();
        if ended {
            self.said = Watermark::MAX;
        } else if let Some(least) = least {
            self.said = self.said.max(Watermark(least));
        }
        (self.said, !ended && least.is_none())
    }

    fn is_idle(&self, split: &Split) -> bool {
        self.at_ms.saturating_sub(split.rows_at_ms) >= self.options.idle_after_ms
    }
}

/// What a slot knows of time, from the markers of all its inputs. Part of the slot's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merger {
    now: Watermark,
}

impl Default for Merger {
    fn default() -> Self {
        Self { now: Watermark::MIN }
    }
}

impl Merger {
    /// The watermark after the mbs so far: by it the rows of the next mb are late or not.
    pub fn now(&self) -> Watermark {
        self.now
    }

    /// Takes the markers of one mb, of all inputs: (watermark, idle). The least of those that are not
    /// idle; what it was if all are. Never falls, though an input may that was idle.
    pub fn merge(&mut self, inputs: impl IntoIterator<Item = (Watermark, bool)>) -> Watermark {
        let active = inputs.into_iter().filter(|(_, idle)| !idle).map(|(watermark, _)| watermark);
        self.now = self.now.max(active.min().unwrap_or(self.now));
        self.now
    }
}

#[cfg(test)]
mod tests {
    use dunlin_fuzz::Chance;

    use super::*;

    const OPTIONS: WatermarkOptions =
        WatermarkOptions { delay_ms: 5, ahead_max_ms: 100, idle_after_ms: 50 };
    const A: SplitId = SplitId(0);
    const B: SplitId = SplitId(1);

    #[test]
    fn trap_01_a_silent_split_stops_holding_the_watermark() {
        let mut clock = SourceClock::new(OPTIONS);
        clock.begin(1000);
        clock.split(B);
        clock.row(A, 900);
        assert_eq!(clock.say(), (Watermark::MIN, false));
        clock.begin(1049);
        clock.row(A, 950);
        assert_eq!(clock.say(), (Watermark::MIN, false));
        clock.begin(1050);
        clock.row(A, 960);
        assert_eq!(clock.say(), (Watermark(955), false));
        // It comes back with an old row: nothing falls.
        clock.row(B, 100);
        assert_eq!(clock.say(), (Watermark(955), false));
    }

    #[test]
    fn trap_01_idle_inputs_hold_nobody_and_all_idle_stand_still() {
        let mut merger = Merger::default();
        assert_eq!(merger.merge([(Watermark(7), false), (Watermark(3), true)]), Watermark(7));
        assert_eq!(merger.merge([(Watermark(9), true), (Watermark(9), true)]), Watermark(7));
        assert_eq!(merger.merge([(Watermark(9), false), (Watermark(4), false)]), Watermark(7));
        assert_eq!(merger.merge([(Watermark(9), false), (Watermark(8), false)]), Watermark(8));
        assert_eq!(merger.merge([]), Watermark(8));
    }

    #[test]
    fn trap_24_a_timestamp_far_in_the_future_moves_nothing() {
        let mut clock = SourceClock::new(OPTIONS);
        clock.begin(1000);
        assert_eq!(clock.row(A, 990), SplitTiming::Counts);
        assert_eq!(clock.row(A, 1101), SplitTiming::Ahead);
        assert_eq!(clock.row(A, i64::MAX), SplitTiming::Ahead);
        assert_eq!(clock.say(), (Watermark(985), false));
        // The wall clock jumps back by an hour: what was accepted stays accepted.
        clock.begin(10);
        assert_eq!(clock.row(A, 1100), SplitTiming::Counts);
        assert_eq!(clock.say(), (Watermark(1095), false));
        assert_eq!(clock.row(A, i64::MIN), SplitTiming::Counts);
    }

    #[test]
    fn trap_02_no_sequence_of_rows_and_clocks_makes_it_fall() {
        for seed in 0..2000 {
            let mut chance = Chance::new(seed);
            let mut clock = SourceClock::new(OPTIONS);
            let mut merger = Merger::default();
            let mut last = (Watermark::MIN, Watermark::MIN);
            for _ in 0..40 {
                clock.begin(chance.below(3000) as u64);
                for _ in 0..chance.below(4) {
                    let split = SplitId(chance.below(3) as u32);
                    clock.row(split, chance.below(4000) as i64 - 500);
                }
                if chance.once_in(30) {
                    clock.end(SplitId(chance.below(3) as u32));
                }
                // A restore is a copy of the state: it goes on where it was.
                clock = clock.clone();
                let (said, idle) = clock.say();
                let other = Watermark(chance.below(4000) as i64);
                let merged = merger.merge([(said, idle), (other, chance.once_in(2))]);
                assert!(said >= last.0 && merged >= last.1, "seed {seed}");
                last = (said, merged);
            }
        }
    }

    #[test]
    fn a_source_that_has_ended_releases_everything() {
        let mut clock = SourceClock::new(OPTIONS);
        assert_eq!(clock.say(), (Watermark::MIN, true));
        clock.row(A, 1);
        clock.end(A);
        assert_eq!(clock.say(), (Watermark::MAX, false));
    }
}
