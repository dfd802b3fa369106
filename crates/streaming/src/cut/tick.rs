//! When a source slot cuts: at once when there is little to do, in larger pieces when there is much.

use std::ops::RangeInclusive;

use crate::id::Mb;

/// Limits of the tick, in microseconds and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickPolicy {
    /// No sooner after the last cut.
    pub min_us: u64,
    /// No later, with rows or without: watermarks and timers move.
    pub max_us: u64,
    /// So many rows are enough.
    pub rows_max: u64,
}

impl Default for TickPolicy {
    fn default() -> Self {
        Self { min_us: 1_000, max_us: 100_000, rows_max: 1 << 20 }
    }
}

/// What a source slot sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLoad {
    /// Since the last cut, in microseconds.
    pub since_us: u64,
    /// The last mb has left the stage.
    pub left: bool,
    /// Rows that wait.
    pub rows: u64,
    /// A home has the mb from another slot and waits for this one.
    pub poked: bool,
    /// Every home that rows go to has room.
    pub credit: bool,
    /// A group record covers the next mb, and no more than two groups are open.
    pub allowed: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Cut.
    Cut,
    /// Look again after so many microseconds, or when something changes.
    In(u64),
    /// Look again when something changes: time alone changes nothing.
    Blocked,
}

/// Whether to cut. A poked slot cuts though it has no credit: its cut may be empty, and the others wait.
pub fn due(policy: &TickPolicy, load: &SourceLoad) -> Due {
    if !load.allowed {
        return Due::Blocked;
    }
    if load.poked {
        return Due::Cut;
    }
    if !load.credit || !load.left {
        return Due::Blocked;
    }
    let enough = load.rows >= policy.rows_max || load.since_us >= policy.max_us;
    if enough || (load.rows > 0 && load.since_us >= policy.min_us) {
        return Due::Cut;
    }
    let wait = if load.rows > 0 { policy.min_us } else { policy.max_us };
    Due::In(wait.saturating_sub(load.since_us).max(1))
}

/// The mbs that a slot cuts when others have come to `seen`: from its next one, up to that or to the last
/// one that is allowed.
pub fn join_in(next: Mb, seen: Mb, allowed: Mb) -> RangeInclusive<u64> {
    next.0..=seen.0.min(allowed.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: SourceLoad =
        SourceLoad { since_us: 0, left: true, rows: 0, poked: false, credit: true, allowed: true };

    #[test]
    fn trap_05_a_row_waits_no_longer_than_the_least_tick() {
        let policy = TickPolicy::default();
        assert_eq!(due(&policy, &SourceLoad { rows: 1, since_us: 1_000, ..IDLE }), Due::Cut);
        assert_eq!(due(&policy, &SourceLoad { rows: 1, since_us: 400, ..IDLE }), Due::In(600));
        assert_eq!(due(&policy, &SourceLoad { rows: 1 << 20, ..IDLE }), Due::Cut);
    }

    #[test]
    fn trap_01_an_idle_source_cuts_empty_mbs_so_that_time_goes_on() {
        let policy = TickPolicy::default();
        assert_eq!(due(&policy, &IDLE), Due::In(100_000));
        assert_eq!(due(&policy, &SourceLoad { since_us: 100_000, ..IDLE }), Due::Cut);
        assert_eq!(due(&policy, &SourceLoad { poked: true, credit: false, ..IDLE }), Due::Cut);
    }

    #[test]
    fn nobody_cuts_beyond_what_is_recorded_or_into_a_home_without_room() {
        let policy = TickPolicy::default();
        let full = SourceLoad { rows: 9, since_us: 1 << 30, ..IDLE };
        assert_eq!(due(&policy, &SourceLoad { allowed: false, poked: true, ..full }), Due::Blocked);
        assert_eq!(due(&policy, &SourceLoad { credit: false, ..full }), Due::Blocked);
        assert_eq!(due(&policy, &SourceLoad { left: false, ..full }), Due::Blocked);
        assert_eq!(join_in(Mb(3), Mb(9), Mb(5)).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(join_in(Mb(6), Mb(5), Mb(9)).is_empty());
    }
}
