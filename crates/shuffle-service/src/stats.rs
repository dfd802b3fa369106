//! What a shuffle worker counts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use dunlin_proto::shuffle::{Durability, Pushed, Refusal};

use crate::health::DiskState;
use crate::options::Class;
use crate::pause::Pauses;

/// A snapshot of a worker's counters. What says "now" is what is held now; all else counts from the
/// start of the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory charged now: bodies in memory, and a fixed amount for the index entry of each block.
    pub memory_bytes: u64,
    /// Bytes in the files of all disks now, discarded blocks included.
    pub disk_bytes: u64,
    /// Blocks held now.
    pub blocks: u64,
    /// Shuffles known now.
    pub shuffles: u64,
    /// Push calls that were acknowledged.
    pub pushes: u64,
    /// Pushes that wait for memory now.
    pub waiting: u64,
    /// Pushes that waited for it so long that it was said to who pushed, if they understood that.
    pub paused: u64,
    /// Pushed blocks that were already there.
    pub duplicates: u64,
    /// Times that a partition was written to disk.
    pub flushes: u64,
    /// Pushes and reads that met a block which failed verification or could not be read.
    pub corrupt: u64,
    /// Pushes of which the peer did not take its copy.
    pub peer_failures: u64,
    /// Pushes with an answer, by what it said.
    pub answers: Answers,
    /// Times that objects of dead workers were taken in.
    pub adoptions: u64,
    /// Times that this failed, and is to be tried again.
    pub adoption_failures: u64,
    /// Blocks that were found in these objects.
    pub adopted_blocks: u64,
    /// Objects of dead workers that were left out: they do not say what is in them, or not what
    /// their names say.
    pub adoption_refusals: u64,
    /// Bytes that are on their way, by what for.
    pub transit: [TransitStats; 2],
    /// Each disk, in the order of the options.
    pub disks: Vec<DiskStats>,
    /// The object store, if there is one.
    pub objects: Option<ObjectStats>,
}

/// Bytes on their way: one share of [`crate::Options::transit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransitStats {
    /// What for: `reads` or `uploads`.
    pub what: &'static str,
    /// Bytes now.
    pub used: u64,
    /// The most that there were since the start of the worker.
    pub peak: u64,
    /// There are never more; but one block or part that is larger, alone.
    pub limit: u64,
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
    /// Bytes that may be written now: what reserve and limits leave.
    pub room: u64,
    /// Writes and other calls under way now.
    pub queue: u64,
}

/// Answers to pushes. The order of levels and reasons is that of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Acknowledged: in the memory or an unsynced file of this worker.
    pub in_memory: u64,
    /// Acknowledged: with two workers, or in synced files.
    pub twice: u64,
    /// Acknowledged: in the object store.
    pub in_object: u64,
    /// Refused: a partition is past its hard threshold.
    pub too_large: u64,
    /// Refused: the worker drains.
    pub draining: u64,
    /// Refused: the disk of a partition is isolated.
    pub disk: u64,
    /// Refused: the peer did not take its copy.
    pub peer: u64,
    /// Failed: no memory was found in time.
    pub no_memory: u64,
    /// Partitions that writers were told to take elsewhere soon.
    pub moves: u64,
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
    /// Objects written.
    pub uploads: u64,
    /// Objects that could not be written, after all tries.
    pub failed_uploads: u64,
    /// Uploads under way now.
    pub queue: u64,
    /// It failed a moment ago and is left alone.
    pub resting: bool,
    /// The names of former lives whose objects are still served.
    pub former: BTreeSet<String>,
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
    pub(crate) no_memory: AtomicU64,
    /// Waits of pushes for memory.
    pub(crate) pauses: Pauses,
    pub(crate) adoptions: AtomicU64,
    pub(crate) adoption_failures: AtomicU64,
    pub(crate) adopted_blocks: AtomicU64,
    pub(crate) adoption_refusals: AtomicU64,
    moves: AtomicU64,
    acks: [AtomicU64; 3],
    refusals: [AtomicU64; 4],
}

impl Counters {
    /// Counts an answer.
    pub(crate) fn answered(&self, answer: &Pushed) {
        let counter = match answer {
            Pushed::Stored(ack) => {
                self.moves.fetch_add(ack.moves.len() as u64, Relaxed);
                &self.acks[match ack.durability {
                    Durability::Memory => 0,
                    Durability::Twice => 1,
                    Durability::Object => 2,
                }]
            }
            Pushed::Refused(why, _) => {
                &self.refusals[match why {
                    Refusal::Large => 0,
                    Refusal::Draining => 1,
                    Refusal::Disk => 2,
                    Refusal::Peer => 3,
                }]
            }
        };
        counter.fetch_add(1, Relaxed);
    }

    fn answers(&self) -> Answers {
        let [in_memory, twice, in_object] = [0, 1, 2].map(|n| self.acks[n].load(Relaxed));
        let [too_large, draining, disk, peer] =
            [0, 1, 2, 3].map(|n| self.refusals[n].load(Relaxed));
        let (no_memory, moves) = (self.no_memory.load(Relaxed), self.moves.load(Relaxed));
        Answers { in_memory, twice, in_object, too_large, draining, disk, peer, no_memory, moves }
    }

    /// So many blocks were here before the first push.
    pub(crate) fn took_over(&self, blocks: u64) {
        self.blocks.fetch_add(blocks.cast_signed(), Relaxed);
    }

    pub(crate) fn snapshot(&self, memory_bytes: u64) -> Stats {
        Stats {
            memory_bytes,
            blocks: now(&self.blocks),
            pushes: self.pushes.load(Relaxed),
            waiting: self.pauses.now(),
            paused: self.pauses.told(),
            duplicates: self.duplicates.load(Relaxed),
            flushes: self.flushes.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
            peer_failures: self.peer_failures.load(Relaxed),
            answers: self.answers(),
            adoptions: self.adoptions.load(Relaxed),
            adoption_failures: self.adoption_failures.load(Relaxed),
            adopted_blocks: self.adopted_blocks.load(Relaxed),
            adoption_refusals: self.adoption_refusals.load(Relaxed),
            ..Stats::default()
        }
    }
}

fn now(amount: &AtomicI64) -> u64 {
    u64::try_from(amount.load(Relaxed)).unwrap_or(0)
}
