//! The workers, as masters see them.

use async_trait::async_trait;
use dunlin_base::Result;
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb::{self, WorkerEventType};

/// A worker that is alive, by its card.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Where clients reach it; also its name.
    pub id: WorkerId,
    /// Where its machine stands, as `/rack`; empty if nobody has said.
    pub rack: String,
    /// It is to go: it takes nothing new, and drivers should commit what they have there.
    pub going: bool,
    /// It takes data now: not full, not sick.
    pub takes: bool,
    /// Its storage, the best first.
    pub disks: Vec<pb::DiskInfo>,
    /// Bytes that it has room for, in memory and on disks.
    pub free: u64,
    /// Percent of its memory that is in use.
    pub pressure: u8,
    /// Shuffles of which it has data, some seconds ago.
    pub shuffles: u64,
    /// Words that applications choose workers by.
    pub tags: Vec<String>,
}

/// What an administrator wants of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What. Never `None`.
    pub event: WorkerEventType,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

impl Worker {
    /// As clients know it.
    pub(crate) fn info(&self) -> pb::WorkerInfo {
        let WorkerId { host, rpc_port, push_port, fetch_port, replicate_port } = &self.id;
        pb::WorkerInfo {
            host: host.to_string(),
            rpc_port: i32::from(*rpc_port),
            push_port: i32::from(*push_port),
            fetch_port: i32::from(*fetch_port),
            replicate_port: i32::from(*replicate_port),
            disks: self.disks.clone(),
            network_location: self.rack.clone(),
            ..Default::default()
        }
    }

    /// True if a client means it.
    pub(crate) fn is(&self, info: &pb::WorkerInfo) -> bool {
        let WorkerId { host, rpc_port, push_port, fetch_port, replicate_port } = &self.id;
        let ports = [info.rpc_port, info.push_port, info.fetch_port, info.replicate_port];
        **host == info.host
            && [*rpc_port, *push_port, *fetch_port, *replicate_port].map(i32::from) == ports
    }
}

/// Where masters learn of workers, and tell them what is wanted of them. Implemented by whoever wires
/// processes together.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// All workers that are alive. Does no I/O: what a watch has said last.
    fn workers(&self) -> Vec<Worker>;

    /// What is wanted of workers that are alive, as it is now, whoever of the masters was told so.
    /// `Retry`: the store does not answer.
    async fn wanted(&self) -> Result<Vec<(WorkerId, Wanted)>>;

    /// Says what is wanted of a worker, in place of what was said before; `None`: nothing any more.
    /// Durable when this returns, idempotent. False: it is gone.
    async fn want(&self, worker: &WorkerId, event: WorkerEventType) -> Result<bool>;
}
