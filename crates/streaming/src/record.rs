//! The keys of a job's records, and the conditions that each write of one is made under. Whoever writes
//! records takes the conditions from here; a transaction without one of them is a hole in the fence.

use std::fmt;

use dunlin_base::{ProcessId, Revision};

use crate::id::{Epoch, SlotId, Term};

/// A record of a job, below the job's own prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// What the job is.
    Spec,
    /// A group.
    Group(Epoch),
    /// Who owns a slot.
    Slot(SlotId),
    /// What a slot adds to a commit.
    Part(Epoch, SlotId, Term),
    /// A commit.
    Commit(Epoch),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => f.write_str("spec"),
            Self::Group(epoch) => write!(f, "gr/{:010}", epoch.0),
            Self::Slot(slot) => write!(f, "slot/{:05}.{:05}", slot.stage.0, slot.number),
            Self::Part(epoch, slot, term) => {
                write!(f, "part/{:010}/{:05}.{:05}.{term}", epoch.0, slot.stage.0, slot.number)
            }
            Self::Commit(epoch) => write!(f, "co/{:010}", epoch.0),
        }
    }
}

/// A condition of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The record is not there.
    Absent(Key),
    /// It is there.
    Present(Key),
    /// It is there, last written at this revision.
    Unchanged(Key, Revision),
    /// No slot record of the job was written after this revision.
    NoSlotWrittenSince(Revision),
    /// The card of this process is there: it has not been declared dead.
    Alive(ProcessId),
}

/// Of a claim: nobody else has written the record, the claimer lives, and the commit that it begins after
/// is the last one.
pub fn for_claim(
    slot: SlotId,
    seen: Option<Revision>,
    claimer: ProcessId,
    committed: Epoch,
) -> Vec<Condition> {
    let record = match seen {
        Some(revision) => Condition::Unchanged(Key::Slot(slot), revision),
        None => Condition::Absent(Key::Slot(slot)),
    };
    vec![record, Condition::Alive(claimer), Condition::Absent(Key::Commit(committed.next()))]
}

/// Of a write of the slot record by its owner: pins, or a hand-over.
pub fn for_own_slot(slot: SlotId, seen: Revision, owner: ProcessId) -> Vec<Condition> {
    vec![Condition::Unchanged(Key::Slot(slot), seen), Condition::Alive(owner)]
}

/// Of a part: it is written once, and the slot record is the one that gives its writer the group.
pub fn for_part(
    key: (Epoch, SlotId, Term),
    slot_seen: Revision,
    owner: ProcessId,
) -> Vec<Condition> {
    let (epoch, slot, term) = key;
    vec![
        Condition::Absent(Key::Part(epoch, slot, term)),
        Condition::Unchanged(Key::Slot(slot), slot_seen),
        Condition::Alive(owner),
    ]
}

/// Of a group record: the first one is right, and the job is as it was.
pub fn for_group(epoch: Epoch, spec_seen: Revision) -> Vec<Condition> {
    vec![Condition::Absent(Key::Group(epoch)), Condition::Unchanged(Key::Spec, spec_seen)]
}

/// Of a commit: the first one is right, the one before is there, and no slot has changed hands since slots
/// and parts were read.
pub fn for_commit(epoch: Epoch, read_at: Revision) -> Vec<Condition> {
    let mut conditions =
        vec![Condition::Absent(Key::Commit(epoch)), Condition::NoSlotWrittenSince(read_at)];
    if epoch > Epoch(1) {
        conditions.push(Condition::Present(Key::Commit(Epoch(epoch.0 - 1))));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_what_they_name() {
        let slot = SlotId::new(1, 2);
        let ordered = [
            Key::Commit(Epoch(9)),
            Key::Commit(Epoch(10)),
            Key::Group(Epoch(2)),
            Key::Part(Epoch(2), slot, Term(1)),
            Key::Part(Epoch(10), SlotId::new(0, 0), Term(1)),
            Key::Slot(slot),
            Key::Slot(SlotId::new(1, 10)),
            Key::Spec,
        ];
        assert!(ordered.map(|key| key.to_string()).is_sorted());
    }

    #[test]
    fn trap_13_no_write_is_without_its_fence() {
        let (slot, me, seen) = (SlotId::new(0, 0), ProcessId::from_u128(1), Revision(7));
        let claim = for_claim(slot, None, me, Epoch(4));
        assert!(claim.contains(&Condition::Absent(Key::Commit(Epoch(5)))));
        assert!(claim.contains(&Condition::Absent(Key::Slot(slot))));
        let part = for_part((Epoch(5), slot, Term(2)), seen, me);
        assert!(part.contains(&Condition::Unchanged(Key::Slot(slot), seen)));
        assert!(for_commit(Epoch(1), seen).contains(&Condition::NoSlotWrittenSince(seen)));
        assert!(for_commit(Epoch(2), seen).contains(&Condition::Present(Key::Commit(Epoch(1)))));
    }
}
