//! The life of a slot's owner, from its claim to its end: facts in, the next step out.
//!
//! Recovery is not a phase: a slot that was restored runs mbs as always, only that their input is there
//! already.

use std::collections::BTreeMap;

use dunlin_base::ProcessId;

use super::OPEN_GROUPS_MAX;
use super::record::{Holding, Kind, SlotRecord};
use crate::group::Calendar;
use crate::id::{Epoch, Mb, Term};

/// What the owner is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Load the state: of the commit, and the parts of these groups by former holders, in this order.
    Restore {
        /// The last commit (0: begin empty).
        commit: Epoch,
        /// Groups whose parts come on top.
        parts: Vec<Epoch>,
    },
    /// Ask all homes what they merged, and write the pins.
    Gather,
    /// Run this mb: a source may cut it, others merge it once it is sealed.
    Run(Mb),
    /// The group's last mb has run: take its part now, before the next mb. Writing it may overlap.
    Part(Epoch),
    /// All parts are written: hand the slot on. Once that was tried ([`Life::handing_over`]) it is the
    /// only step until the record shows an outcome, since a transaction without an answer may still
    /// take effect.
    HandOver {
        /// To whom: to its own owner, under a new term, if who should have it is gone meanwhile.
        to: ProcessId,
        /// From which group on.
        from: Epoch,
    },
    /// Nothing, until the fact comes.
    Wait(WaitsFor),
    /// The slot is another's. Answer for what was sent, until this group is committed.
    Serve(Epoch),
    /// Nothing of this holding is needed any more.
    Done,
    /// Another took the slot: drop everything, and write nothing.
    Stop,
}

/// A fact that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The record of this group.
    Group(Epoch),
    /// The commit of this group: no more may be open.
    Commit(Epoch),
    /// The part of this group is being written, and the slot goes to another after it.
    Part(Epoch),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Restoring,
    Gathering,
    Running,
    HandedOver(Epoch),
    Fenced,
}

/// One owner of one slot under one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    holding: Holding,
    kind: Kind,
    phase: Phase,
    committed: Epoch,
    next: Mb,
    /// A hand-over that was sent to the store.
    handing: bool,
    /// Parts that were taken; true once they are written.
    parts: BTreeMap<Epoch, bool>,
}

impl Life {
    /// A holding that has just been found in its record. `committed` is the last commit, `next` the first
    /// mb of the holding's first group.
    pub fn new(holding: Holding, kind: Kind, committed: Epoch, next: Mb) -> Self {
        let parts = BTreeMap::new();
        Self { holding, kind, phase: Phase::Restoring, committed, next, handing: false, parts }
    }

    /// The fencing number, for everything that is sent or written.
    pub fn term(&self) -> Term {
        self.holding.term
    }

    /// The next mb to run.
    pub fn next_mb(&self) -> Mb {
        self.next
    }

    /// The state is loaded. `gather`: the record shows no pins for this term.
    pub fn restored(&mut self, gather: bool) {
        if self.phase == Phase::Restoring {
            let gathers = gather && self.kind == Kind::Source;
            self.phase = if gathers { Phase::Gathering } else { Phase::Running };
        }
    }

    /// The pins are in the record.
    pub fn gathered(&mut self) {
        if self.phase == Phase::Gathering {
            self.phase = Phase::Running;
        }
    }

    /// An mb has run. Others than the next one are no fact of this life.
    pub fn ran(&mut self, mb: Mb) {
        if self.phase == Phase::Running && mb == self.next {
            self.next = mb.next();
        }
    }

    /// The part of a group was taken from the state.
    pub fn part_taken(&mut self, epoch: Epoch) {
        self.parts.entry(epoch).or_insert(false);
    }

    /// The part of a group is in the store.
    pub fn part_written(&mut self, epoch: Epoch) {
        self.parts.insert(epoch, true);
    }

    /// A hand-over is on its way to the store. From now on nothing runs: what would be cut now were in
    /// nobody's pins.
    pub fn handing_over(&mut self) {
        self.handing = true;
    }

    /// Another begins with this group.
    pub fn handed_over(&mut self, from: Epoch) {
        if self.phase == Phase::Running {
            self.phase = Phase::HandedOver(from);
        }
    }

    /// The slot's record as it is now. A holding that is not there any more was fenced, unless all its
    /// groups are committed.
    pub fn record(&mut self, record: &SlotRecord) {
        let own = record.holding(self.holding.term).filter(|own| *own == self.holding);
        if let Some(next) = record.covering(Epoch(u64::MAX)).filter(|last| *last != self.holding) {
            match (own, self.phase) {
                (Some(_), Phase::Running) => {
                    self.phase = Phase::HandedOver(next.from);
                }
                (None, Phase::HandedOver(from)) if from <= self.committed.next() => {}
                (None, _) => self.phase = Phase::Fenced,
                _ => {}
            }
        }
    }

    /// A commit is there.
    pub fn committed(&mut self, epoch: Epoch) {
        self.committed = self.committed.max(epoch);
        self.parts = self.parts.split_off(&self.committed.next());
    }

    /// What to do next. `placed` says where a group's record wants the slot.
    pub fn step(&self, calendar: &Calendar, placed: impl Fn(Epoch) -> Option<ProcessId>) -> Step {
        match self.phase {
            Phase::Fenced => Step::Stop,
            Phase::Restoring => Step::Restore {
                commit: self.committed,
                parts: (self.committed.next().0..self.holding.from.0).map(Epoch).collect(),
            },
            Phase::Gathering => Step::Gather,
            Phase::HandedOver(from) if from <= self.committed.next() => Step::Done,
            Phase::HandedOver(from) => Step::Serve(Epoch(from.0 - 1)),
            Phase::Running => self.run(calendar, placed),
        }
    }

    fn run(&self, calendar: &Calendar, placed: impl Fn(Epoch) -> Option<ProcessId>) -> Step {
        let ended = self.next.0.checked_sub(1).and_then(|mb| calendar.epoch_of(Mb(mb)));
        let begins = calendar.epoch_of(self.next);
        let at_border = ended.filter(|ended| *ended >= self.holding.from && begins != Some(*ended));
        let open = at_border.filter(|ended| *ended > self.committed);
        if let Some(ended) = open.filter(|ended| !self.parts.contains_key(ended)) {
            return Step::Part(ended);
        }
        let Some(begins) = begins else {
            return Step::Wait(WaitsFor::Group(ended.map_or(self.holding.from, Epoch::next)));
        };
        let to = placed(begins).unwrap_or(self.holding.owner);
        let goes = self.handing || to != self.holding.owner;
        if let Some(ended) = at_border.filter(|_| goes) {
            return match self.parts.iter().find(|(_, written)| !**written) {
                Some((epoch, _)) => Step::Wait(WaitsFor::Part(*epoch)),
                None => Step::HandOver { to, from: ended.next() },
            };
        }
        if begins.0 > self.committed.0 + OPEN_GROUPS_MAX {
            return Step::Wait(WaitsFor::Commit(self.committed.next()));
        }
        Step::Run(self.next)
    }
}
