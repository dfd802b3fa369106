//! The keys, leases and recent changes of a simulated store: plain values, given the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Error, LeaseId, Result, Revision};
use tokio::sync::Notify;

use crate::store::{Compare, Entry, Event, Key, Lease, Op, Snapshot, Txn, TxnOutcome};

/// Transactions kept for watches that lag or start in the past. Beyond, they are told to resync.
const LOG_TXNS_MAX: usize = 4096;

/// Bytes of values kept in the same log.
const LOG_BYTES_MAX: usize = 8 << 20;

type Observer = Box<dyn Fn(Revision, &[Event]) + Send + Sync>;

pub(super) struct State {
    entries: BTreeMap<Key, Entry>,
    revision: i64,
    leases: BTreeMap<i64, LeaseState>,
    lease_next: i64,
    late: Vec<(Duration, Txn)>,
    /// Nothing falls due before this time: spares the search on every call.
    due: Duration,
    log: VecDeque<Arc<[Event]>>,
    log_bytes: usize,
    /// Revision of the first transaction in the log; they follow without gaps.
    log_first: i64,
    watchers: BTreeMap<u64, (String, Arc<Notify>)>,
    watcher_next: u64,
    observer: Option<Observer>,
}

struct LeaseState {
    ttl: Duration,
    ends: Duration,
    keys: BTreeSet<Key>,
}

