//! What travels between slots.

use xxhash_rust::xxh3::xxh3_64;

use crate::cut::Cuts;
use crate::id::{Mb, SlotId, Term};
use crate::time::Watermark;

/// Some rows of one mb, from one slot to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<B> {
    /// Who sends.
    pub from: SlotId,
    /// The sender's term.
    pub term: Term,
    /// Which mb.
    pub mb: Mb,
    /// From 0, per sender, term, mb and receiver.
    pub sequence: u32,
    /// Rows in the body.
    pub rows: u64,
    /// Of the body, see [`checksum`].
    pub checksum: u64,
    /// The rows; opaque here.
    pub body: B,
}

/// The end of one mb, from one slot to another. It says what must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Who sends.
    pub from: SlotId,
    /// The sender's term.
    pub term: Term,
    /// Which mb.
    pub mb: Mb,
    /// Frames sent to this receiver.
    pub frames: u32,
    /// Their rows.
    pub rows: u64,
    /// Sum of their checksums, wrapping.
    pub checksum: u64,
    /// The sender's watermark after the mb.
    pub watermark: Watermark,
    /// The sender holds nobody back.
    pub idle: bool,
    /// The cuts that the mb is made of, through all stages.
    pub cuts: Cuts,
}

/// The checksum of a body.
pub fn checksum(body: &[u8]) -> u64 {
    xxh3_64(body)
}

/// What a home did with what arrived. All but `Kept` are no reason to send again: the home asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is kept.
    Kept,
    /// It is here already.
    Double,
    /// Its mb was merged.
    Late,
    /// Its mb is too far away.
    Early,
    /// Nothing is expected from this slot.
    Stranger,
    /// A newer owner's is complete.
    OldTerm,
    /// All is here, and it is not what the marker says: dropped.
    Damaged,
}

/// Something of an mb that a home lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// Which mb.
    pub mb: Mb,
    /// From which slot.
    pub from: SlotId,
}

/// What one upstream slot sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input<B> {
    /// The slot.
    pub from: SlotId,
    /// Its watermark after the mb.
    pub watermark: Watermark,
    /// It holds nobody back.
    pub idle: bool,
    /// Its rows, in the order they were sent.
    pub bodies: Vec<B>,
}

/// An mb of which everything is here. Inputs are in the order of slots, whatever the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed<B> {
    /// Which.
    pub mb: Mb,
    /// One per upstream slot.
    pub inputs: Vec<Input<B>>,
    /// The cuts that it is made of.
    pub cuts: Cuts,
}
