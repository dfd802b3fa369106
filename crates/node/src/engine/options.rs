//! What one process with all roles is made of.

use std::path::PathBuf;
use std::time::Duration;

use dunlin_base::ByteCount;
use dunlin_planner::{Settings, StoreLimits};
use dunlin_queue::Tuning;

/// What one process with all roles is made of.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Metadata store, as `dunlin_metadata::open` takes it.
    pub metadata: String,
    /// Blobs: a folder or a URL; `memory:` keeps them in memory.
    pub blobs: String,
    /// Folder for spilled and shuffled data; emptied of our files at the start.
    pub scratch: PathBuf,
    /// CPU threads, shared by all executors of the process, and slots of each executor.
    pub threads: usize,
    /// How many executor roles run in the process.
    pub executors: usize,
    /// Memory of all tasks of one executor.
    pub memory_limit: ByteCount,
    /// Memory for shuffle blocks; beyond it they go to `scratch`.
    pub shuffle_memory: ByteCount,
    /// Time to live of leases.
    pub lease_ttl: Duration,
    /// Settings that sessions start with.
    pub settings: Settings,
    /// Limits of object stores.
    pub stores: StoreLimits,
    /// Sizes and times of the queue.
    pub tuning: Tuning,
}

impl EngineOptions {
    /// A process that keeps nothing: state in memory, scratch data in `scratch`.
    pub fn ephemeral(scratch: impl Into<PathBuf>) -> Self {
        Self {
            metadata: "memory:".to_owned(),
            blobs: "memory:".to_owned(),
            scratch: scratch.into(),
            threads: 2,
            executors: 1,
            memory_limit: ByteCount::mib(2048),
            shuffle_memory: ByteCount::mib(1024),
            lease_ttl: Duration::from_secs(10),
            settings: Settings::default(),
            stores: StoreLimits::default(),
            tuning: Tuning::default(),
        }
    }
}
