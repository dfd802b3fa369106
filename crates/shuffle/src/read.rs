//! The reduce side: one partition of a sealed stage as a stream of record batches.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, PartitionId, ProcessId, Result};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::ShuffleApi;
use futures::StreamExt;
use futures::stream::BoxStream;

/// How a reader or writer reaches a shuffle worker. One process: [`crate::LocalWorkers`].
pub trait Workers: Send + Sync {
    /// The worker of this process id. Does no I/O: a connection is made by the first call. `Lost`
    /// if it is known to be gone.
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>>;
}

/// Reads one partition of a sealed stage.
///
/// Order: the maps of `output`, in that order, and each map's batches as they were written.
/// Only blocks of the winning attempts in `output` are taken; a block that comes twice is taken
/// once. For every map the blocks, rows, bytes and checksums must be those that it reported: if
/// not, the stream ends with `Lost` that names the place, and rows handed out before are to be
/// thrown away. Batches carry `schema`, whatever names and nullability the producer had.
///
/// Nothing is read before the stream is polled, and dropping it ends the read.
pub fn read_partition(
    workers: &dyn Workers,
    shuffle: ShuffleId,
    partition: PartitionId,
    output: Arc<StageOutput>,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    let _ = (workers, shuffle, partition, output, schema);
    futures::stream::iter([Err(Error::bug("not written yet"))]).boxed()
}

/// Size of one partition of a stage's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// Rows.
    pub rows: u64,
    /// Encoded bytes.
    pub bytes: u64,
}

/// Rows and bytes of the partitions `0..partitions`, summed over all maps. Partitions that the
/// output names beyond that are left out.
pub fn partition_stats(output: &StageOutput, partitions: u32) -> Vec<PartitionStats> {
    let mut stats = vec![PartitionStats::default(); partitions as usize];
    for written in output.maps.iter().flat_map(|map| &map.partitions) {
        if let Some(stats) = stats.get_mut(written.partition as usize) {
            stats.rows += written.rows;
            stats.bytes += written.bytes;
        }
    }
    stats
}
