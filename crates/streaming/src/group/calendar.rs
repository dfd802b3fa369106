//! Which mbs are which group: from the group records that are known.

use std::collections::BTreeMap;

use super::Group;
use crate::id::{Epoch, Mb};

/// The mbs of known groups. Numbers that no record covers have no meaning yet: nobody may cut them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar(BTreeMap<Epoch, (Mb, Mb)>);

impl Calendar {
    /// Notes a group. Records never change, so noting one twice is once.
    pub fn note(&mut self, group: &Group) {
        let last = Mb(group.first.0 + u64::from(group.count()).max(1) - 1);
        self.0.insert(group.epoch, (group.first, last));
    }

    /// First and last mb of a group.
    pub fn of(&self, epoch: Epoch) -> Option<(Mb, Mb)> {
        self.0.get(&epoch).copied()
    }

    /// The group of an mb.
    pub fn epoch_of(&self, mb: Mb) -> Option<Epoch> {
        let mut groups = self.0.iter().rev();
        groups.find(|(_, (first, last))| *first <= mb && mb <= *last).map(|(epoch, _)| *epoch)
    }

    /// The first mb after a commit: 1 if nothing was committed.
    pub fn after(&self, committed: Epoch) -> Option<Mb> {
        if committed == Epoch(0) {
            Some(Mb(1))
        } else {
            self.of(committed).map(|(_, last)| last.next())
        }
    }
}
