//! The end of a worker in good order: everything that it holds goes to its folders or the object
//! store, and a table in each folder says where. `take_over` is the other half.
//!
//! The table is written last, when nothing changes any more: pushes are refused from the start, and
//! whatever else changes something from the moment of the look that the tables are made of. Reads go
//! on until the process ends.

use std::time::Duration;

use bytes::BufMut;
use dunlin_base::Result;
use dunlin_proto::table::{FileTable, PartitionEntry, ShuffleEntry};
use futures::future::{join, join_all};
use futures::{StreamExt, stream};

use crate::core::Core;
use crate::extent::Target;
use crate::partition::Kept;
use crate::pump::LOOK_AGAIN;
use crate::shuffle::Shuffle;
use crate::worker::ShuffleWorker;

/// Process ids that a table names. What was acknowledged under older ones belongs to queries that
/// have ended long ago.
pub(crate) const LIVES_MAX: usize = 32;

/// Syncs under way at once.
const SYNCS: usize = 16;

/// What a worker left to the next process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Folders that got a table. With none, nothing is handed over.
    pub tables: usize,
    /// Blocks that the tables name.
    pub blocks: u64,
    /// Blocks that are lost with this process: they were still in memory, or could not be synced.
    pub left: u64,
}

impl ShuffleWorker {
    /// Refuses pushes as [`ShuffleWorker::drain`] does, waits for those under way, moves everything
    /// out of memory, syncs it, and writes the tables. Afterwards changes are `Retry`, reads go on.
    ///
    /// Takes about `limit` at most: what has not left memory after three quarters of it is left
    /// behind, and so is a disk that does not answer. Called once, by whoever ends the process. An
    /// error (`Exhausted`) says that no table could be made. Dropping the future leaves some of the
    /// folders with a table, and the worker refusing.
    pub async fn hand_over(&self, limit: Duration) -> Result<HandOver> {
        let env = &self.core.env;
        let until = env.now() + limit;
        self.drain();
        if self.core.disks.is_empty() {
            return Ok(HandOver::default());
        }
        env.timeout(limit / 4 * 3, self.settle_down()).await;
        self.changes.close();
        let rest = until.saturating_sub(env.now());
        env.timeout(rest / 2, join(self.changes.ended(), self.core.sync_all())).await;
        let rest = until.saturating_sub(env.now());
        let written = env.timeout(rest, self.write_tables()).await;
        written.unwrap_or_else(|| Ok(HandOver::default()))
    }

    /// Returns when no push is under way, nothing is in memory and nothing moves; or when nothing
    /// takes what is in memory.
    async fn settle_down(&self) {
        let core = &self.core;
        self.pushes.ended().await;
        loop {
            let flushed = self.flush().await;
            if core.registry.largest().is_empty() {
                break;
            }
            if let Err(error) = flushed {
                tracing::warn!(%error, "shuffle data that are in memory are not handed over");
                break;
            }
            // A write that somebody else began.
            core.env.sleep(LOOK_AGAIN).await;
        }
        while !core.evictions.stop() {
            core.env.sleep(LOOK_AGAIN).await;
        }
    }

    async fn write_tables(&self) -> Result<HandOver> {
        let core = &self.core;
        let Look { shuffles, mut done } = core.look();
        let lives = self.lives.lock().clone();
        let newest = &lives[lives.len().saturating_sub(LIVES_MAX)..];
        let identities = core.disks.iter().map(|unit| bytes(unit.disk.identity()));
        let id = u128::from(core.env.random()) << 64 | u128::from(core.env.random());
        let ended = core.registry.ended();
        let common = FileTable {
            hand_over: bytes(id),
            written_ms: core.env.unix_ms().max(self.taken_over().written_ms + 1),
            folders: identities.collect(),
            processes: newest.iter().map(ToString::to_string).collect(),
            ended: ended.iter().flat_map(|query| query.to_u128().to_be_bytes()).collect(),
            ..FileTable::default()
        };
        let mut writes = Vec::new();
        for (index, unit) in core.disks.iter().enumerate() {
            let shuffles = shuffles.iter().map(|one| part(one, Target::Disk(index))).collect();
            let folder = common.folders[index].clone();
            let table = FileTable { folder, shuffles, ..common.clone() }.to_bytes()?;
            writes.push(unit.call(&core.env, move |disk| disk.write_table(&table)));
        }
        for (written, unit) in join_all(writes).await.into_iter().zip(&core.disks) {
            match written {
                Ok(()) => done.tables += 1,
                Err(error) => {
                    let place = unit.place();
                    tracing::warn!(%error, place, "no file table: what lies there is not handed over");
                }
            }
        }
        Ok(done)
    }
}

