//! Session windows of one key: rows less than a gap apart belong together, in whatever order they come.

use std::collections::BTreeMap;

use dunlin_base::{Error, Result};

use super::{Watermark, Window};

/// A session and what was gathered in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session<A> {
    /// From the first row to the gap after the last one.
    pub window: Window,
    /// What the rows came to.
    pub value: A,
}

/// The open sessions of one key, none touching another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions<A> {
    gap: i64,
    /// By start: end and value.
    open: BTreeMap<i64, (i64, A)>,
}

impl<A> Sessions<A> {
    /// No session yet. `Invalid` unless the gap is positive.
    pub fn new(gap_ms: i64) -> Result<Self> {
        if gap_ms <= 0 {
            return Err(Error::invalid(format!("a session gap of {gap_ms} ms is not positive")));
        }
        Ok(Self { gap: gap_ms, open: BTreeMap::new() })
    }

    /// True if a row of this time would be a session of its own that has ended: it is late. A row that
    /// an open session takes is never late.
    pub fn is_late(&self, time_ms: i64, watermark: Watermark) -> bool {
        let end = time_ms.saturating_add(self.gap);
        end <= watermark.0 && self.touching(time_ms, end).next().is_none()
    }

    /// Adds a row, which may join sessions that were apart; values are merged in the order of time.
    /// `Invalid` for a time at the end of the range: a dead letter.
    pub fn add(&mut self, time_ms: i64, value: A, merge: impl Fn(A, A) -> A) -> Result<()> {
        let end = time_ms.checked_add(self.gap).ok_or_else(|| {
            Error::invalid(format!("timestamp {time_ms} ms is too far away for a session"))
        })?;
        let joined: Vec<i64> = self.touching(time_ms, end).collect();
        let mut session = (time_ms, end, value);
        for start in joined {
            let Some((other_end, other)) = self.open.remove(&start) else { continue };
            let (first, second) =
                if start <= session.0 { (other, session.2) } else { (session.2, other) };
            session = (session.0.min(start), session.1.max(other_end), merge(first, second));
        }
        self.open.insert(session.0, (session.1, session.2));
        Ok(())
    }

    /// The sessions that the watermark has passed, in the order of their start. They are gone from here.
    pub fn close(&mut self, watermark: Watermark) -> Vec<Session<A>> {
        let ended: Vec<i64> =
            self.open.iter().filter(|(_, s)| s.0 <= watermark.0).map(|(start, _)| *start).collect();
        let take = |start| {
            let (end, value) = self.open.remove(&start)?;
            Some(Session { window: Window { start, end }, value })
        };
        ended.into_iter().filter_map(take).collect()
    }

    /// True if nothing is open: the key needs no state.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn touching(&self, start: i64, end: i64) -> impl Iterator<Item = i64> {
        let from_before = self.open.range(..end);
        from_before.filter(move |(_, session)| session.0 > start).map(|(start, _)| *start)
    }
}

#[cfg(test)]
mod tests {
    use dunlin_fuzz::Chance;

    use super::*;

    fn shuffle<T>(items: &mut [T], chance: &mut Chance) {
        for last in (1..items.len()).rev() {
            items.swap(last, chance.below(last + 1));
        }
    }

    /// Sessions of rows in the order of time, the simple way.
    fn in_order(times: &[i64], gap: i64) -> Vec<(i64, i64, u32)> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let mut sessions: Vec<(i64, i64, u32)> = Vec::new();
        for time in sorted {
            match sessions.last_mut() {
                Some(session) if time < session.1 => {
                    *session = (session.0, time + gap, session.2 + 1)
                }
                _ => sessions.push((time, time + gap, 1)),
            }
        }
        sessions
    }

    #[test]
    fn trap_07_any_order_of_rows_gives_the_same_sessions() {
        for seed in 0..3000 {
            let mut chance = Chance::new(seed);
            let gap = 1 + chance.below(12) as i64;
            let mut times: Vec<i64> =
                (0..1 + chance.below(20)).map(|_| chance.below(150) as i64 - 75).collect();
            let expected = in_order(&times, gap);
            shuffle(&mut times, &mut chance);
            let mut sessions = Sessions::new(gap).expect("valid");
            for time in &times {
                sessions.add(*time, 1u32, |a, b| a + b).expect("in range");
            }
            let closed = sessions.close(Watermark::MAX).into_iter();
            let closed: Vec<_> = closed.map(|s| (s.window.start, s.window.end, s.value)).collect();
            assert_eq!(closed, expected, "seed {seed}: {times:?} with gap {gap}");
            assert!(sessions.is_empty());
        }
    }

    #[test]
    fn trap_07_a_bridging_row_that_comes_last_joins_two_sessions() {
        let mut sessions = Sessions::new(10).expect("valid");
        let join = |a: String, b: String| a + &b;
        for (time, name) in [(15, "c"), (0, "a")] {
            sessions.add(time, name.to_owned(), join).expect("in range");
        }
        // The first session has ended, the second takes the row in: not late.
        assert!(!sessions.is_late(8, Watermark(10)));
        sessions.add(8, "b".to_owned(), join).expect("in range");
        assert_eq!(sessions.close(Watermark(24)), []);
        let closed = sessions.close(Watermark(25));
        assert_eq!(
            closed,
            [Session { window: Window { start: 0, end: 25 }, value: "abc".to_owned() }]
        );
        assert!(sessions.is_late(8, Watermark(25)));
    }
}
