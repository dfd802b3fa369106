//! The embedded backend: a durable store for one process, in a directory.
//!
//! [`crate::open`] and the node's all-roles mode call it. The one thing to know: all live state is
//! in memory, and one writer thread makes it durable in groups. It takes every waiting
//! transaction, judges them in order, writes one batch with one sync, and only then shows the
//! result to readers and watchers and answers the callers. So nobody sees what a crash could take
//! back, and eight callers share a sync. Transactions that are lazy by their caller's word wait for
//! no sync, and are done on the caller's thread when the writer is idle.
//!
//! The design, its failure cases and its figures: `design/2026-11-21-metadata-store.md`.

mod disk;
mod group;
mod lease;
mod lock;
mod record;
mod ring;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod watchers;
mod writer;

pub use store::EmbeddedStore;
