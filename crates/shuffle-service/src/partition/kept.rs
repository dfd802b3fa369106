//! What of a partition outlives its process: its extents with the blocks in them. Asked by
//! `hand_over`, given back by `take_over`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::PartitionId;
use dunlin_proto::block::ShuffleId;
use dunlin_proto::extent_index::ExtentIndex;
use dunlin_proto::shuffle::{Durability, MapAttempt};
use dunlin_proto::table::{Entry, ExtentEntry};

use super::Sums;
use super::index::{Key, Partition, Place, Stored};
use crate::disk::{DiskFile, ExtentId};
use crate::evict::Old;
use crate::extent::{Extent, Home, Target};

/// A partition as it goes from one process to the next.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) extents: Vec<(Target, ExtentEntry)>,
    pub(crate) next_extent: u32,
    /// Blocks in these extents.
    pub(crate) blocks: u64,
    /// Blocks that are in none of them: in memory, or not safely on a disk.
    pub(crate) left: u64,
}

/// A file with bytes that no good sync covers.
pub(crate) struct Unsynced {
    index: usize,
    length: u64,
    pub(crate) disk: usize,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// An extent that was found again.
pub(crate) struct KeptExtent {
    pub(crate) home: Home,
    pub(crate) length: u64,
    pub(crate) born: u64,
    pub(crate) blocks: Vec<Entry>,
}

impl Partition {
    /// The files that are to be synced before somebody may rely on them.
    pub(crate) fn unsynced(&self) -> Vec<Unsynced> {
        let inner = self.inner.lock();
        let unsynced = |(index, extent): (usize, &Extent)| match &extent.home {
            Home::File { disk, file } if extent.synced < extent.length => {
                let (disk, file) = (*disk, Arc::clone(file));
                Some(Unsynced { index, length: extent.length, disk, file })
            }
            _ => None,
        };
        inner.extents.iter().enumerate().filter_map(unsynced).collect()
    }

    /// A sync of this file went well.
    pub(crate) fn synced(&self, what: &Unsynced) {
        if let Some(extent) = self.inner.lock().extents.get_mut(what.index)
            && matches!(extent.home, Home::File { .. })
        {
            extent.synced = extent.synced.max(what.length);
        }
    }

    /// The extents with the blocks in them that are safe.
    pub(crate) fn keep(&self) -> Kept {
        let inner = self.inner.lock();
        let mut kept = Kept { next_extent: inner.next_extent, ..Kept::default() };
        let mut blocks: Vec<(u64, Vec<u8>)> = vec![(0, Vec::new()); inner.extents.len()];
        for (key, stored) in inner.blocks.iter() {
            let place = match stored.place {
                Place::Extent { index, offset } => Some((index as usize, offset)),
                Place::Memory(_) => None,
            };
            let safe = |(index, offset): &(usize, u64)| {
                let extent = inner.extents.get(*index);
                extent.is_some_and(|extent| extent.safety(*offset) > Durability::Memory)
            };
            match place.filter(safe) {
                Some((index, offset)) => {
                    ExtentEntry::add(&mut blocks[index].1, &entry(key, stored, offset));
                    blocks[index].0 += 1;
                }
                None => kept.left += 1,
            }
        }
        for (extent, (count, blocks)) in inner.extents.iter().zip(blocks) {
            if count == 0 {
                continue;
            }
            let (length, object) = match &extent.home {
                Home::File { .. } => (extent.synced, String::new()),
                Home::Object(path) => (extent.length, path.to_string()),
            };
            let (number, born, blocks) = (extent.id.extent, extent.born, blocks.into());
            let entry = ExtentEntry { extent: number, length, born, object, blocks };
            kept.extents.push((extent.home.at(), entry));
            kept.blocks += count;
        }
        kept
    }

    /// What an object of this extent is to say of its blocks; nothing if it would be too long. Blocks
    /// that were discarded are left out.
    pub(crate) fn index_of(&self, old: &Old) -> Option<Bytes> {
        let inner = self.inner.lock();
        let mut blocks = Vec::new();
        for (key, stored) in inner.blocks.iter() {
            match stored.place {
                Place::Extent { index, offset } if index as usize == old.index => {
                    blocks.push(entry(key, stored, offset));
                }
                _ => {}
            }
        }
        let (shuffle, partition, length) = (self.shuffle, self.id, old.length);
        ExtentIndex { shuffle, partition, length, blocks }.to_bytes()
    }

    /// The partition with these extents, by their numbers. None of them takes more. A block that two
    /// of them have is that of the last: the first are remains of writes that failed.
    pub(crate) fn restored(
        shuffle: ShuffleId,
        id: PartitionId,
        of_shuffle: Arc<Sums>,
        next_extent: u32,
        extents: BTreeMap<u32, KeptExtent>,
    ) -> (Self, u64) {
        let partition = Self::new(shuffle, id, of_shuffle);
        let mut inner = partition.inner.lock();
        let mut bytes = 0;
        for (index, (extent, kept)) in (0_u32..).zip(extents) {
            let KeptExtent { home, length, born, blocks } = kept;
            inner.next_extent = inner.next_extent.max(extent.saturating_add(1));
            let id = ExtentId { shuffle, partition: id, extent };
            inner.extents.push(Extent { id, home, length, synced: length, born, stays: false });
            for block in blocks {
                let Entry { of: MapAttempt { map, attempt }, batch, rows, codec, .. } = block;
                let key = Key { map, attempt, batch };
                let (checksum, length) = (block.checksum, block.length as usize);
                let place = Place::Extent { index, offset: block.offset };
                let stored = Stored { rows, codec, checksum, length, place };
                bytes += block.length;
                match inner.blocks.replace(key, stored) {
                    Some(remains) => bytes -= remains.length as u64,
                    None => inner.arrivals.push(key),
                }
            }
        }
        inner.next_extent = inner.next_extent.max(next_extent);
        let count = inner.blocks.len() as u64;
        drop(inner);
        partition.grown(bytes);
        (partition, count)
    }
}

fn entry(key: &Key, stored: &Stored, offset: u64) -> Entry {
    let Key { map, attempt, batch } = *key;
    let Stored { rows, codec, checksum, length, .. } = *stored;
    let of = MapAttempt { map, attempt };
    Entry { of, batch, rows, codec, checksum, length: length as u64, offset }
}
