//! What is late, and the account of all rows.

use std::ops::AddAssign;

use dunlin_base::{Error, Result};

use super::Watermark;

/// How a row comes to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Before the window has fired.
    OnTime,
    /// After it has fired, within the allowed lateness: it fires again.
    Again,
    /// Too late: to be counted, and shown to the side table.
    Late,
}

/// How a row comes to the window that ends at `end_ms`, by the watermark at the *start* of its mb: the
/// watermark after the mb depends on rows that came beside it, and a wall clock on nothing that a
/// replay has.
pub fn timing(end_ms: i64, at_start: Watermark, allowed_ms: i64) -> Timing {
    if end_ms > at_start.0 {
        Timing::OnTime
    } else if end_ms.saturating_add(allowed_ms) > at_start.0 {
        Timing::Again
    } else {
        Timing::Late
    }
}

/// Where the rows went. Each part of a commit has one; over a whole commit it must balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that sources read.
    pub read: u64,
    /// Rows that reached an operator's state or a sink, each once.
    pub used: u64,
    /// Rows that were too late for all their windows.
    pub late: u64,
    /// Rows that a predicate dropped.
    pub filtered: u64,
    /// Rows that could not be read or placed in time.
    pub dead: u64,
    /// Of those read, how many had a time too far ahead to count for the watermark.
    pub ahead: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.used += other.used;
        self.late += other.late;
        self.filtered += other.filtered;
        self.dead += other.dead;
        self.ahead += other.ahead;
    }
}

impl Counts {
    /// The conservation law. `Bug` with the numbers if rows were lost or doubled.
    pub fn balance(&self) -> Result<()> {
        let went = self.used + self.late + self.filtered + self.dead;
        if went == self.read {
            return Ok(());
        }
        Err(Error::bug(format!("{} rows were read and {went} accounted for: {self:?}", self.read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_03_late_is_what_the_watermark_at_the_start_says() {
        assert_eq!(timing(10, Watermark(9), 0), Timing::OnTime);
        assert_eq!(timing(10, Watermark(10), 0), Timing::Late);
        assert_eq!(timing(10, Watermark(12), 3), Timing::Again);
        assert_eq!(timing(10, Watermark(13), 3), Timing::Late);
        assert_eq!(timing(i64::MAX, Watermark(0), i64::MAX), Timing::OnTime);
        assert_eq!(timing(5, Watermark(6), i64::MAX), Timing::Again);
    }

    #[test]
    fn trap_04_a_row_that_nobody_accounts_for_is_a_bug() {
        let mut counts = Counts { read: 5, filtered: 1, ..Counts::default() };
        counts += Counts { used: 2, late: 1, dead: 1, ahead: 1, ..Counts::default() };
        counts.balance().expect("all are accounted for");
        counts.used += 1;
        assert_eq!(counts.balance().expect_err("doubled").kind(), dunlin_base::Kind::Bug);
    }
}
