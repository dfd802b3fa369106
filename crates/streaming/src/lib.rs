//! Streaming: micro-batches in groups, placed ahead, with nobody scheduling. The protocol and why it is
//! so: `design/2026-11-28-streaming.md`.
//!
//! What stands is the pure half: values in, values out, no clock and no I/O. The runtime around it
//! reads clocks, records and frames and does what these functions say.
//!
//! ```text
//!  gr/E ─► source slots cut mb ─► frames, markers ─► home seals ─► slot merges ─► part ─► co/E
//!           ▲      │ dies                               │
//!           └──────┴── gather: asks all homes what they merged, that is pinned ◄──┘
//! ```
//!
//! Read [`id`] for the words, then [`cut`] and [`home`] for what makes replay exact, [`slot`] for who
//! owns what, [`commit`] for what counts.

pub mod commit;
pub mod cut;
pub mod group;
pub mod home;
pub mod id;
pub mod record;
pub mod slot;
pub mod time;
pub mod tuner;
