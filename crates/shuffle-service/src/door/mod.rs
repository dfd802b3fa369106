//! The native door: a worker's [`dunlin_proto::shuffle::ShuffleApi`] for other processes, over TCP
//! and, if configured, TLS. The frames are those of [`dunlin_proto::wire`].
//!
//! [`Door`] listens and owns everything else: a task for each connection (`connection`), which owns
//! a task for each request (`requests`, `answer`). `greet` is the handshake, `telling` says that a push
//! waits, `credit` what a read
//! may send. Dropping an owner ends what it owns.

mod accept;
mod answer;
mod connection;
mod credit;
mod greet;
mod options;
mod receive;
mod requests;
mod shared;
mod stats;
mod telling;

pub use accept::{Bound, Door};
pub use options::DoorOptions;
pub use stats::DoorStats;