/// What a watch finds at its cursor.
pub(super) enum Found {
    Events(Vec<Event>),
    Lagged,
    /// Nothing yet; look again when notified, or when this time comes.
    Nothing(Duration),
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            revision: 1,
            leases: BTreeMap::new(),
            lease_next: 1,
            late: Vec::new(),
            due: Duration::MAX,
            log: VecDeque::new(),
            log_bytes: 0,
            log_first: 2,
            watchers: BTreeMap::new(),
            watcher_next: 0,
            observer: None,
        }
    }

    pub(super) fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(super) fn range(&self, prefix: &str) -> Snapshot {
        let entries = self
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry.clone())
            .collect();
        Snapshot { entries, revision: Revision(self.revision) }
    }

    /// Lets everything happen whose time has come, in the order of time.
    pub(super) fn settle(&mut self, now: Duration) {
        while self.due <= now {
            let lease = self.leases.iter().map(|(id, l)| (l.ends, *id)).min();
            let late = (0..self.late.len()).map(|i| (self.late[i].0, i)).min();
            match (lease, late) {
                (Some((ends, id)), _) if ends <= now && late.is_none_or(|(at, _)| ends <= at) => {
                    self.lease_revoke(LeaseId(id));
                }
                (_, Some((at, index))) if at <= now => {
                    let (_, txn) = self.late.remove(index);
                    // Its sender was told that the outcome is unknown: nobody waits for this one.
                    let _ = self.apply(txn);
                }
                _ => self.find_due(),
            }
        }
    }

    fn find_due(&mut self) {
        let leases = self.leases.values().map(|l| l.ends);
        let late = self.late.iter().map(|(at, _)| *at);
        self.due = leases.chain(late).min().unwrap_or(Duration::MAX);
    }

    fn falls_due(&mut self, at: Duration) {
        if at < self.due {
            self.due = at;
            for (_, notify) in self.watchers.values() {
                notify.notify_one();
            }
        }
    }

    pub(super) fn apply_later(&mut self, at: Duration, txn: Txn) -> Result<()> {
        self.late.push((at, txn));
        self.falls_due(at);
        Ok(())
    }

    pub(super) fn apply(&mut self, txn: Txn) -> Result<TxnOutcome> {
        if !txn.compares.iter().all(|c| self.holds(c)) {
            let found = txn.compares.iter().map(|c| self.get(c.key())).collect();
            return Ok(TxnOutcome::Conflict(found));
        }
        for op in &txn.ops {
            if let Op::Put(_, _, Some(lease)) = op
                && !self.leases.contains_key(&lease.0)
            {
                return Err(Error::fenced(format!("lease {lease} has ended")));
            }
        }
        let revision = Revision(self.revision + 1);
        let mut events = Vec::with_capacity(txn.ops.len());
        for op in txn.ops {
            self.apply_op(op, revision, &mut events);
        }
        self.publish(revision, events);
        Ok(TxnOutcome::Committed(Revision(self.revision)))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.entries.get(compare.key());
        match compare {
            Compare::Absent(_) => entry.is_none(),
            Compare::Present(_) => entry.is_some(),
            Compare::Modified(_, at) => entry.is_some_and(|e| e.modified == *at),
            Compare::Created(_, at) => entry.is_some_and(|e| e.created == *at),
            Compare::Unwritten(prefix, at) => {
                let below = self.entries.range(prefix.clone()..);
                let mut below = below.take_while(|(key, _)| key.starts_with(prefix));
                below.all(|(_, e)| e.modified <= *at)
            }
        }
    }

    fn apply_op(&mut self, op: Op, revision: Revision, events: &mut Vec<Event>) {
        match op {
            Op::Put(key, value, lease) => {
                let old = self.entries.get(&key);
                let created = old.map_or(revision, |e| e.created);
                let old_lease = old.and_then(|e| e.lease);
                self.unbind(old_lease, &key);
                if let Some(state) = lease.and_then(|l| self.leases.get_mut(&l.0)) {
                    state.keys.insert(key.clone());
                }
                let entry = Entry { key: key.clone(), value, created, modified: revision, lease };
                self.entries.insert(key, entry.clone());
                events.push(Event::Put(entry));
            }
            Op::Delete(key) => {
                if let Some(entry) = self.entries.remove(&key) {
                    self.unbind(entry.lease, &key);
                    events.push(Event::Delete(key, revision));
                }
            }
            Op::DeletePrefix(prefix) => {
                let keys: Vec<Key> = self
                    .entries
                    .range(prefix.clone()..)
                    .map(|(key, _)| key)
                    .take_while(|key| key.starts_with(&prefix))
                    .cloned()
                    .collect();
                for key in keys {
                    self.apply_op(Op::Delete(key), revision, events);
                }
            }
        }
    }

    fn unbind(&mut self, lease: Option<LeaseId>, key: &str) {
        if let Some(state) = lease.and_then(|l| self.leases.get_mut(&l.0)) {
            state.keys.remove(key);
        }
    }

    /// Makes changes known. A transaction without changes takes no revision.
    fn publish(&mut self, revision: Revision, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        self.revision = revision.0;
        if let Some(observer) = &self.observer {
            observer(revision, &events);
        }
        for (prefix, notify) in self.watchers.values() {
            if events.iter().any(|e| concerns(e, prefix)) {
                notify.notify_one();
            }
        }
        self.log_bytes += bytes_of(&events);
        self.log.push_back(events.into());
        while self.log.len() > LOG_TXNS_MAX || self.log_bytes > LOG_BYTES_MAX {
            let Some(first) = self.log.pop_front() else { break };
            self.log_bytes -= bytes_of(&first);
            self.log_first += 1;
        }
    }

    pub(super) fn lease_grant(&mut self, ttl: Duration, now: Duration) -> Lease {
        let id = self.lease_next;
        self.lease_next += 1;
        self.leases.insert(id, LeaseState { ttl, ends: now + ttl, keys: BTreeSet::new() });
        self.falls_due(now + ttl);
        Lease { id: LeaseId(id), ttl }
    }

    pub(super) fn lease_keep(&mut self, lease: LeaseId, now: Duration) -> Result<()> {
        let state = self.leases.get_mut(&lease.0);
        let state = state.ok_or_else(|| Error::fenced(format!("lease {lease} has ended")))?;
        state.ends = now + state.ttl;
        Ok(())
    }

    pub(super) fn lease_revoke(&mut self, lease: LeaseId) {
        let Some(state) = self.leases.remove(&lease.0) else { return };
        let revision = Revision(self.revision + 1);
        let mut events = Vec::with_capacity(state.keys.len());
        for key in state.keys {
            self.apply_op(Op::Delete(key), revision, &mut events);
        }
        self.publish(revision, events);
    }

    pub(super) fn watcher_add(&mut self, prefix: String) -> (u64, Arc<Notify>) {
        let id = self.watcher_next;
        self.watcher_next += 1;
        let notify = Arc::new(Notify::new());
        self.watchers.insert(id, (prefix, notify.clone()));
        (id, notify)
    }

    pub(super) fn watcher_remove(&mut self, id: u64) {
        self.watchers.remove(&id);
    }

    /// The changes of `prefix` from `cursor` on; moves the cursor behind them.
    pub(super) fn changes(&self, prefix: &str, cursor: &mut i64) -> Found {
        if *cursor < self.log_first && *cursor <= self.revision && self.log_first > 2 {
            *cursor = self.revision + 1;
            return Found::Lagged;
        }
        let skip = usize::try_from(*cursor - self.log_first).unwrap_or(0);
        let events: Vec<Event> = self
            .log
            .iter()
            .skip(skip)
            .flat_map(|events| events.iter())
            .filter(|e| concerns(e, prefix))
            .cloned()
            .collect();
        *cursor = (*cursor).max(self.revision + 1);
        if events.is_empty() { Found::Nothing(self.due) } else { Found::Events(events) }
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision)
    }
}

fn concerns(event: &Event, prefix: &str) -> bool {
    match event {
        Event::Put(entry) => entry.key.starts_with(prefix),
        Event::Delete(key, _) => key.starts_with(prefix),
        Event::Resync(_) => true,
    }
}

fn bytes_of(events: &[Event]) -> usize {
    let bytes = |e: &Event| match e {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        Event::Delete(key, _) => key.len(),
        Event::Resync(_) => 0,
    };
    events.iter().map(bytes).sum()
}
