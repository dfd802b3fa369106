//! What a shuffle worker holds of a query, as the admin listener tells it and `dunlin shuffle show`
//! reads it. Fields are only ever added.

use dunlin_shuffle_service::PartitionStats;
use serde::{Deserialize, Serialize};

/// One partition on one worker. Amounts are in bytes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub(crate) struct Held {
    pub(crate) stage: u32,
    pub(crate) epoch: u32,
    pub(crate) partition: u32,
    pub(crate) blocks: u64,
    pub(crate) memory: u64,
    pub(crate) disks: u64,
    pub(crate) objects: u64,
}

impl From<&PartitionStats> for Held {
    fn from(stats: &PartitionStats) -> Self {
        Self {
            stage: stats.shuffle.stage.0,
            epoch: stats.shuffle.epoch.0,
            partition: stats.partition.0,
            blocks: stats.blocks,
            memory: stats.memory,
            disks: stats.disks,
            objects: stats.objects,
        }
    }
}
