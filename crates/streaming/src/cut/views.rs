//! What a home knows of the owners of source slots, and so which cuts it may merge.

use std::collections::BTreeMap;

use super::{Cuts, Pins};
use crate::id::{Mb, SlotId, Term};

/// Whether cuts may have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may.
    Stands,
    /// A source slot has an owner whose pins are not known here yet: wait for them.
    Unknown(SlotId),
    /// A former owner's cut that is void: drop it and ask again.
    Void,
}

/// The latest owners of source slots that a home has heard of, with what they keep to.
///
/// Without its pins even the latest owner's own cut does not stand. What it cuts goes on from what it
/// pinned, and a home that has merged something else, because it is of the past itself, must find out
/// before it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views(BTreeMap<SlotId, View>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    term: Term,
    pins: Option<Pins>,
}

impl Views {
    /// Hears of an owner, by its record, its question or a marker that carries its term. From then on
    /// nothing of the source stands until its pins are known.
    pub fn heard(&mut self, source: SlotId, term: Term) {
        let view = self.0.entry(source).or_default();
        if term > view.term {
            *view = View { term, pins: None };
        }
    }

    /// Learns what the owner of a term keeps to. True if that was news: of an older term than known, or a
    /// second time, it says nothing.
    pub fn pinned(&mut self, source: SlotId, term: Term, pins: &Pins) -> bool {
        self.heard(source, term);
        let view = self.0.get_mut(&source).filter(|view| view.term == term && view.pins.is_none());
        let news = view.is_some();
        if let Some(view) = view {
            view.pins = Some(pins.clone());
        }
        news
    }

    /// The latest term that was heard of.
    pub fn term(&self, source: SlotId) -> Option<Term> {
        self.0.get(&source).map(|view| view.term)
    }

    /// Judges the cuts of an mb.
    pub fn judge(&self, mb: Mb, cuts: &Cuts) -> Standing {
        let mut standing = Standing::Stands;
        for (source, of) in cuts {
            let view = self.0.get(source).filter(|view| view.term >= of.term);
            let Some((view, pins)) = view.and_then(|view| Some((view, view.pins.as_ref()?))) else {
                standing = Standing::Unknown(*source);
                continue;
            };
            match pins.get(mb) {
                Some(cut) if *cut == of.cut => {}
                None if of.term == view.term => {}
                _ => return Standing::Void,
            }
        }
        standing
    }
}
