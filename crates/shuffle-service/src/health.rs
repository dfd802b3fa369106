//! The health of one disk as a state machine without clock and I/O: errors, probes and measured
//! space go in, and out comes whether new extents may go there. Driven by `disks`.

use std::collections::VecDeque;
use std::time::Duration;

/// So many errors within [`ERROR_WINDOW`] isolate a disk.
const ERRORS_MAX: usize = 3;

/// Errors that are older do not count.
const ERROR_WINDOW: Duration = Duration::from_secs(60);

/// So many good probes in a row bring an isolated disk back.
const GOOD_PROBES: u32 = 3;

/// A disk that had no room is not tried again for this long.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What a disk is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// Takes new data.
    Good,
    /// Has no room: appends and new extents go elsewhere, what is there is read.
    Full,
    /// Fails: as full, and the partitions with their open extent there are sent elsewhere.
    Isolated,
}

/// The health of one disk. Times are those of one monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// When the last errors were, at most [`ERRORS_MAX`].
    errors: VecDeque<Duration>,
    full_until: Option<Duration>,
    below_reserve: bool,
    /// While isolated: good probes in a row.
    isolated: Option<u32>,
}

impl Health {
    /// A write, a sync or a read failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.errors.push_back(now);
        while self.errors.len() > ERRORS_MAX {
            self.errors.pop_front();
        }
        let recent = self.errors.iter().filter(|at| now.saturating_sub(**at) < ERROR_WINDOW);
        if recent.count() >= ERRORS_MAX {
            self.isolate();
        } else if let Some(good) = &mut self.isolated {
            *good = 0;
        }
    }

    /// A write found no room.
    pub(crate) fn ran_full(&mut self, now: Duration) {
        self.full_until = Some(now + FULL_PAUSE);
    }

    /// Something was removed.
    pub(crate) fn has_room(&mut self) {
        self.full_until = None;
    }

    /// The free space was measured.
    pub(crate) fn measured(&mut self, below_reserve: bool) {
        self.below_reserve = below_reserve;
    }

    /// A probe has ended, or is overdue, which is as bad as an error.
    pub(crate) fn probed(&mut self, good: bool) {
        match (&mut self.isolated, good) {
            (_, false) => self.isolate(),
            (None, true) => {}
            (Some(row), true) if *row + 1 < GOOD_PROBES => *row += 1,
            (Some(_), true) => {
                self.isolated = None;
                self.errors.clear();
            }
        }
    }

    fn isolate(&mut self) {
        self.isolated = Some(0);
    }

    pub(crate) fn state(&self, now: Duration) -> DiskState {
        if self.isolated.is_some() {
            DiskState::Isolated
        } else if self.below_reserve || self.full_until.is_some_and(|until| now < until) {
            DiskState::Full
        } else {
            DiskState::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_errors_isolate_only_within_a_minute() {
        let mut health = Health::default();
        for second in [0, 30, 60, 90, 120] {
            health.failed(at(second));
            assert_eq!(health.state(at(second)), DiskState::Good, "at {second} s");
        }
        health.failed(at(121));
        assert_eq!(health.state(at(121)), DiskState::Isolated);
        assert_eq!(health.state(at(10_000)), DiskState::Isolated, "time alone heals nothing");
    }

    #[test]
    fn three_good_probes_in_a_row_bring_it_back() {
        let mut health = Health::default();
        health.probed(true);
        health.probed(false);
        for good in [true, true, false, true, true] {
            health.probed(good);
            assert_eq!(health.state(at(1)), DiskState::Isolated);
        }
        health.failed(at(2));
        for _ in 0..2 {
            health.probed(true);
        }
        assert_eq!(health.state(at(3)), DiskState::Isolated, "an error breaks the row, too");
        health.probed(true);
        assert_eq!(health.state(at(3)), DiskState::Good);
        health.failed(at(4));
        health.failed(at(4));
        assert_eq!(health.state(at(4)), DiskState::Good, "errors of the former life are forgotten");
    }

    #[test]
    fn a_full_disk_is_tried_again_after_a_second_and_isolation_is_worse() {
        let mut health = Health::default();
        health.ran_full(at(5));
        assert_eq!(health.state(at(5)), DiskState::Full);
        assert_eq!(health.state(at(6)), DiskState::Good);
        health.measured(true);
        assert_eq!(health.state(at(60)), DiskState::Full, "until it is measured again");
        health.probed(false);
        assert_eq!(health.state(at(60)), DiskState::Isolated);
        health.measured(false);
        for _ in 0..3 {
            health.probed(true);
        }
        assert_eq!(health.state(at(60)), DiskState::Good);
    }
}
