//! Waiting until the blocks of a push are safe. A push starts the flush of its partitions and waits
//! for its end; those that come meanwhile are written and synced together by the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::PartitionId;
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::Durability;

use crate::core::Core;
use crate::partition::{Key, Partition};
use crate::pump::LOOK_AGAIN;

/// What an acknowledgement waits for.
pub(crate) struct Due {
    shuffle: ShuffleId,
    keys: BTreeMap<PartitionId, Vec<Key>>,
}

impl Core {
    /// What of these blocks is to be waited for; nothing unless pushes are synced.
    pub(crate) fn due(&self, blocks: &[Block]) -> Option<Due> {
        let shuffle = blocks.first().filter(|_| self.options.sync_pushes)?.id.shuffle;
        let mut keys: BTreeMap<PartitionId, Vec<Key>> = BTreeMap::new();
        for block in blocks {
            keys.entry(block.id.partition).or_default().push(Key::of(&block.id));
        }
        Some(Due { shuffle, keys })
    }

    /// How safe the least safe of these stored blocks is. Waits for it to be more than in memory if
    /// pushes are synced, and not longer than a push waits for memory.
    pub(crate) async fn settle(self: &Arc<Self>, due: Option<Due>) -> Durability {
        let Some(Due { shuffle, keys }) = due else { return Durability::Memory };
        let Some(shuffle) = self.registry.get(shuffle) else { return Durability::Memory };
        let found = |(id, keys)| Some((shuffle.partition(id)?, keys));
        let Some(all) = keys.into_iter().map(found).collect::<Option<Vec<_>>>() else {
            return Durability::Memory;
        };
        let settled = self.env.timeout(self.options.push_wait, self.settle_all(&all)).await;
        // In an object or in a file: without a name neither is found after a kill.
        settled.filter(|_| !self.unnamed.load(Relaxed)).unwrap_or(Durability::Memory)
    }

    async fn settle_all(self: &Arc<Self>, all: &[(Arc<Partition>, Vec<Key>)]) -> Durability {
        for (partition, _) in all {
            self.want_flush(partition);
        }
        let mut least = Durability::Object;
        for (partition, keys) in all {
            least = least.min(self.settle_one(partition, keys).await);
        }
        least
    }

    async fn settle_one(self: &Arc<Self>, partition: &Arc<Partition>, keys: &[Key]) -> Durability {
        loop {
            let flushed = partition.flushed.notified();
            // What was removed is not waited for, and neither is what cannot leave memory.
            let Some(safety) = partition.safety(keys) else { return Durability::Memory };
            if safety > Durability::Memory || partition.memory_bytes() == 0 || self.stays() {
                return safety;
            }
            // The flush that was wanted may have been under way, without these blocks.
            self.want_flush(partition);
            let _ = self.env.timeout(LOOK_AGAIN, flushed).await;
        }
    }

    fn stays(&self) -> bool {
        !self.has_tiers() || self.trouble().is_some()
    }
}
