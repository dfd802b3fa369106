//! The blocks of a partition by identity and by arrival: what pushes put in and reads find.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use dunlin_base::{Attempt, Error, PartitionId, Result};
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{Durability, MapAttempt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::extent::{Extent, Home};
use crate::flush::Ticket;
use crate::inspect::PartitionStats;
use crate::memory::{ENTRY_COST, Memory};

use super::Sums;
use super::blocks::{At, Blocks};
use super::bodies::{Bodies, Spot};

/// Position of a block in its partition; the order is that of reads and of extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) map: u32,
    pub(crate) attempt: Attempt,
    pub(crate) batch: u32,
}

impl Key {
    pub(crate) fn of(id: &BlockId) -> Self {
        Self { map: id.map, attempt: id.attempt, batch: id.batch }
    }

    /// The first and the last one that a block of this attempt may have.
    fn all_of(of: MapAttempt) -> (Self, Self) {
        let at = |batch| Self { map: of.map, attempt: of.attempt, batch };
        (at(0), at(u32::MAX))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) rows: u32,
    pub(super) codec: Codec,
    pub(super) checksum: u64,
    pub(super) length: usize,
    pub(super) place: Place,
}

#[derive(Clone, Copy)]
pub(super) enum Place {
    Memory(Spot),
    /// Offset of the header in the extent of this index.
    Extent {
        index: u32,
        offset: u64,
    },
}

/// Where a block is now: with its body, or in an extent.
pub(crate) struct Located {
    /// The block; its body is empty if it is in an extent.
    pub(crate) block: Block,
    pub(crate) length: usize,
    /// The extent, and the offset of the header there.
    pub(crate) home: Option<(Home, u64)>,
}

/// The partition.
pub(crate) struct Partition {
    pub(super) shuffle: ShuffleId,
    pub(super) id: PartitionId,
    /// Body bytes in memory: what a flush would free. Read without the lock to find the largest.
    memory_bytes: AtomicU64,
    /// Of all partitions of the shuffle.
    of_shuffle: Arc<Sums>,
    /// Body bytes of all blocks.
    bytes: AtomicU64,
    pub(super) inner: Mutex<Inner>,
    /// Woken when blocks have come and when the shuffle is sealed or deleted.
    pub(crate) arrived: Notify,
    /// Woken when a flush has ended, well or not, and when the shuffle is deleted.
    pub(crate) flushed: Notify,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) blocks: Blocks,
    /// Those of the blocks that are in memory.
    pub(super) bodies: Bodies,
    /// Keys in order of arrival, for followers. Discarded blocks stay in it.
    pub(super) arrivals: Vec<Key>,
    pub(super) extents: Vec<Extent>,
    /// The last extent takes more.
    pub(super) open: bool,
    /// The number of the next extent.
    pub(super) next_extent: u32,
    /// Where the last write failed, until one succeeds.
    pub(super) shunned: Option<usize>,
    /// The flush under way.
    pub(super) flushing: Option<Ticket>,
    /// Flushes begun.
    pub(super) flushes: u64,
    pub(super) gone: bool,
}

impl Inner {
    fn add(&mut self, block: Block) -> Result<Appended> {
        let key = Key::of(&block.id);
        match self.blocks.find(&key) {
            Ok(at) => {
                let same = |stored: &Stored| {
                    stored.checksum == block.checksum && stored.length == block.body.len()
                };
                if self.blocks.at(at).is_some_and(same) {
                    return Ok(Appended::Duplicate);
                }
                let place = block.place();
                Err(Error::bug(format!("two different blocks were pushed as {place}")))
            }
            Err(free) => {
                let Block { rows, codec, checksum, body, .. } = block;
                let length = body.len();
                let place = Place::Memory(self.bodies.put(body));
                self.blocks.insert(free, key, Stored { rows, codec, checksum, length, place });
                self.arrivals.push(key);
                Ok(Appended::Stored)
            }
        }
    }

    /// Where a block is now. One of memory comes with its body.
    pub(super) fn located(&mut self, id: BlockId, stored: Stored) -> Option<Located> {
        let Stored { rows, codec, checksum, length, place } = stored;
        let (body, home) = match place {
            Place::Memory(spot) => (self.bodies.get(spot, length), None),
            Place::Extent { index, offset } => {
                let extent = self.extents.get(index as usize)?;
                (Bytes::new(), Some((extent.home.clone(), offset)))
            }
        };
        Some(Located { block: Block { id, rows, codec, checksum, body }, length, home })
    }
}

/// What became of a pushed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    Stored,
    Duplicate,
}

/// What a partition gave back when it, or a part of it, was removed.
#[derive(Default)]
pub(crate) struct Removed {
    pub(crate) blocks: u64,
    /// Extents that nobody will ask for again.
    pub(crate) extents: Vec<Extent>,
}

impl Partition {
    /// `of_shuffle` is what all partitions of the shuffle count in.
    pub(crate) fn new(shuffle: ShuffleId, id: PartitionId, of_shuffle: Arc<Sums>) -> Self {
        Self {
            shuffle,
            id,
            memory_bytes: AtomicU64::new(0),
            of_shuffle,
            bytes: AtomicU64::new(0),
            inner: Mutex::default(),
            arrived: Notify::new(),
            flushed: Notify::new(),
        }
    }

    pub(crate) fn shuffle(&self) -> ShuffleId {
        self.shuffle
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// So many body bytes are not in memory any more.
    pub(super) fn left_memory(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Relaxed);
        self.of_shuffle.left_memory(bytes);
    }

    /// It has so many body bytes more.
    pub(super) fn grown(&self, bytes: u64) {
        self.of_shuffle.has(self.bytes.fetch_add(bytes, Relaxed) + bytes);
    }

