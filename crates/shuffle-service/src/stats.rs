//! What a shuffle worker counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::health::DiskState;
use crate::options::Class;

/// A snapshot of a worker's counters. `pushes`, `duplicates`, `flushes`, `corrupt` and
/// `peer_failures` count from the start of the worker; the others say what is held now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory charged now: bodies in memory, and a fixed amount for the index entry of each block.
    pub memory_bytes: u64,
    /// Bytes in the files of all disks now, discarded blocks included.
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
    /// Each disk, in the order of the options.
    pub disks: Vec<DiskStats>,
    /// The object store, if there is one.
    pub objects: Option<ObjectStats>,
}

/// One disk of a worker. `written` and `errors` count from the start of the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskStats {
    /// The folder of the worker's files.
    pub path: PathBuf,
    /// As configured.
    pub class: Class,
    /// What it is good for now.
    pub state: DiskState,
    /// Bytes that its file system has left, as last measured.
    pub free: u64,
    /// Bytes of its file system.
    pub total: u64,
    /// Bytes in the worker's files, discarded blocks included.
    pub used: u64,
    /// Bytes written.
    pub written: u64,
    /// Bytes per second of recent writes; 0 if none was large enough to tell.
    pub speed: u64,
    /// Calls and probes that failed; a disk without room does not fail.
    pub errors: u64,
}

/// The object store as one worker sees it. `written` and `errors` count from the start of the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectStats {
    /// Bytes in the worker's objects, discarded blocks included.
    pub used: u64,
    /// Bytes written.
    pub written: u64,
    /// Calls that failed or got no answer in time, each try by itself.
    pub errors: u64,
    /// It failed a moment ago and is left alone.
    pub resting: bool,
}

/// The live counters. Amounts are signed: a removal may be counted before what it removes.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) blocks: AtomicI64,
    pub(crate) pushes: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) peer_failures: AtomicU64,
}

impl Counters {
    /// So many blocks were here before the first push.
    pub(crate) fn took_over(&self, blocks: u64) {
        self.blocks.fetch_add(blocks.cast_signed(), Relaxed);
    }

    pub(crate) fn snapshot(&self, memory_bytes: u64) -> Stats {
        Stats {
            memory_bytes,
            blocks: now(&self.blocks),
            pushes: self.pushes.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            peer_failures: self.peer_failures.load(Relaxed),
            ..Stats::default()
        }
    }
}

fn now(amount: &AtomicI64) -> u64 {
    u64::try_from(amount.load(Relaxed)).unwrap_or(0)
}
