//! What the partitions of one shuffle have together. Changed by each of them, read without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sums over the partitions of a shuffle.
#[derive(Default)]
pub(crate) struct Sums {
    memory_bytes: AtomicU64,
    largest: AtomicU64,
}

impl Sums {
    /// Body bytes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// No partition has more body bytes, wherever they are. Some may have had once.
    pub(crate) fn largest(&self) -> u64 {
        self.largest.load(Relaxed)
    }

    pub(super) fn came(&self, bytes: u64) {
        self.memory_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn left_memory(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Relaxed);
    }

    /// A partition has so many body bytes now.
    pub(super) fn has(&self, bytes: u64) {
        if bytes > self.largest() {
            self.largest.fetch_max(bytes, Relaxed);
        }
    }
}
