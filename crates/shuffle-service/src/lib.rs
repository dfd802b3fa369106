//! The server half of the shuffle: stores blocks per partition in memory and on local disks and
//! serves them. Bodies are opaque bytes: nothing here decodes rows or links Arrow.
//!
//! [`ShuffleWorker`] is the store; it implements [`dunlin_proto::shuffle::ShuffleApi`]. [`Door`]
//! serves any such store to other processes. Inside the worker, from the outside in: `worker` (the
//! contract), `registry` (shuffles by id, tombstones), `shuffle` (one shuffle and its gate),
//! `partition` (the index of one partition), `core` (memory budget and flusher), `flush` (writing a
//! file), `read` (block streams), [`disk`] (the seam to files).
//!
//! Locks are taken in this order and never across an await: registry, gate of a shuffle, its table
//! of partitions, one partition.

mod bounded;
mod core;
pub mod disk;
mod door;
mod flush;
mod memory;
mod options;
mod partition;
mod read;
mod registry;
mod shuffle;
mod stats;
mod worker;

pub use door::{Bound, Door, DoorOptions, DoorStats};
pub use options::Options;
pub use stats::Stats;
pub use worker::ShuffleWorker;
