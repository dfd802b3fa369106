//! Reading a partition in pieces that a caller cuts: which blocks there are, then some of them. For a
//! door whose clients ask for chunks by number, where [`ShuffleApi::read`] gives whole maps.
//!
//! [`ShuffleApi::read`]: dunlin_proto::shuffle::ShuffleApi::read

use std::ops::Range;
use std::sync::Arc;

use dunlin_base::{Attempt, Error, PartitionId, Result};
use dunlin_proto::block::{Block, ShuffleId};

use crate::load::fetch;
use crate::partition::{Key, Partition};
use crate::transit::charged;
use crate::worker::ShuffleWorker;

/// A block of a partition, by its name in it, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockAt {
    /// The map that made it.
    pub map: u32,
    /// The attempt of that map.
    pub attempt: Attempt,
    /// Its number in the attempt.
    pub batch: u32,
    /// Length of its body.
    pub bytes: u64,
}

/// Which blocks are listed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// All, as they came. After a restart: in the order of extents and of blocks in them.
    Arrival,
    /// Those of these maps, by map, attempt and batch.
    Maps(Range<u32>),
}

impl ShuffleWorker {
    /// The blocks that a partition has now. `Lost` if it is not on this worker: an empty list means
    /// that it is, without such blocks. Takes time with the number of blocks; no I/O.
    pub fn contents(
        &self,
        shuffle: ShuffleId,
        partition: PartitionId,
        order: &Order,
    ) -> Result<Vec<BlockAt>> {
        Ok(self.partition(shuffle, partition)?.contents(order))
    }

    /// These blocks of a partition, in this order, verified. They count among the bytes on their way
    /// until the body of the last one is dropped: whoever sends them sends that one last. `holder` says whose they are: who holds many waits
    /// for those who hold none. So nobody may wait for anything but a socket while it has some.
    ///
    /// `Lost`: the partition or a block of it is not here, or is corrupt; `Retry`: a disk or the object
    /// store does not answer. May be repeated; dropping the future has no effect.
    pub async fn blocks(
        &self,
        shuffle: ShuffleId,
        partition: PartitionId,
        (holder, blocks): (u64, &[BlockAt]),
    ) -> Result<Vec<Block>> {
        let partition = self.partition(shuffle, partition)?;
        let cost = blocks.iter().map(|block| block.bytes).sum();
        let room = self.core.transit.reads.take(holder, cost);
        let charge = room.await;
        let keys: Vec<_> = blocks.iter().map(key).collect();
        let located: Option<Vec<_>> = partition.locate(&keys, usize::MAX).into_iter().collect();
        let located = located.filter(|all| all.len() == keys.len()).ok_or_else(|| {
            Error::lost(format!(
                "shuffle {shuffle} was removed while partition {} was read",
                partition.id()
            ))
        })?;
        let mut blocks = fetch(&self.core, located).await?;
        let last = blocks.iter_mut().rfind(|block| !block.body.is_empty());
        if let Some(Block { body, .. }) = last {
            *body = charged(std::mem::take(body), charge);
        }
        Ok(blocks)
    }

    /// Body bytes of a partition; `None` if it is not on this worker.
    pub fn bytes_of(&self, shuffle: ShuffleId, partition: PartitionId) -> Option<u64> {
        Some(self.partition(shuffle, partition).ok()?.bytes())
    }

    fn partition(&self, id: ShuffleId, partition: PartitionId) -> Result<Arc<Partition>> {
        let unknown = || Error::lost(format!("shuffle {id} partition {partition} is not here"));
        let shuffle = self.core.registry.get(id).ok_or_else(unknown)?;
        shuffle.partition(partition).ok_or_else(unknown)
    }
}

fn key(block: &BlockAt) -> Key {
    let BlockAt { map, attempt, batch, .. } = *block;
    Key { map, attempt, batch }
}
