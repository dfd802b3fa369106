//! The recent past, for watches: a bounded ring of the events of the last transactions.
//!
//! Watchers keep a cursor and read from the ring; none has a queue of its own, so a slow one costs
//! no memory. One that falls out of the ring is told to read again.

use std::collections::VecDeque;

use dunlin_base::Revision;

use crate::store::Event;

/// Most transactions remembered.
pub(super) const RING_TXNS_MAX: usize = 16 * 1024;

/// Most bytes of keys and values remembered.
pub(super) const RING_LEN_MAX: usize = 32 * 1024 * 1024;

/// Most events handed to a watcher in one batch; a transaction is never cut.
const BATCH_EVENTS: usize = 1024;

/// What a cursor finds.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The cursor's revision is gone.
    Missed,
    /// Events from the cursor on, and where the cursor goes next.
    Events(Vec<Event>, Revision),
}

/// The ring. Revisions in it have no gaps.
#[derive(Debug)]
pub(super) struct Ring {
    /// The revision of the oldest transaction (or of the next one, when empty).
    first: i64,
    txns: VecDeque<(Vec<Event>, usize)>,
    len: usize,
    txns_max: usize,
    len_max: usize,
}

impl Ring {
    /// An empty ring of a store at `revision`.
    pub(super) fn new(revision: Revision, txns_max: usize, len_max: usize) -> Self {
        Self { first: revision.0 + 1, txns: VecDeque::new(), len: 0, txns_max, len_max }
    }

    /// Remembers the events of the next revision.
    pub(super) fn push(&mut self, events: Vec<Event>) {
        let len = events.iter().map(event_len).sum();
        self.len += len;
        self.txns.push_back((events, len));
        while self.txns.len() > self.txns_max || self.len > self.len_max {
            let Some((_, len)) = self.txns.pop_front() else { break };
            self.len -= len;
            self.first += 1;
        }
    }

    /// Events of keys that begin with `prefix`, from revision `from` on.
    pub(super) fn since(&self, prefix: &str, from: Revision) -> Found {
        let Ok(skip) = usize::try_from(from.0 - self.first) else { return Found::Missed };
        let mut events = Vec::new();
        let mut next = from;
        for (txn, _) in self.txns.iter().skip(skip) {
            if events.len() >= BATCH_EVENTS {
                break;
            }
            events.extend(txn.iter().filter(|event| has_prefix(event, prefix)).cloned());
            next.0 += 1;
        }
        Found::Events(events, next)
    }
}

pub(super) fn has_prefix(event: &Event, prefix: &str) -> bool {
    match event {
        Event::Put(entry) => entry.key.starts_with(prefix),
        Event::Delete(key, _) => key.starts_with(prefix),
        Event::Resync(_) => true,
    }
}

fn event_len(event: &Event) -> usize {
    size_of::<Event>()
        + match event {
            Event::Put(entry) => entry.key.len() + entry.value.len(),
            Event::Delete(key, _) => key.len(),
            Event::Resync(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: &str, revision: i64) -> Event {
        Event::Delete(key.into(), Revision(revision))
    }

    #[test]
    fn a_cursor_gets_each_event_once_or_learns_that_it_missed_some() {
        let mut ring = Ring::new(Revision(10), 2, usize::MAX);
        ring.push(vec![delete("a", 11), delete("b", 11)]);
        ring.push(vec![delete("b", 12)]);
        let all = Found::Events(vec![delete("a", 11)], Revision(13));
        assert_eq!(ring.since("a", Revision(11)), all);
        assert_eq!(ring.since("a", Revision(13)), Found::Events(vec![], Revision(13)));
        assert_eq!(ring.since("a", Revision(20)), Found::Events(vec![], Revision(20)));
        assert_eq!(ring.since("a", Revision(10)), Found::Missed);
        ring.push(vec![delete("c", 13)]);
        assert_eq!(ring.since("", Revision(11)), Found::Missed, "pushed out");
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let mut ring = Ring::new(Revision(0), usize::MAX, 10 * 1024);
        for revision in 1..=1000 {
            ring.push(vec![delete(&"k".repeat(100), revision)]);
        }
        assert!(ring.len <= 10 * 1024 && ring.txns.len() < 100, "{}", ring.len);
        assert_eq!(ring.first + ring.txns.len() as i64, 1001);
    }
}