    /// Body bytes held here, wherever they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Stores blocks of this partition under one lock, and says of each what became of it. A block of
    /// an identity that is there is not stored again; `Bug` if that one has other bytes: two blocks
    /// with one identity mean that an attempt number was used twice.
    pub(crate) fn append(
        &self,
        blocks: impl Iterator<Item = Block>,
        mut took: impl FnMut(Appended, usize),
    ) -> Result<()> {
        let mut bytes = 0;
        let mut outcome = Ok(());
        {
            let inner = &mut *self.inner.lock();
            for block in blocks {
                let length = block.body.len();
                match inner.add(block) {
                    Ok(appended) => {
                        bytes += if appended == Appended::Stored { length as u64 } else { 0 };
                        took(appended, length);
                    }
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            self.memory_bytes.fetch_add(bytes, Relaxed);
            self.of_shuffle.came(bytes);
            self.grown(bytes);
        }
        self.arrived.notify_waiters();
        outcome
    }

    /// True if it was written to a disk once and a piece of this size is in memory since.
    pub(crate) fn has_piece(&self, bytes: u64) -> bool {
        self.memory_bytes() >= bytes && !self.inner.lock().extents.is_empty()
    }

    /// True if a block of this identity and checksum is stored.
    pub(crate) fn holds(&self, block: &Block) -> bool {
        let inner = self.inner.lock();
        inner.blocks.get(&Key::of(&block.id)).is_some_and(|s| s.checksum == block.checksum)
    }

    /// The keys of these attempts, in the order of `maps`, then by batch.
    pub(crate) fn keys(&self, maps: &[MapAttempt]) -> Vec<Key> {
        let inner = self.inner.lock();
        let (mut keys, mut finger) = (Vec::with_capacity(maps.len()), At::default());
        for map in maps {
            inner.blocks.keys_near(Key::all_of(*map), &mut finger, &mut keys);
        }
        keys
    }

    /// The keys that arrived from position `from` on, at most `limit`.
    pub(crate) fn arrivals(&self, from: usize, limit: usize) -> Vec<Key> {
        let inner = self.inner.lock();
        inner.arrivals.iter().skip(from).take(limit).copied().collect()
    }

    /// Where the blocks of `keys` are now, up to about `bytes` of them: always at least one. A key
    /// that is not there any more gives `None`.
    pub(crate) fn locate(&self, keys: &[Key], bytes: usize) -> Vec<Option<Located>> {
        let inner = &mut *self.inner.lock();
        let (mut located, mut finger) = (Vec::new(), At::default());
        let mut sum = 0;
        for key in keys {
            let stored = inner.blocks.get_near(key, &mut finger).copied();
            let found = stored.and_then(|stored| inner.located(self.block_id(key), stored));
            sum += found.as_ref().map_or(0, |f| f.length);
            located.push(found);
            if sum >= bytes {
                break;
            }
        }
        located
    }

    /// What the block of this key is called.
    pub(super) fn block_id(&self, key: &Key) -> BlockId {
        let Key { map, attempt, batch } = *key;
        BlockId { shuffle: self.shuffle, partition: self.id, map, attempt, batch }
    }

    /// How safe the least safe of these blocks is; `None` if one is not there.
    pub(crate) fn safety(&self, keys: &[Key]) -> Option<Durability> {
        let inner = self.inner.lock();
        let of = |key: &Key| match inner.blocks.get(key)?.place {
            Place::Memory(_) => Some(Durability::Memory),
            Place::Extent { index, offset } => {
                Some(inner.extents.get(index as usize)?.safety(offset))
            }
        };
        keys.iter().map(of).try_fold(Durability::Object, |least, one| Some(least.min(one?)))
    }

    /// What is here, and where.
    pub(crate) fn stats(&self) -> PartitionStats {
        let inner = self.inner.lock();
        let bytes = |objects: bool| {
            let there =
                inner.extents.iter().filter(|e| matches!(e.home, Home::Object(_)) == objects);
            there.map(|extent| extent.length).sum()
        };
        PartitionStats {
            shuffle: self.shuffle,
            partition: self.id,
            blocks: inner.blocks.len() as u64,
            memory: self.memory_bytes(),
            disks: bytes(false),
            objects: bytes(true),
        }
    }

    /// Removes the blocks of one attempt. Their bytes in extents stay until these go.
    pub(crate) fn discard(&self, attempt: MapAttempt, memory: &Memory) -> Removed {
        let mut inner = self.inner.lock();
        let mut keys = Vec::new();
        inner.blocks.keys_near(Key::all_of(attempt), &mut At::default(), &mut keys);
        for key in &keys {
            if let Some(stored) = inner.blocks.remove(key) {
                if let Place::Memory(spot) = stored.place {
                    inner.bodies.remove(spot, stored.length);
                }
                self.free(&stored, memory);
            }
        }
        Removed { blocks: keys.len() as u64, extents: Vec::new() }
    }

    /// Removes everything, for ever. The caller removes the extents.
    pub(crate) fn remove(&self, memory: &Memory) -> Removed {
        let mut inner = self.inner.lock();
        let all = std::mem::replace(&mut *inner, Inner { gone: true, ..Inner::default() });
        all.blocks.iter().for_each(|(_, stored)| self.free(stored, memory));
        drop(inner);
        self.arrived.notify_waiters();
        self.flushed.notify_waiters();
        Removed { blocks: all.blocks.len() as u64, extents: all.extents }
    }

    fn free(&self, stored: &Stored, memory: &Memory) {
        let body = match stored.place {
            Place::Memory(_) => stored.length as u64,
            Place::Extent { .. } => 0,
        };
        self.left_memory(body);
        self.bytes.fetch_sub(stored.length as u64, Relaxed);
        memory.release_bodies(body, ENTRY_COST);
    }
}
