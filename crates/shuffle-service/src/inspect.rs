//! What a worker holds, partition by partition, for people. Called by the admin listener.

use dunlin_base::{PartitionId, QueryId};
use dunlin_proto::block::ShuffleId;

use crate::worker::ShuffleWorker;

/// One partition of a shuffle on this worker. Bytes on disks and in objects are those of extents,
/// discarded blocks included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    /// The shuffle.
    pub shuffle: ShuffleId,
    /// The partition.
    pub partition: PartitionId,
    /// Blocks held.
    pub blocks: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disks.
    pub disks: u64,
    /// Bytes in the object store.
    pub objects: u64,
}

impl ShuffleWorker {
    /// The partitions of a query that are here, in order.
    pub fn partitions_of(&self, query: QueryId) -> Vec<PartitionStats> {
        let ids = self.core.registry.ids().into_iter().filter(|id| id.query == query);
        let shuffles = ids.filter_map(|id| self.core.registry.get(id));
        let mut all: Vec<_> = shuffles
            .flat_map(|shuffle| shuffle.partitions())
            .map(|partition| partition.stats())
            .collect();
        all.sort_unstable_by_key(|one| (one.shuffle, one.partition));
        all
    }
}
