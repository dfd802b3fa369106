//! The client half of the shuffle: executors and gateways encode record batches into blocks, push
//! them to a shuffle worker and read them back.
//!
//! [`ShuffleWriter`] is the map side, [`read_partition`] the reduce side, [`codec`] what a block's
//! body is. How a worker is reached is behind [`Workers`]; how it stores blocks is behind
//! [`dunlin_proto::shuffle::ShuffleApi`]. Nothing here knows stages or plans.

pub mod codec;
mod compact;
mod congestion;
mod encoding;
mod expect;
mod fault;
mod gather;
mod layout;
mod local;
mod measure;
mod output;
mod pause;
mod place;
mod push;
mod read;
mod reader;
mod scatter;
mod send;
mod sorted;
mod source;
mod tcp;
#[cfg(test)]
mod tests;
mod traffic;
mod went;
mod write;

pub use encoding::Encoding;
pub use fault::{PushFault, ReadFault, Unread, WorkerGone};
pub use local::LocalWorkers;
pub use output::{WriterOptions, WrittenOutput};
pub use place::{Candidate, Location, OneWorker, PARTITIONS_A_WORKER, Placement, Standing, place};
pub use read::{PartitionStats, Share, Workers, partition_stats, read_partition, read_shares};
pub use tcp::{TcpOptions, TcpWorkers, Tls};
pub use traffic::{Traffic, TrafficStats};
pub use write::ShuffleWriter;
