//! The server half of the shuffle: stores blocks per partition in memory and on local disks and
//! serves them. Bodies are opaque bytes: nothing here decodes rows or links Arrow.
//!
//! [`ShuffleWorker`] is the store; it implements [`dunlin_proto::shuffle::ShuffleApi`]. [`Door`]
//! serves any such store to other processes. Inside the worker, from the outside in: `worker` and
//! `intake` (the contract), `registry` (shuffles by id, tombstones), `shuffle` (one shuffle and its
//! gate), `partition` (the index of one partition), `core` (what all share), `fair` (who is to push more slowly), `pause` (pushes that wait say so), `read` and `load`
//! (block streams), `contents` (reading in pieces that a caller cuts), `transit` (bounds what is on its way).
//!
//! Data leave memory so: `pump` says which partition is next, `aim` on which disk (`health` and
//! `choose` decide, as pure functions), `carry` sees the write through, `flush` does it, and
//! `settle` waits for it. `unit` is a disk with all that is known of it, `probe` looks after it,
//! [`disk`] is the seam to files. `objects` is the object store, `evict` moves extents from disks to
//! it.
//!
//! `adopt` takes in what a dead worker left in the object store.
//!
//! From one process to the next: `hand_over` leaves tables of all extents in the folders, `take_over`
//! reads them (`recover` makes one from the files of a process that was killed); `calls` lets the former wait for what is under way.
//!
//! Locks are taken in this order and never across an await: the pump, registry, gate of a shuffle,
//! its table of partitions, one partition or one disk.

mod adopt;
mod aim;
mod bounded;
mod calls;
mod carry;
mod choose;
mod contents;
mod core;
pub mod disk;
mod door;
mod evict;
mod extent;
mod fair;
mod flush;
mod hand_over;
mod health;
mod inspect;
mod intake;
mod load;
mod memory;
mod objects;
mod options;
mod partition;
mod pause;
mod probe;
mod pump;
mod read;
mod recover;
mod registry;
mod settle;
mod shuffle;
mod stats;
mod take_over;
mod transit;
mod unit;
mod worker;

pub use adopt::Adopted;
pub use contents::{BlockAt, Order};
pub use door::{Bound, Door, DoorOptions, DoorStats};
pub use hand_over::HandOver;
pub use health::DiskState;
pub use inspect::PartitionStats;
pub use options::{ByIds, Class, DiskOptions, ObjectOptions, Options, Shares, Tier, WhenFull};
pub use stats::{Answers, DiskStats, ObjectStats, Stats, TransitStats};
pub use take_over::TakenOver;
pub use worker::ShuffleWorker;
