//! What goes into a [`crate::ShuffleWriter`] beside the rows, and what comes out of it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use dunlin_base::{Attempt, Env, StageEpoch};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::output::{self, MapOutput, PartitionOutput};
use dunlin_proto::shuffle::Durability;

use crate::encoding::Encoding;
use crate::gather::Target;
use crate::place::Location;
use crate::traffic::Traffic;

/// What a writer writes, and within which bounds.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The shuffle.
    pub shuffle: ShuffleId,
    /// The map task: the first slice of the range it runs.
    pub map: u32,
    /// The attempt of the map task.
    pub attempt: Attempt,
    /// Schema of every batch.
    pub schema: SchemaRef,
    /// Number of partitions; partition ids are below it.
    pub partitions: u32,
    /// Encoding of the bodies. Default: [`Encoding::Plain`].
    pub encoding: Encoding,
    /// What this writer measures, and others of its process have: [`Encoding::Auto`] goes by it.
    /// Default: nothing is measured.
    pub traffic: Option<Arc<Traffic>>,
    /// Some workers are on other machines. Default: no.
    pub leaves_host: bool,
    /// Up to this many encoded bytes stay with the writer and come back from
    /// [`crate::ShuffleWriter::finish`] as inline blocks; 0 (the default) pushes everything.
    pub inline_max: usize,
    /// A block is formed when a partition has gathered this many rows. Default: 8192.
    pub block_rows: usize,
    /// A block is formed when a partition has gathered about this many bytes. Default: 1 MiB.
    pub block_bytes: usize,
    /// Finished blocks are pushed together when they reach this many bytes. Default: 1 MiB.
    pub push_bytes: usize,
    /// Bytes that may be on their way to the worker; who would exceed it waits. Default: 16 MiB.
    pub in_flight_max: usize,
    /// Where pushes are tasks of their own, so that they go on whatever the writer's callers do.
    /// Default: nowhere, they go on while somebody writes.
    pub pushes_on: Option<Env>,
    /// Gathered rows take about this at most. If a buffer of the size of a block for each partition
    /// would take more, all rows go to one buffer that is sorted by partition. Default: 64 MiB.
    pub buffer_bytes: usize,
    /// For whom the query runs; see [`dunlin_proto::shuffle::Push::user`]. Default: nobody knows.
    pub user: Option<Arc<str>>,
}

impl WriterOptions {
    pub(crate) fn target(&self) -> Target {
        Target { rows: self.block_rows.max(1), bytes: self.block_bytes.max(1) }
    }

    /// The defaults for one attempt of a map task.
    pub fn new(
        shuffle: ShuffleId,
        map: u32,
        attempt: Attempt,
        schema: SchemaRef,
        partitions: u32,
    ) -> Self {
        Self {
            shuffle,
            map,
            attempt,
            schema,
            partitions,
            encoding: Encoding::Plain,
            traffic: None,
            leaves_host: false,
            inline_max: 0,
            block_rows: 8192,
            block_bytes: 1 << 20,
            push_bytes: 1 << 20,
            in_flight_max: 16 << 20,
            pushes_on: None,
            buffer_bytes: 64 << 20,
            user: None,
        }
    }
}

/// What a finished writer reports: the numbers that readers check. `inline_blocks` are counted
/// like pushed ones.
#[derive(Clone, Debug, Default)]
pub struct WrittenOutput {
    /// Partitions that have rows, in ascending order.
    pub partitions: Vec<PartitionOutput>,
    /// All blocks (header and body), if `inlined`.
    pub inline_blocks: Vec<Bytes>,
    /// The blocks are in `inline_blocks`; nothing was pushed to a worker.
    pub inlined: bool,
    /// Where blocks are; the partitions name these by index.
    pub locations: Vec<Location>,
    /// The least that was said of the blocks at each of these locations.
    pub levels: Vec<Durability>,
    /// The least that a worker said of a block. `None` if nothing was pushed.
    pub durability: Option<Durability>,
}

impl WrittenOutput {
    /// The record of a winning task: this output, of `slice_count` slices from slice `map` on,
    /// in the shuffle of `epoch`. Task statistics are left empty.
    pub fn into_map_output(
        self,
        (map, slice_count): (u32, u32),
        attempt: Attempt,
        epoch: StageEpoch,
    ) -> MapOutput {
        let levels = self.levels.iter().copied().chain(std::iter::repeat(Durability::Memory));
        let location = |(location, level): (&Location, Durability)| output::Location {
            worker: location.worker.to_string(),
            peer: location.peer.map(|peer| peer.to_string()).unwrap_or_default(),
            in_object_store: level == Durability::Object,
        };
        MapOutput {
            first_slice: map,
            slice_count,
            attempt: attempt.0,
            locations: self.locations.iter().zip(levels).map(location).collect(),
            partitions: self.partitions,
            stats: None,
            inline_blocks: self.inline_blocks,
            inlined: self.inlined,
            epoch: epoch.0,
        }
    }
}
