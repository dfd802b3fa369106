//! The reduce side: partitions of a sealed stage, or some maps of one, as a stream of record batches.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{PartitionId, ProcessId, QueryId, Result, StageId};
use dunlin_proto::block::Block;
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::ShuffleApi;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::codec::Decoder;
use crate::reader::Reader;

/// How a reader or writer reaches a shuffle worker. One process: [`crate::LocalWorkers`]; others:
/// [`crate::TcpWorkers`].
pub trait Workers: Send + Sync {
    /// The worker of this process id. Does no I/O: a connection is made by the first call. `Lost`
    /// if it is known to be gone.
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>>;

    /// Whether what goes to this worker leaves the machine: then compressing it pays. Does no I/O.
    fn leaves_host(&self, _worker: ProcessId) -> bool {
        false
    }
}

/// A partition to read, all of it or what some maps wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The partition.
    pub partition: PartitionId,
    /// Only maps with these names (first slices): several tasks share a partition that is too large
    /// for one. `None`: all.
    pub maps: Option<Range<u32>>,
}

impl Share {
    /// All of a partition.
    pub fn whole(partition: PartitionId) -> Self {
        Self { partition, maps: None }
    }

    pub(crate) fn has(&self, map: u32) -> bool {
        self.maps.as_ref().is_none_or(|maps| maps.contains(&map))
    }
}

/// Reads one partition of a sealed stage: see [`read_shares`].
pub fn read_partition(
    workers: &dyn Workers,
    stage: (QueryId, StageId),
    partition: PartitionId,
    output: Arc<StageOutput>,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    read_shares(workers, stage, &[Share::whole(partition)], output, schema)
}

/// Reads partitions of a sealed stage, or parts of them. Each worker is asked once for many small
/// ones.
///
/// Order: the shares in their order; within each the maps of `output`, in that order, and each map's
/// rows as they were written. Blocks of few rows come together in one batch.
/// Only blocks of the winning attempts in `output` are taken; a block that comes twice is taken
/// once. For every map the blocks, rows, bytes and checksums must be those that it reported: if
/// not, the stream ends with `Lost` that names the place, and rows handed out before are to be
/// thrown away. The blocks of each map are those of the epoch that its output names. Batches carry
/// `schema`, whatever names and nullability the producer had.
///
/// Where a location has two copies, the second is read when the first is gone, out of reach or
/// damaged, from the block on that is due. Errors of the kinds `Lost` and `Retry` mean that no copy
/// could be read and have a [`crate::ReadFault`] as their cause.
///
/// Nothing is read before the stream is polled, and dropping it ends the read. Blocks of which
/// every holder is gone are an error before the first batch.
pub fn read_shares(
    workers: &dyn Workers,
    (query, stage): (QueryId, StageId),
    shares: &[Share],
    output: Arc<StageOutput>,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    let reader = Reader::open(workers, (query, stage), shares, &output)
        .and_then(|reader| Ok((reader, Decoder::new(schema)?)));
    let (reader, decoder) = match reader {
        Ok(opened) => opened,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    let batches = Batches { reader, decoder, ahead: None };
    stream::try_unfold(batches, |mut batches| async move {
        let batch = batches.next().await?;
        Ok(batch.map(|batch| (batch, batches)))
    })
    .boxed()
}

/// Blocks of few rows become a batch together, until it has so many rows or bytes.
const TOGETHER_ROWS: usize = 8192;
const TOGETHER_BYTES: usize = 1 << 20;

/// The batches of a read.
struct Batches {
    reader: Reader,
    decoder: Decoder,
    /// A block that is a batch by itself, and comes after those that were not.
    ahead: Option<Block>,
}

impl Batches {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (mut some, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < TOGETHER_ROWS && bytes < TOGETHER_BYTES {
            let block = match self.ahead.take() {
                None => self.reader.next().await?,
                ahead => ahead,
            };
            match block {
                Some(block) if self.decoder.joins(&block) => {
                    rows += block.rows as usize;
                    bytes += block.body.len();
                    some.push(block);
                }
                Some(block) if some.is_empty() => return self.decoder.decode(&block).map(Some),
                block => {
                    self.ahead = block;
                    break;
                }
            }
        }
        match some.as_slice() {
            [] => Ok(None),
            [one] => self.decoder.decode(one).map(Some),
            some => self.decoder.decode_together(some).map(Some),
        }
    }
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
