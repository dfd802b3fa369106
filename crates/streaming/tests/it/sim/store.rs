//! The store: linearizable records under conditions, and a check of its own on every write.

use std::collections::BTreeMap;

use dunlin_base::{ProcessId, Revision};
use dunlin_streaming::commit::{Commit, Part};
use dunlin_streaming::group::Group;
use dunlin_streaming::id::{Epoch, SlotId, Term};
use dunlin_streaming::record::{Condition, Key};
use dunlin_streaming::slot::SlotRecord;

use super::wire::Write;

/// An executor's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) cores: u32,
    pub(super) draining: bool,
}

/// Everything at one revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) revision: i64,
    pub(super) groups: BTreeMap<Epoch, Group>,
    pub(super) slots: BTreeMap<SlotId, (Revision, SlotRecord)>,
    pub(super) parts: BTreeMap<(Epoch, SlotId, Term), Part>,
    pub(super) commits: BTreeMap<Epoch, Commit>,
    pub(super) cards: BTreeMap<ProcessId, Card>,
}

impl Records {
    pub(super) fn committed(&self) -> Epoch {
        self.commits.keys().next_back().copied().unwrap_or(Epoch(0))
    }

    pub(super) fn record(&self, slot: SlotId) -> Option<&SlotRecord> {
        self.slots.get(&slot).map(|(_, record)| record)
    }

    fn has(&self, key: &Key) -> bool {
        match key {
            Key::Spec => true,
            Key::Group(epoch) => self.groups.contains_key(epoch),
            Key::Slot(slot) => self.slots.contains_key(slot),
            Key::Part(epoch, slot, term) => self.parts.contains_key(&(*epoch, *slot, *term)),
            Key::Commit(epoch) => self.commits.contains_key(epoch),
        }
    }

    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Absent(key) => !self.has(key),
            Condition::Present(key) | Condition::Unchanged(key @ Key::Spec, _) => self.has(key),
            Condition::Unchanged(Key::Slot(slot), revision) => {
                self.slots.get(slot).is_some_and(|(written, _)| written == revision)
            }
            Condition::Unchanged(key, _) => panic!("nothing compares {key}"),
            Condition::NoSlotWrittenSince(revision) => {
                self.slots.values().all(|(written, _)| written <= revision)
            }
            Condition::Alive(executor) => self.cards.contains_key(executor),
        }
    }
}

/// The records, and what is wrong with how they came to be.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) records: std::rc::Rc<Records>,
    highest: BTreeMap<SlotId, Term>,
    pub(super) complaints: Vec<String>,
}

impl Store {
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Records)) {
        let records = std::rc::Rc::make_mut(&mut self.records);
        records.revision += 1;
        change(records);
    }

    /// Writes if all conditions hold.
    pub(super) fn write(&mut self, conditions: &[Condition], write: Write) -> bool {
        if !conditions.iter().all(|condition| self.records.holds(condition)) {
            return false;
        }
        self.check(&write);
        self.change(|records| match write {
            Write::Group(group) => {
                records.groups.insert(group.epoch, group);
            }
            Write::Slot(slot, record) => {
                records.slots.insert(slot, (Revision(records.revision), record));
            }
            Write::Part(part) => {
                records.parts.insert((part.epoch, part.slot, part.term), part);
            }
            Write::Commit(commit) => {
                records.commits.insert(commit.epoch, commit);
            }
        });
        true
    }

    /// T1 to T4, from the records alone.
    fn check(&mut self, write: &Write) {
        let committed = self.records.committed();
        match write {
            Write::Slot(slot, record) => {
                let old = self.records.record(*slot);
                if let Err(error) = SlotRecord::check(old, record, committed) {
                    self.complaints.push(format!("slot {slot}: {error}"));
                }
                let highest = self.highest.entry(*slot).or_default();
                if old.is_none() && record.latest().term <= *highest {
                    self.complaints.push(format!("T1: slot {slot} has a term for the second time"));
                }
                *highest = record.latest().term.max(*highest);
            }
            Write::Commit(commit) => {
                if commit.epoch != committed.next() {
                    self.complaints.push(format!("T3: {} after {committed}", commit.epoch));
                }
                for (slot, term) in &commit.parts {
                    let covering =
                        self.records.record(*slot).and_then(|r| r.covering(commit.epoch));
                    let there = self.records.parts.contains_key(&(commit.epoch, *slot, *term));
                    if !there || covering.is_none_or(|holding| holding.term != *term) {
                        self.complaints.push(format!("T2: {slot}.{term} in {}", commit.epoch));
                    }
                }
            }
            Write::Group(_) | Write::Part(_) => {}
        }
    }
}
