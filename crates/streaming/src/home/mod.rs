//! Where frames for one slot arrive. It puts them together, knows when an mb is sealed, and hands it to
//! the slot to be merged; mbs go out in order, each once. One home per slot and term, in the process of
//! the slot's owner; state in memory only.
//!
//! Frames and markers may be lost, doubled, late, in any order, and from owners of the past.

mod arrivals;
mod message;

use std::collections::{BTreeMap, BTreeSet};

use dunlin_base::{Error, Result};

pub use message::{Ask, Frame, Input, Marker, Receipt, Sealed, checksum};

use self::arrivals::Arrivals;
use crate::cut::{Cut, Cuts, Pins, Standing, Views};
use crate::id::{Mb, SlotId, Term};

/// Mbs beyond the next one that a home keeps arrivals of. What is further is refused, and asked for later.
pub const MBS_AHEAD_MAX: u64 = 64;

/// The home of one slot under one term.
#[derive(Clone, Debug)]
pub struct Home<B> {
    upstream: Vec<SlotId>,
    next: Mb,
    arrived: BTreeMap<Mb, Arrivals<B>>,
    views: Views,
    /// Cuts of mbs that were merged and are not committed.
    merged: BTreeMap<Mb, Cuts>,
    waits_for: Option<SlotId>,
}

impl<B: Clone> Home<B> {
    /// A home that waits for `next` from all of `upstream`. `merged` is what the restored state holds
    /// beyond the last commit, `views` what the store showed of the source slots' owners *after* this
    /// term's claim.
    pub fn new(upstream: Vec<SlotId>, next: Mb, merged: BTreeMap<Mb, Cuts>, views: Views) -> Self {
        Self { upstream, next, arrived: BTreeMap::new(), views, merged, waits_for: None }
    }

    /// The mb that is to be merged next.
    pub fn next(&self) -> Mb {
        self.next
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: Frame<B>) -> Receipt {
        match self.receipt(frame.mb, frame.from) {
            Receipt::Kept => self.arrived.entry(frame.mb).or_default().frame(frame),
            refused => refused,
        }
    }

    /// Takes a marker.
    pub fn marker(&mut self, marker: Marker) -> Receipt {
        match self.receipt(marker.mb, marker.from) {
            Receipt::Kept => self.arrived.entry(marker.mb).or_default().marker(marker),
            refused => refused,
        }
    }

    fn receipt(&self, mb: Mb, from: SlotId) -> Receipt {
        if mb < self.next {
            Receipt::Late
        } else if mb.0 > self.next.0 + MBS_AHEAD_MAX {
            Receipt::Early
        } else if !self.upstream.contains(&from) {
            Receipt::Stranger
        } else {
            Receipt::Kept
        }
    }

    /// The next mb, if it is sealed: all upstream slots on all edges have sent all of it, and its cuts
    /// stand. The caller merges it before it calls anything else here. Void arrivals are dropped on the
    /// way. `Bug` if slots disagree on a cut though all stand.
    pub fn take(&mut self) -> Result<Option<Sealed<B>>> {
        self.waits_for = None;
        let mb = self.next;
        let Some(arrivals) = self.arrived.get_mut(&mb) else { return Ok(None) };
        // Hear of new owners from all markers first: they decide about the other markers.
        for marker in arrivals.markers() {
            for (source, of) in &marker.cuts {
                self.views.heard(*source, of.term);
            }
        }
        let views = &self.views;
        arrivals.drop_markers(|marker| views.judge(mb, &marker.cuts) == Standing::Void);
        let mut cuts = Cuts::new();
        for from in &self.upstream {
            let Some(marker) = arrivals.complete(*from) else { return Ok(None) };
            if let Standing::Unknown(source) = self.views.judge(mb, &marker.cuts) {
                self.waits_for = Some(source);
                return Ok(None);
            }
            unite(mb, &mut cuts, &marker.cuts)?;
        }
        let arrivals = self.arrived.remove(&mb).unwrap_or_default();
        self.merged.insert(mb, cuts.clone());
        self.next = mb.next();
        Ok(Some(Sealed { mb, inputs: arrivals.into_inputs(&self.upstream), cuts }))
    }

