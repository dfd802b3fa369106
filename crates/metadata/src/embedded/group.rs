//! What a group of transactions does to the state: pure, called by the writer thread.
//!
//! A group is an overlay on the published entries. Later transactions of the group see earlier
//! ones; nobody else does until the writer has synced and published the result.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_base::{Error, LeaseId, Result, Revision};

use crate::store::{Compare, Entry, Event, Key, Op, Txn, TxnOutcome};

/// Which keys die with which lease. Kept by the writer alone, at judging time: the writer never
/// takes a judgement back (a failed sync ends the store), so the index may run ahead of what is
/// published.
#[derive(Debug, Default)]
pub(super) struct LeaseIndex(HashMap<LeaseId, BTreeSet<Key>>);

impl LeaseIndex {
    /// Of keys that are there at the beginning.
    pub(super) fn of(entries: &BTreeMap<Key, Entry>) -> Self {
        let mut index = Self::default();
        for (key, entry) in entries {
            index.replace(key, None, entry.lease);
        }
        index
    }

    fn replace(&mut self, key: &Key, old: Option<LeaseId>, new: Option<LeaseId>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && let Some(keys) = self.0.get_mut(&old)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&old);
            }
        }
        if let Some(new) = new {
            self.0.entry(new).or_default().insert(key.clone());
        }
    }
}

/// What a group changed: written as one batch, then published.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// The last state of every changed key; `None` is deleted.
    pub(super) entries: BTreeMap<Key, Option<Entry>>,
    /// The revision of the last transaction.
    pub(super) revision: Revision,
    /// The events of each transaction, in revision order without gaps, up to `revision`.
    pub(super) events: Vec<Vec<Event>>,
}

/// The overlay.
pub(super) struct Group<'a> {
    base: &'a BTreeMap<Key, Entry>,
    index: &'a mut LeaseIndex,
    changes: Changes,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        base: &'a BTreeMap<Key, Entry>,
        revision: Revision,
        index: &'a mut LeaseIndex,
    ) -> Self {
        Self { base, index, changes: Changes { revision, ..Changes::default() } }
    }

    /// Judges a transaction and applies it to the overlay. `live` tells which leases live. An
    /// error or a conflict has changed nothing.
    pub(super) fn txn(&mut self, txn: &Txn, live: impl Fn(LeaseId) -> bool) -> Result<TxnOutcome> {
        if !txn.compares.iter().all(|compare| self.holds(compare)) {
            let current = txn.compares.iter().map(|c| self.get(c.key()).cloned()).collect();
            return Ok(TxnOutcome::Conflict(current));
        }
        for op in &txn.ops {
            if let Op::Put(key, _, Some(lease)) = op
                && !live(*lease)
            {
                return Err(Error::fenced(format!("lease {lease} of key '{key}' has ended")));
            }
        }
        let revision = Revision(self.changes.revision.0 + 1);
        let mut events = Vec::with_capacity(txn.ops.len());
        for op in &txn.ops {
            self.apply(op, revision, &mut events);
        }
        self.close_txn(revision, events);
        Ok(TxnOutcome::Committed(self.changes.revision))
    }

    /// Deletes the keys of ended leases, each lease in a transaction of its own.
    pub(super) fn end_leases(&mut self, leases: &[LeaseId]) {
        for lease in leases {
            let keys = self.index.0.get(lease).cloned().unwrap_or_default();
            let revision = Revision(self.changes.revision.0 + 1);
            let mut events = Vec::with_capacity(keys.len());
            for key in keys {
                self.delete(key, revision, &mut events);
            }
            self.close_txn(revision, events);
        }
    }

    /// What the group changed.
    pub(super) fn finish(self) -> Changes {
        self.changes
    }

    fn close_txn(&mut self, revision: Revision, events: Vec<Event>) {
        if !events.is_empty() {
            self.changes.revision = revision;
            self.changes.events.push(events);
        }
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        match self.changes.entries.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.base.get(key),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.get(compare.key());
        match compare {
            Compare::Absent(_) => entry.is_none(),
            Compare::Present(_) => entry.is_some(),
            Compare::Modified(_, revision) => entry.is_some_and(|e| e.modified == *revision),
            Compare::Created(_, revision) => entry.is_some_and(|e| e.created == *revision),
            Compare::Unwritten(prefix, revision) => {
                let mut entries = self.keys(prefix).into_iter();
                entries.all(|key| self.get(&key).is_none_or(|e| e.modified <= *revision))
            }
        }
    }

    fn apply(&mut self, op: &Op, revision: Revision, events: &mut Vec<Event>) {
        match op {
            Op::Put(key, value, lease) => {
                let old = self.get(key);
                let created = old.map_or(revision, |e| e.created);
                let old_lease = old.and_then(|e| e.lease);
                self.index.replace(key, old_lease, *lease);
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    created,
                    modified: revision,
                    lease: *lease,
                };
                events.push(Event::Put(entry.clone()));
                self.changes.entries.insert(key.clone(), Some(entry));
            }
            Op::Delete(key) => self.delete(key.clone(), revision, events),
            Op::DeletePrefix(prefix) => {
                for key in self.keys(prefix) {
                    self.delete(key, revision, events);
                }
            }
        }
    }

    fn delete(&mut self, key: Key, revision: Revision, events: &mut Vec<Event>) {
        let Some(old) = self.get(&key) else { return };
        let old_lease = old.lease;
        self.index.replace(&key, old_lease, None);
        events.push(Event::Delete(key.clone(), revision));
        self.changes.entries.insert(key, None);
    }

    /// All keys that begin with `prefix`, as the group sees them, in order.
    fn keys(&self, prefix: &str) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> =
            prefix_range(self.base, prefix).map(|(k, _)| k.clone()).collect();
        for (key, changed) in prefix_range(&self.changes.entries, prefix) {
            match changed {
                Some(_) => keys.insert(key.clone()),
                None => keys.remove(key),
            };
        }
        keys
    }
}

