//! Connections to other processes: the part of the seam that reaches the network.
//!
//! [`Env::connect`](crate::Env::connect) and [`Env::listen`](crate::Env::listen) give streams of
//! bytes, and so do their like for processes of the same machine. [`Reader`] and [`Outbox`] with its [`Writer`] put a bound on every wait for such a
//! stream. What the bytes mean is the caller's business.

mod halves;
mod lanes;
mod machine;
mod outbox;
mod reader;
mod tcp;
#[cfg(test)]
mod tests;
mod writer;

pub use machine::{MachineListener, machine};
pub use outbox::{Outbox, OutboxOptions};
pub use reader::Reader;
pub use tcp::{Duplex, Listener, Stream, split};
pub use writer::{Pieces, Writer};