    /// What is missing of the next mb, and of those up to the last that anything is here of, `most` of
    /// them: to be asked for, from whoever owns these slots, after a while of nothing new. Nothing for
    /// mbs that are complete here.
    pub fn ask(&self, most: u64) -> Vec<Ask> {
        let seen = self.arrived.keys().next_back().copied().unwrap_or(self.next);
        let last = seen.0.min((self.next.0 + most).saturating_sub(1));
        let mut asks = Vec::new();
        for mb in (self.next.0..=last).map(Mb) {
            let arrivals = self.arrived.get(&mb);
            let missing = |from: &&SlotId| arrivals.is_none_or(|a| a.complete(**from).is_none());
            asks.extend(self.upstream.iter().filter(missing).map(|from| Ask { mb, from: *from }));
        }
        asks
    }

    /// The source slots to poke: they have not cut an mb of which another slot's marker is here.
    pub fn pokes(&self) -> Vec<Ask> {
        let mut pokes = BTreeSet::new();
        for (mb, arrivals) in &self.arrived {
            let there: Vec<SlotId> = arrivals.markers().map(|marker| marker.from).collect();
            if !there.is_empty() {
                let silent = self.upstream.iter().filter(|from| !there.contains(from));
                pokes.extend(silent.map(|from| Ask { mb: *mb, from: *from }));
            }
        }
        pokes.into_iter().collect()
    }

    /// The source slot whose pins the next mb waits for: to be read from its record.
    pub fn waits_for_pins(&self) -> Option<SlotId> {
        self.waits_for
    }

    /// The new owner of a source slot asks which of its cuts were merged here. **A promise**: from the
    /// return on, no other cut of lower terms is merged before the pins are known. `None` if a later owner
    /// was heard of: the one who asks is fenced.
    pub fn promise(&mut self, source: SlotId, term: Term) -> Option<Vec<(Mb, Cut)>> {
        if self.views.term(source).is_some_and(|known| known > term) {
            return None;
        }
        self.views.heard(source, term);
        Some(self.merged_of(source))
    }

    /// The cuts of a source slot that were merged and are not committed.
    pub fn merged_of(&self, source: SlotId) -> Vec<(Mb, Cut)> {
        let of = |(mb, cuts): (&Mb, &Cuts)| Some((*mb, cuts.get(&source)?.cut.clone()));
        self.merged.iter().filter_map(of).collect()
    }

    /// Hears of a source slot's owner, by its record. `Fenced` if what was merged here is not what that
    /// owner keeps to: this home is of the past, nobody asked it, and its slot has another owner.
    pub fn heard(&mut self, source: SlotId, term: Term, pins: Option<&Pins>) -> Result<()> {
        let Some(pins) = pins else {
            self.views.heard(source, term);
            return Ok(());
        };
        if !self.views.pinned(source, term, pins) {
            return Ok(());
        }
        let of_others = |(mb, cuts): (&Mb, &Cuts)| {
            let of = cuts.get(&source).filter(|of| of.term < term && *mb >= pins.first)?;
            (pins.get(*mb) != Some(&of.cut)).then_some(*mb)
        };
        match self.merged.iter().find_map(of_others) {
            None => Ok(()),
            Some(mb) => Err(Error::fenced(format!(
                "micro-batch {mb} was merged from a cut of source slot {source} that is void"
            ))),
        }
    }

    /// The cuts of merged mbs that are not committed.
    pub fn merged(&self) -> &BTreeMap<Mb, Cuts> {
        &self.merged
    }

    /// Everything up to `last` is committed: its cuts need not be known any more.
    pub fn committed(&mut self, last: Mb) {
        self.merged = self.merged.split_off(&last.next());
    }
}

/// Adds the cuts of one marker to those of the others.
fn unite(mb: Mb, all: &mut Cuts, more: &Cuts) -> Result<()> {
    for (source, of) in more {
        let known = all.entry(*source).or_insert_with(|| of.clone());
        if known.cut != of.cut {
            return Err(Error::bug(format!(
                "micro-batch {mb} of source slot {source} has two cuts: {:?} and {:?}",
                known.cut, of.cut
            )));
        }
        known.term = known.term.max(of.term);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
