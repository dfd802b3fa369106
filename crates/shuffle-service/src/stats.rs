//! What a shuffle worker counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A snapshot of a worker's counters. `pushes`, `duplicates`, `flushes`, `corrupt` and
/// `peer_failures` count from
/// the start of the worker; the others say what is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory charged now: bodies in memory, and a fixed amount for the index entry of each block.
    pub memory_bytes: u64,
    /// Bytes in files now, discarded blocks included.
    pub disk_bytes: u64,
    /// Blocks held now.
    pub blocks: u64,
    /// Push calls that were acknowledged.
    pub pushes: u64,
    /// Pushed blocks that were already there.
    pub duplicates: u64,
    /// Times that a partition was written to disk.
    pub flushes: u64,
    /// Pushes and reads that met a block which failed verification or could not be read.
    pub corrupt: u64,
    /// Pushes of which the peer did not take its copy.
    pub peer_failures: u64,
}

/// The live counters. Amounts are signed: a removal may be counted before what it removes.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) disk_bytes: AtomicI64,
    pub(crate) blocks: AtomicI64,
    pub(crate) pushes: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) peer_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self, memory_bytes: u64) -> Stats {
        Stats {
            memory_bytes,
            disk_bytes: self.disk_bytes(),
            blocks: now(&self.blocks),
            pushes: self.pushes.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            peer_failures: self.peer_failures.load(Relaxed),
        }
    }
    pub(crate) fn disk_bytes(&self) -> u64 {
        now(&self.disk_bytes)
    }
}

fn now(amount: &AtomicI64) -> u64 {
    u64::try_from(amount.load(Relaxed)).unwrap_or(0)
}
