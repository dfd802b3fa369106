//! Who owns a slot, and what its owner does next.
//!
//! [`SlotRecord`] is what the store has: holdings with terms. [`Life`] is the owner's own state machine:
//! it is told facts and says the next step.

mod life;
mod record;

pub use life::{Life, Step, WaitsFor};
pub use record::{Holding, Kind, SlotRecord};

/// Groups that may be open (begun and not committed) at once: what rings, replay and state kept twice are
/// bounded by.
pub const OPEN_GROUPS_MAX: u64 = 2;

#[cfg(test)]
mod tests;
