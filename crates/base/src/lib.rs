//! What every crate of Dunlin stands on: ids, error kinds, limits, and the one seam to time,
//! chance, spawning and the network; and the places where tests have a process [fail].
//!
//! Nothing here knows a component. A type moves in only when two crates must agree on it and
//! neither owns it.

mod body;
pub mod env;
mod error;
pub mod fail;
mod id;
pub mod net;
mod units;

pub use body::Body;
pub use env::Env;
pub use error::{Error, Kind, Result};
pub use id::{
    Attempt, LeaseId, PartitionId, ProcessId, QueryId, Revision, SliceId, StageEpoch, StageId,
};
pub use units::ByteCount;
