//! The record of a slot: which owner does which groups, under which term.

use dunlin_base::{Error, ProcessId, Result};

use crate::cut::Pins;
use crate::id::{Epoch, Mb, Term};

/// Whether a slot reads splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does: a new owner has to gather pins.
    Source,
    /// It reads other slots.
    Keyed,
}

/// The right to do a slot from a group on, until the next holding begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The fencing number.
    pub term: Term,
    /// Who.
    pub owner: ProcessId,
    /// The first group.
    pub from: Epoch,
}

/// The record. It outlives its owners: a term must never come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRecord {
    /// Oldest first; both terms and first groups grow. Never empty.
    holdings: Vec<Holding>,
    /// Of a source slot: what the latest owner keeps to. `None` while it gathers.
    pins: Option<Pins>,
}

impl SlotRecord {
    /// The record after a claim. The claimer begins after the last commit, and all that former owners did
    /// since is void. `first` is the first mb after that commit.
    ///
    /// The transaction must compare the old record, and that no later commit is there: the rings and cuts
    /// that a claimer counts on go with a commit.
    pub fn claimed(
        old: Option<&Self>,
        kind: Kind,
        owner: ProcessId,
        committed: Epoch,
        first: Mb,
    ) -> Self {
        let term = old.map_or(Term(0), |record| record.latest().term).next();
        // Nobody has cut anything before the first owner.
        let pins =
            (kind == Kind::Source && old.is_none()).then(|| Pins { first, cuts: Vec::new() });
        Self { holdings: vec![Holding { term, owner, from: committed.next() }], pins }
    }

    /// The record after its latest owner hands the slot on. `pins` are all cuts that are not committed, of
    /// a source slot. `Bug` if the new owner would not begin later than the old one.
    pub fn handed_over(&self, to: ProcessId, from: Epoch, pins: Option<Pins>) -> Result<Self> {
        let latest = self.latest();
        if from <= latest.from {
            return Err(Error::bug(format!(
                "a slot that is held from group {} on is handed over from group {from} on",
                latest.from
            )));
        }
        let mut holdings = self.holdings.clone();
        holdings.push(Holding { term: latest.term.next(), owner: to, from });
        Ok(Self { holdings, pins })
    }

    /// The record once its latest owner has gathered what it keeps to.
    #[must_use]
    pub fn gathered(&self, pins: Pins) -> Self {
        Self { holdings: self.holdings.clone(), pins: Some(pins) }
    }

    /// The latest holding.
    pub fn latest(&self) -> Holding {
        *self.holdings.last().expect("a slot record has a holding")
    }

    /// What the latest owner of a source slot keeps to.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// The holding that does a group: the latest that begins no later.
    pub fn covering(&self, epoch: Epoch) -> Option<Holding> {
        self.holdings.iter().rev().find(|holding| holding.from <= epoch).copied()
    }

    /// The holding of a term, if it still has one.
    pub fn holding(&self, term: Term) -> Option<Holding> {
        self.holdings.iter().find(|holding| holding.term == term).copied()
    }

    /// The holdings that are needed: they do groups that are not committed, so their owners' rings may be
    /// asked for.
    pub fn needed(&self, committed: Epoch) -> impl Iterator<Item = Holding> {
        let ends = self.holdings.iter().skip(1).map(|holding| Some(holding.from));
        let ends = ends.chain([None]);
        let needed = move |(_, end): &(&Holding, Option<Epoch>)| {
            end.is_none_or(|end| end > committed.next())
        };
        self.holdings.iter().zip(ends).filter(needed).map(|(holding, _)| *holding)
    }

    /// True if the slot may be claimed: the owner of a holding that is needed is gone.
    pub fn is_free(&self, committed: Epoch, gone: impl Fn(ProcessId) -> bool) -> bool {
        self.needed(committed).any(|holding| gone(holding.owner))
    }

    /// The same without holdings that nobody needs any more. Terms stay.
    #[must_use]
    pub fn pruned(&self, committed: Epoch) -> Self {
        Self { holdings: self.needed(committed).collect(), pins: self.pins.clone() }
    }

    /// T1, over a write of the record: terms grow, and nothing is taken from an owner but by a claim of
    /// everything that is not committed.
    pub fn check(old: Option<&Self>, new: &Self, committed: Epoch) -> Result<()> {
        let grows = new.holdings.is_sorted_by(|a, b| a.term < b.term && a.from < b.from);
        let highest = old.map_or(Term(0), |old| old.latest().term);
        let same = old.is_some_and(|old| old.latest() == new.latest());
        let claim = new.holdings.len() == 1 && new.latest().from == committed.next();
        let extends = old.is_some_and(|old| {
            old.needed(committed).all(|holding| new.holdings.contains(&holding))
        });
        let raises = new.latest().term > highest;
        if !new.holdings.is_empty()
            && grows
            && ((raises && (claim || extends)) || (same && extends))
        {
            return Ok(());
        }
        Err(Error::bug(format!("T1: after commit {committed} a slot goes from {old:?} to {new:?}")))
    }
}
