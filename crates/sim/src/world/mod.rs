//! A whole cluster in one thread and in virtual time, as a function of a seed.
//!
//! ```text
//! seed ─► setup ─► keepers ─► processes ── links ──► store, blobs, tables, shuffle workers
//!                     ▲           ▲                        │ every change
//!                  strikes     clients ── judge            ▼
//!                                 ▲                     checker ─► complaints, trace
//!                              oracle
//! ```
//!
//! The roles are the product's own: `Executor`, `Gateway`, `ShuffleWorker`, `Queue`, `Planner`, wired
//! as `dunlin_node` wires them. What is not the product's is behind its own contracts: the metadata
//! store is the simulated one with its faults, blobs and tables are in memory, and shuffle workers
//! are reached by `wire` instead of TCP. Every call of a process goes over its `link`, which can
//! be held for a while or cut for ever.
//!
//! The one thing to know: [`simulate`] twice with one seed gives the same trace. Whatever breaks that
//! (a clock, a random number, a thread, the order of a hash map) is a defect.

mod blobs;
mod client;
mod data;
mod lake;
mod link;
mod process;
mod rest;
mod run;
mod setup;
mod store;
mod strikes;
mod tally;
mod weather;
mod wire;

pub use data::Oracle;
pub use run::{Outcome, simulate};
pub use tally::Tally;
