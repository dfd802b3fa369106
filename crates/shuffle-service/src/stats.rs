//! What a shuffle worker counts.

/// A snapshot of a worker's counters. Counts are since the start of the worker, the others are
/// now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Block bytes in memory now.
    pub memory_bytes: u64,
    /// Bytes of blocks in files now.
    pub disk_bytes: u64,
    /// Blocks held now.
    pub blocks: u64,
    /// Push calls that were acknowledged.
    pub pushes: u64,
    /// Pushed blocks that were already there.
    pub duplicates: u64,
    /// Partitions written to disk.
    pub flushes: u64,
    /// Blocks that failed verification.
    pub corrupt: u64,
}