/// The part of an ordered map whose keys begin with `prefix`.
pub(super) fn prefix_range<'m, V>(
    map: &'m BTreeMap<Key, V>,
    prefix: &'m str,
) -> impl Iterator<Item = (&'m Key, &'m V)> {
    use std::ops::Bound;
    map.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(key: &str, value: &'static str) -> Op {
        Op::Put(key.into(), Bytes::from_static(value.as_bytes()), None)
    }

    fn run(group: &mut Group<'_>, compares: Vec<Compare>, ops: Vec<Op>) -> TxnOutcome {
        group.txn(&Txn { compares, ops, ..Txn::default() }, |_| true).expect("no dead lease")
    }

    #[test]
    fn a_group_sees_its_own_earlier_transactions() {
        let (base, mut index) = (BTreeMap::new(), LeaseIndex::default());
        let mut group = Group::new(&base, Revision(7), &mut index);
        let first = run(&mut group, vec![Compare::Absent("a".into())], vec![put("a", "1")]);
        assert_eq!(first, TxnOutcome::Committed(Revision(8)));
        let lost = run(&mut group, vec![Compare::Absent("a".into())], vec![put("a", "2")]);
        assert!(
            matches!(lost, TxnOutcome::Conflict(e) if e[0].as_ref().is_some_and(|e| e.modified == Revision(8)))
        );
        let swap = vec![Op::DeletePrefix("a".into()), put("b", "1")];
        assert_eq!(run(&mut group, vec![], swap), TxnOutcome::Committed(Revision(9)));
        let nothing = run(&mut group, vec![], vec![Op::Delete("a".into())]);
        assert_eq!(nothing, TxnOutcome::Committed(Revision(9)));
        let changes = group.finish();
        assert_eq!(changes.revision, Revision(9));
        assert_eq!(changes.entries["a"], None);
        assert_eq!(changes.events.len(), 2);
    }

    #[test]
    fn a_key_moves_between_leases_and_dies_with_the_last() {
        let (base, mut index) = (BTreeMap::new(), LeaseIndex::default());
        let mut group = Group::new(&base, Revision(0), &mut index);
        let bind = |lease| Op::Put("a".into(), Bytes::new(), Some(LeaseId(lease)));
        run(&mut group, vec![], vec![bind(1)]);
        run(&mut group, vec![], vec![bind(2)]);
        group.end_leases(&[LeaseId(1)]);
        assert_eq!(group.changes.revision, Revision(2), "lease 1 holds nothing any more");
        group.end_leases(&[LeaseId(2)]);
        assert_eq!(group.finish().entries["a"], None);
        assert!(index.0.is_empty());
    }
}
