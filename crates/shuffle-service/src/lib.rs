//! The server half of the shuffle: stores blocks per partition in memory and on local disks and
//! serves them. Bodies are opaque bytes: nothing here decodes rows or links Arrow.
//!
//! [`ShuffleWorker`] is the whole surface; it implements [`dunlin_proto::shuffle::ShuffleApi`].

mod options;
mod stats;
mod worker;

pub use options::Options;
pub use stats::Stats;
pub use worker::ShuffleWorker;
