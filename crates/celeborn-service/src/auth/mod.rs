//! Which application a client is: asked of each connection before anything else, where it is asked. What
//! clients say is in `docs/internals/celeborn.md`, why it is done so in the design note.
//!
//! [`steps`] is what follows what, pure; [`Keyring`] knows what proofs are checked with; [`Caller`] is
//! what comes out of it, for whoever answers requests. `net` holds them together for each connection.

mod caller;
mod itself;
mod keyring;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use caller::{Caller, stranger};
pub(crate) use keyring::{Keyring, Outcome};
pub(crate) use steps::{Stage, proof_in, unasked};