/// Everything that is to be in the tables, whatever folder it lies in.
struct Look {
    shuffles: Vec<(ShuffleEntry, Vec<(u32, Kept)>)>,
    done: HandOver,
}

impl Core {
    /// Syncs all files that need it. What cannot be synced stays unsafe, and is not handed over.
    async fn sync_all(&self) {
        let unsynced = self.registry.partitions().into_iter().flat_map(|partition| {
            let files = partition.unsynced().into_iter();
            files.map(move |what| (partition.clone(), what)).collect::<Vec<_>>()
        });
        let syncs = unsynced.map(|(partition, what)| async move {
            let (unit, file) = (&self.disks[what.disk], what.file.clone());
            match unit.call(&self.env, move |_| file.sync()).await {
                Ok(()) => partition.synced(&what),
                Err(cause) => drop(unit.failed(self.env.now(), &cause)),
            }
        });
        stream::iter(syncs).buffer_unordered(SYNCS).collect::<()>().await;
    }

    fn look(&self) -> Look {
        let mut look = Look { shuffles: Vec::new(), done: HandOver::default() };
        for shuffle in self.registry.all() {
            let mut partitions = Vec::new();
            let mut entry = head(&shuffle);
            for partition in shuffle.partitions() {
                let kept = partition.keep();
                look.done.blocks += kept.blocks;
                look.done.left += kept.left;
                // The next process does not know what is missing, and neither does who follows.
                entry.holes |= kept.left > 0;
                partitions.push((partition.id().0, kept));
            }
            look.shuffles.push((entry, partitions));
        }
        look
    }
}

fn head(shuffle: &Shuffle) -> ShuffleEntry {
    let (id, fate) = (shuffle.id(), shuffle.fate());
    let mut discarded = Vec::with_capacity(8 * fate.discarded.len());
    for attempt in fate.discarded {
        discarded.put_u32_le(attempt.map);
        discarded.put_u32_le(attempt.attempt.0);
    }
    ShuffleEntry {
        query: bytes(id.query.to_u128()),
        stage: id.stage.0,
        epoch: id.epoch.0,
        sealed: fate.sealed,
        holes: fate.holes,
        discarded: discarded.into(),
        partitions: Vec::new(),
    }
}

/// What the table of one folder says of a shuffle. Objects are in all tables: a folder that is lost
/// takes only its own extents along.
fn part((entry, partitions): &(ShuffleEntry, Vec<(u32, Kept)>), folder: Target) -> ShuffleEntry {
    let here = |target: &Target| *target == folder || *target == Target::Objects;
    let of = |(id, kept): &(u32, Kept)| {
        let extents = kept.extents.iter().filter(|(target, _)| here(target));
        let extents: Vec<_> = extents.map(|(_, extent)| extent.clone()).collect();
        let (partition, next_extent) = (*id, kept.next_extent);
        (!extents.is_empty()).then_some(PartitionEntry { partition, next_extent, extents })
    };
    ShuffleEntry { partitions: partitions.iter().filter_map(of).collect(), ..entry.clone() }
}

pub(crate) fn bytes(id: u128) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&id.to_be_bytes())
}
