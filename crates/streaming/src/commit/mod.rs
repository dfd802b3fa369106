//! What counts: the parts of a group, its commit, and what may be removed.
//!
//! A commit is one record, created if absent. Whoever has seen all parts writes it; the transaction says
//! that no slot record was written since they were read, so no part in it is of an owner that has lost its
//! slot.

mod garbage;

use std::collections::BTreeMap;

use dunlin_base::{Error, Result};

pub use garbage::{Removal, Retained, StoredFile, collect};

use crate::group::Job;
use crate::id::{Epoch, SlotId, Term};
use crate::slot::SlotRecord;
use crate::time::{Counts, Watermark};

/// What one slot adds to the commit of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which group.
    pub epoch: Epoch,
    /// Which slot.
    pub slot: SlotId,
    /// The owner's term. In the key, too: two owners never write one part.
    pub term: Term,
    /// [`crate::cut::fingerprints`] of the group's mbs, as this slot ran them.
    pub cuts: BTreeMap<SlotId, u64>,
    /// Rows of this group.
    pub counts: Counts,
    /// The slot's watermark after the group.
    pub watermark: Watermark,
    /// Immutable files: state, and staged output.
    pub files: Vec<String>,
}

/// A group that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Which.
    pub epoch: Epoch,
    /// The term of the part of each slot.
    pub parts: BTreeMap<SlotId, Term>,
    /// What all parts say the cuts were.
    pub cuts: BTreeMap<SlotId, u64>,
    /// Rows of the group, all slots together.
    pub counts: Counts,
    /// Files of all parts, in the order of slots.
    pub files: Vec<String>,
}

/// Whether the next group can be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// These slots have no part that counts.
    Waits(Vec<SlotId>),
    /// Write this.
    Commit(Commit),
}

/// Judges the group after `committed`, from slot records and parts that were read at one revision. A part
/// counts only if its term is that of the holding which does the group [T2].
///
/// `Bug` if the parts are of different cuts [T3], or rows are not accounted for [T8]: an error instead of
/// a wrong result, and the job fails with it.
pub fn ready<'a>(
    job: &Job,
    committed: Epoch,
    slots: &BTreeMap<SlotId, SlotRecord>,
    parts: impl IntoIterator<Item = &'a Part>,
) -> Result<Ready> {
    let epoch = committed.next();
    let counts = |part: &&Part| {
        let holding = slots.get(&part.slot).and_then(|record| record.covering(epoch));
        part.epoch == epoch && holding.is_some_and(|holding| holding.term == part.term)
    };
    let found: BTreeMap<SlotId, &Part> =
        parts.into_iter().filter(counts).map(|part| (part.slot, part)).collect();
    let missing: Vec<SlotId> = job.slots().filter(|slot| !found.contains_key(slot)).collect();
    if !missing.is_empty() {
        return Ok(Ready::Waits(missing));
    }
    let mut all = Counts::default();
    let mut cuts = BTreeMap::new();
    for part in found.values() {
        all += part.counts;
        for (source, print) in &part.cuts {
            if cuts.entry(*source).or_insert(*print) != print {
                return Err(Error::bug(format!(
                    "T3: slots {source} and {} ran other cuts in group {epoch}",
                    part.slot
                )));
            }
        }
    }
    all.balance().map_err(|error| error.context(format!("T8: group {epoch}")))?;
    Ok(Ready::Commit(Commit {
        epoch,
        parts: found.iter().map(|(slot, part)| (*slot, part.term)).collect(),
        cuts,
        counts: all,
        files: found.values().flat_map(|part| part.files.iter().cloned()).collect(),
    }))
}

#[cfg(test)]
mod tests;
