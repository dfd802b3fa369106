//! What has arrived of one mb: per sender and term, because a former owner's frames and its successor's
//! are never put together.

use std::collections::BTreeMap;

use super::message::{Frame, Input, Marker, Receipt};
use crate::id::{SlotId, Term};

/// Terms of one sender that are kept: the latest, and one that may be complete before it.
const TERMS_KEPT: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Arrivals<B>(BTreeMap<SlotId, BTreeMap<Term, Candidate<B>>>);

impl<B> Default for Arrivals<B> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[derive(Clone, Debug)]
struct Candidate<B> {
    frames: BTreeMap<u32, Frame<B>>,
    marker: Option<Marker>,
}

impl<B> Default for Candidate<B> {
    fn default() -> Self {
        Self { frames: BTreeMap::new(), marker: None }
    }
}

impl<B> Candidate<B> {
    fn complete(&self) -> Option<&Marker> {
        let marker = self.marker.as_ref()?;
        let numbered = self.frames.keys().copied().eq(0..marker.frames);
        let rows = self.frames.values().map(|frame| frame.rows).sum::<u64>();
        let sum = self.frames.values().fold(0u64, |sum, frame| sum.wrapping_add(frame.checksum));
        (numbered && rows == marker.rows && sum == marker.checksum).then_some(marker)
    }
}

impl<B> Candidate<B> {
    /// `Damaged`, and empty again, if everything is here and is not what the marker says: what would be
    /// sent again must find its place.
    fn settled(&mut self) -> Receipt {
        let all = |marker: &Marker| self.frames.len() >= marker.frames as usize;
        if self.marker.as_ref().is_none_or(|marker| !all(marker)) || self.complete().is_some() {
            return Receipt::Kept;
        }
        *self = Self::default();
        Receipt::Damaged
    }
}

impl<B> Arrivals<B> {
    pub(super) fn frame(&mut self, frame: Frame<B>) -> Receipt {
        let Some(candidate) = self.candidate(frame.from, frame.term) else {
            return Receipt::OldTerm;
        };
        if candidate.frames.contains_key(&frame.sequence) {
            return Receipt::Double;
        }
        candidate.frames.insert(frame.sequence, frame);
        candidate.settled()
    }

    pub(super) fn marker(&mut self, marker: Marker) -> Receipt {
        let Some(candidate) = self.candidate(marker.from, marker.term) else {
            return Receipt::OldTerm;
        };
        if candidate.marker.is_some() {
            return Receipt::Double;
        }
        candidate.marker = Some(marker);
        candidate.settled()
    }

    /// Where things of a sender and term go; `None` if newer ones make them superfluous.
    fn candidate(&mut self, from: SlotId, term: Term) -> Option<&mut Candidate<B>> {
        let terms = self.0.entry(from).or_default();
        let newer = terms.range(term.next()..);
        if newer.clone().any(|(_, candidate)| candidate.complete().is_some())
            || newer.count() >= TERMS_KEPT
        {
            return None;
        }
        if !terms.contains_key(&term) && terms.len() >= TERMS_KEPT {
            terms.pop_first();
        }
        Some(terms.entry(term).or_default())
    }

    pub(super) fn markers(&self) -> impl Iterator<Item = &Marker> {
        self.0.values().flat_map(BTreeMap::values).filter_map(|candidate| candidate.marker.as_ref())
    }

    /// Drops the senders' terms whose marker is void, with their frames.
    pub(super) fn drop_markers(&mut self, void: impl Fn(&Marker) -> bool) {
        for terms in self.0.values_mut() {
            terms.retain(|_, candidate| !candidate.marker.as_ref().is_some_and(&void));
        }
    }

    /// The marker of a sender of which everything is here; that of its latest term.
    pub(super) fn complete(&self, from: SlotId) -> Option<&Marker> {
        self.0.get(&from)?.values().rev().find_map(Candidate::complete)
    }

    pub(super) fn into_inputs(mut self, upstream: &[SlotId]) -> Vec<Input<B>> {
        let input = |from: &SlotId| {
            let terms = self.0.remove(from)?;
            let mut complete =
                terms.into_values().rev().filter(|candidate| candidate.complete().is_some());
            let Candidate { frames, marker } = complete.next()?;
            let marker = marker?;
            Some(Input {
                from: *from,
                watermark: marker.watermark,
                idle: marker.idle,
                bodies: frames.into_values().map(|frame| frame.body).collect(),
            })
        };
        upstream.iter().filter_map(input).collect()
    }
}
