//! What takes objects of another worker into a partition. Called by `adopt`.

use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::shuffle::MapAttempt;
use dunlin_proto::table::Entry;
use object_store::path::Path;

use super::index::{Key, Partition, Place, Stored};
use crate::disk::ExtentId;
use crate::extent::{Extent, Home};

/// An object, and what it says of its blocks.
pub(crate) struct Adopt {
    pub(crate) partition: PartitionId,
    pub(crate) path: Path,
    pub(crate) length: u64,
    pub(crate) blocks: Vec<Entry>,
}

impl Partition {
    /// True if it is an extent here already.
    pub(crate) fn has_object(&self, path: &Path) -> bool {
        let is = |extent: &Extent| matches!(&extent.home, Home::Object(own) if own == path);
        self.inner.lock().extents.iter().any(is)
    }

    /// Takes in an object under a number of its own. A block that is here already stays where it is,
    /// one of a discarded attempt does not come in. Says how many came. `Lost`, and nothing has
    /// changed: a block is not the one of that identity that is here. `Fenced`: the partition is gone.
    pub(crate) fn adopt(
        &self,
        object: Adopt,
        discarded: impl Fn(MapAttempt) -> bool,
    ) -> Result<u64> {
        let Adopt { path, length, blocks, .. } = object;
        let mut inner = self.inner.lock();
        if inner.gone {
            return Err(Error::fenced(format!("shuffle {} was deleted", self.shuffle)));
        }
        let mut fresh = Vec::with_capacity(blocks.len());
        for entry in blocks {
            let Entry { of: MapAttempt { map, attempt }, batch, .. } = entry;
            let key = Key { map, attempt, batch };
            match inner.blocks.get(&key) {
                Some(there) if (there.checksum, there.length as u64) != identity(&entry) => {
                    let text = format!("object {path}: another block of map {map} is here");
                    return Err(Error::lost(text));
                }
                Some(_) => {}
                None if discarded(entry.of) => {}
                None => fresh.push((key, entry)),
            }
        }
        // The number of a write that is under way may not be taken yet.
        let due = inner.flushing.map_or(0, |ticket| ticket.id.extent.saturating_add(1));
        let extent = inner.next_extent.max(due);
        inner.next_extent = extent.saturating_add(1);
        let id = ExtentId { shuffle: self.shuffle, partition: self.id, extent };
        let index = u32::try_from(inner.extents.len()).unwrap_or(u32::MAX);
        let home = Home::Object(path);
        inner.extents.push(Extent { id, home, length, synced: length, born: 0, stays: false });
        inner.open = false;
        let (mut count, mut bytes) = (0, 0);
        for (key, entry) in fresh {
            let Entry { rows, codec, checksum, length, offset, .. } = entry;
            let place = Place::Extent { index, offset };
            let stored = Stored { rows, codec, checksum, length: length as usize, place };
            if inner.blocks.replace(key, stored).is_none() {
                inner.arrivals.push(key);
                (count, bytes) = (count + 1, bytes + length);
            }
        }
        self.grown(bytes);
        drop(inner);
        self.arrived.notify_waiters();
        Ok(count)
    }
}

fn identity(entry: &Entry) -> (u64, u64) {
    (entry.checksum, entry.length)
}
