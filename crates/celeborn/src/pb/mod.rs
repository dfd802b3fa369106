//! The protobuf messages that clients, masters and workers of 0.6 and 0.7 send each other, with the
//! field numbers of those. They have the names of `TransportMessages.proto` there without its
//! prefix `Pb`. Which number a message travels under is in [`message`](crate::message).
//!
//! Not here: what goes between a driver and its executors, and the log of Java masters. They never
//! reach a server of ours. Written as Rust, not generated: a build needs no compiler of protobuf.
//!
//! A field that has no text here says what its name says; ports are those of the worker in question.
//! Maps are ordered, so that a message has one encoding.

mod application;
mod enums;
mod fetch;
mod map_partition;
mod security;
mod shared;
mod slots;
mod worker;

pub use application::*;
pub use enums::*;
pub use fetch::*;
pub use map_partition::*;
pub use security::*;
pub use shared::*;
pub use slots::*;
pub use worker::*;
