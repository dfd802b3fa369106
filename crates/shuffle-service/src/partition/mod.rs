//! One partition of one shuffle: its blocks, in memory and in extents.
//!
//! Everything here is synchronous and holds one lock for a few instructions; writing an extent
//! happens between [`Partition::begin_flush`] and [`Partition::end_flush`], without the lock.

mod adopting;
mod blocks;
mod bodies;
mod contents;
mod evicting;
mod flushing;
mod index;
mod kept;
mod sums;

pub(crate) use adopting::Adopt;
pub(crate) use evicting::Evicted;
pub(crate) use flushing::{Aim, Landed, Outlook};
pub(crate) use index::{Appended, Key, Located, Partition, Removed};
pub(crate) use kept::{Kept, KeptExtent};
pub(crate) use sums::Sums;
