//! How the new owner of a source slot learns which cuts of its predecessors had effects. Driven by the
//! slot's owner before it sends anything.

use std::collections::BTreeMap;

use dunlin_base::{Error, Result};

use super::{Cut, Pins};
use crate::id::{Mb, SlotId, Term};

/// Asks the homes of all slots that rows of the source can reach. Each answers with the cuts that it has
/// merged, and has promised to merge no other ones of lower terms until it knows the outcome.
///
/// A slot that changes hands is asked again under its new term: its new home has merged nothing, or what
/// its predecessor's part says. What the old home answered stays in: to keep to a cut that has no effect
/// any more is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    first: Mb,
    /// The term under which each home has to answer, and whether it did. `None`: nobody owns the slot.
    homes: BTreeMap<SlotId, (Option<Term>, bool)>,
    found: BTreeMap<Mb, Cut>,
}

impl Gather {
    /// Begins; `first` is the mb after the last commit, `homes` are all slots after the source.
    pub fn new(first: Mb, homes: impl IntoIterator<Item = SlotId>) -> Self {
        let homes = homes.into_iter().map(|slot| (slot, (None, false))).collect();
        Self { first, homes, found: BTreeMap::new() }
    }

    /// Who owns a slot now, as its record says. Lower terms than known are ignored.
    pub fn owner(&mut self, slot: SlotId, term: Term) {
        if let Some(home) = self.homes.get_mut(&slot).filter(|home| home.0 < Some(term)) {
            *home = (Some(term), false);
        }
    }

    /// The homes that have to be asked, again and again until they answer. A slot that nobody owns is not
    /// among them, and is waited for.
    pub fn ask(&self) -> impl Iterator<Item = (SlotId, Term)> {
        self.homes
            .iter()
            .filter(|(_, home)| !home.1)
            .filter_map(|(slot, home)| Some((*slot, home.0?)))
    }

    /// The answer of a home. Of a term that is not asked any more it counts for the cuts only. `Bug` if two
    /// homes have merged different cuts of one mb: nothing that follows could be right.
    pub fn answer(
        &mut self,
        slot: SlotId,
        term: Term,
        merged: impl IntoIterator<Item = (Mb, Cut)>,
    ) -> Result<()> {
        for (mb, cut) in merged {
            if mb < self.first {
                continue;
            }
            let known = self.found.entry(mb).or_insert_with(|| cut.clone());
            if *known != cut {
                return Err(Error::bug(format!(
                    "micro-batch {mb} has two cuts: {known:?} and {cut:?}"
                )));
            }
        }
        if let Some(home) = self.homes.get_mut(&slot).filter(|home| home.0 == Some(term)) {
            home.1 = true;
        }
        Ok(())
    }

    /// The pins, once all have answered: the cuts from the first mb on, up to the first that nobody has
    /// merged. `Bug` if there is one after a gap: homes merge in order.
    pub fn pins(&self) -> Result<Option<Pins>> {
        if self.homes.values().any(|home| !home.1) {
            return Ok(None);
        }
        let cuts: Vec<Cut> =
            (self.first.0..).map_while(|mb| self.found.get(&Mb(mb)).cloned()).collect();
        if cuts.len() < self.found.len() {
            return Err(Error::bug("homes have merged micro-batches with a gap between them"));
        }
        Ok(Some(Pins { first: self.first, cuts }))
    }
}
