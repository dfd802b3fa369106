//! The limits of a shuffle worker.

use std::path::PathBuf;
use std::time::Duration;

use dunlin_base::ByteCount;

/// Limits and places of one [`crate::ShuffleWorker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Block bodies held in memory never exceed this: a push waits, then is refused.
    pub memory_limit: ByteCount,
    /// Above this share of `memory_limit` (in percent) the largest partitions go to disk.
    /// Default: 75.
    pub memory_mark_percent: u8,
    /// Where partitions are written when memory is short; `None` keeps everything in memory. The
    /// worker owns the folder `dunlin-shuffle` in it and clears that at the start.
    pub directory: Option<PathBuf>,
    /// Block bytes on disk never exceed this. Default: no limit but the disk's.
    pub disk_limit: ByteCount,
    /// How long a push waits for memory before it is refused. Default: 30 s.
    pub push_wait: Duration,
    /// A partition with more than this is to go elsewhere soon. Default: 1 GiB.
    pub split_soft: ByteCount,
    /// A partition with more than this is refused, unless its writer has nowhere else to go.
    /// Default: 2 GiB.
    pub split_hard: ByteCount,
    /// How long a push waits for the second copy. Default: 5 s.
    pub peer_wait: Duration,
    /// Check a pushed block's checksum before it is stored. Default: true. Where writer and worker
    /// share a process it only costs time: every read verifies anyway.
    pub verify_pushes: bool,
    /// Ended queries that are remembered to refuse late pushes. Default: 65,536.
    pub tombstones: usize,
}

impl Options {
    /// The defaults for this much memory, without a disk.
    pub fn new(memory_limit: ByteCount) -> Self {
        Self {
            memory_limit,
            memory_mark_percent: 75,
            directory: None,
            disk_limit: ByteCount(u64::MAX),
            push_wait: Duration::from_secs(30),
            split_soft: ByteCount::mib(1024),
            split_hard: ByteCount::mib(2048),
            peer_wait: Duration::from_secs(5),
            verify_pushes: true,
            tombstones: 65_536,
        }
    }
}
