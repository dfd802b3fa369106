//! Cuts: what a source slot put into a micro-batch, when it cuts, and which cuts stand after its owner has
//! changed.
//!
//! The rule that makes replay exact without a log: for each source slot and mb, all effects are of one
//! cut. An effect is a merge into a slot's state; what merely arrived somewhere had none.

mod gather;
mod tick;
mod views;

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3Default;

pub use gather::Gather;
pub use tick::{Due, SourceLoad, TickPolicy, due, join_in};
pub use views::{Standing, Views};

use crate::id::{Mb, SlotId, SplitId, Term};

/// Offsets of one split, `from` included, `to` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitRange {
    /// The split.
    pub split: SplitId,
    /// First offset.
    pub from: u64,
    /// The offset after the last one.
    pub to: u64,
    /// The split ends with this range.
    pub ends: bool,
}

/// All that a source slot decided for one mb by what it saw or by its clock. Running it again gives the
/// same rows and says the same of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The wall clock, in milliseconds since 1970: processing time and `now()` of the mb.
    pub at_ms: u64,
    /// What was read, in the order of splits. An empty mb names its splits with empty ranges.
    pub ranges: Vec<SplitRange>,
}

/// A cut as markers carry it, with the term of the owner that ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCut {
    /// Of the source slot's owner.
    pub term: Term,
    /// The cut.
    pub cut: Cut,
}

/// The cuts that an mb of some slot is made of, by source slot, through all stages before it.
pub type Cuts = BTreeMap<SlotId, SourceCut>;

/// The cuts of a source slot, of mbs without a gap, that its latest owner has to keep to. All earlier
/// owners' other cuts are void.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The first mb: the one after the last commit.
    pub first: Mb,
    /// The cuts of it and of those after it.
    pub cuts: Vec<Cut>,
}

impl Pins {
    /// The cut of an mb, if it is pinned.
    pub fn get(&self, mb: Mb) -> Option<&Cut> {
        self.cuts.get(usize::try_from(mb.0.checked_sub(self.first.0)?).ok()?)
    }

    /// The first mb that may be cut afresh.
    pub fn end(&self) -> Mb {
        Mb(self.first.0 + self.cuts.len() as u64)
    }
}

/// For each source slot a hash of its cuts in a group's mbs, whoever ran them: what all parts of a commit
/// must agree on. A source slot knows its own ones only.
pub fn fingerprints<'a>(mbs: impl IntoIterator<Item = (Mb, &'a Cuts)>) -> BTreeMap<SlotId, u64> {
    let mut hashes: BTreeMap<SlotId, Xxh3Default> = BTreeMap::new();
    for (mb, cuts) in mbs {
        for (slot, SourceCut { cut, .. }) in cuts {
            let hash = hashes.entry(*slot).or_default();
            let mut number = |value: u64| hash.update(&value.to_le_bytes());
            number(mb.0);
            number(cut.at_ms);
            number(cut.ranges.len() as u64);
            for range in &cut.ranges {
                number((u64::from(range.split.0) << 1) | u64::from(range.ends));
                number(range.from);
                number(range.to);
            }
        }
    }
    hashes.into_iter().map(|(slot, hash)| (slot, hash.digest())).collect()
}

#[cfg(test)]
mod tests;
