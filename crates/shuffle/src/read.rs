//! The reduce side: one partition of a sealed stage as a stream of record batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::{Block, HEADER_LEN, ShuffleId};
use dunlin_proto::output::{MapOutput, PartitionOutput, StageOutput};
use dunlin_proto::shuffle::{MapAttempt, ReadRequest, ShuffleApi};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::codec::Decoder;
use crate::expect::{Expected, Taken};
use crate::fault::ReadFault;

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

/// Reads one partition of a sealed stage.
///
/// Order: the maps of `output`, in that order, and each map's batches as they were written.
/// Only blocks of the winning attempts in `output` are taken; a block that comes twice is taken
/// once. For every map the blocks, rows, bytes and checksums must be those that it reported: if
/// not, the stream ends with `Lost` that names the place, and rows handed out before are to be
/// thrown away. The blocks of each map are those of the epoch that its output names. Errors of the
/// kinds `Lost` and `Retry` have a [`ReadFault`] as their cause. Batches carry `schema`, whatever names and nullability the producer had.
///
/// Nothing is read before the stream is polled, and dropping it ends the read. A worker that is
/// gone is an error before the first batch.
pub fn read_partition(
    workers: &dyn Workers,
    (query, stage): (QueryId, StageId),
    partition: PartitionId,
    output: Arc<StageOutput>,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    let reader = Reader::open(workers, (query, stage), partition, &output)
        .and_then(|reader| Ok((reader, Decoder::new(schema)?)));
    let (reader, decoder) = match reader {
        Ok(opened) => opened,
        Err(error) => return stream::iter([Err(error)]).boxed(),
    };
    stream::try_unfold((reader, decoder), |(mut reader, decoder)| async move {
        let Some(block) = reader.next().await? else { return Ok(None) };
        let batch = decoder.decode(&block)?;
        Ok(Some((batch, (reader, decoder))))
    })
    .boxed()
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

/// Pulls the blocks of one partition from its workers, map by map, and checks them.
struct Reader {
    stage: StageId,
    sources: Vec<Source>,
    /// The maps still to be read, the next one last: its source and what it must give.
    maps: Vec<(usize, Expected)>,
}

/// One worker, or the inline blocks of one map.
struct Source {
    /// `None`: the blocks are in the record.
    worker: Option<ProcessId>,
    /// What to read when the first block is wanted.
    request: Option<(Arc<dyn ShuffleApi>, ReadRequest)>,
    blocks: BoxStream<'static, Result<Block>>,
    /// A block that belongs to a later map than the one that is being read.
    ahead: Option<Block>,
}

impl Reader {
    fn open(
        workers: &dyn Workers,
        (query, stage): (QueryId, StageId),
        partition: PartitionId,
        output: &StageOutput,
    ) -> Result<Self> {
        let mut reader = Self { stage, sources: Vec::new(), maps: Vec::new() };
        let mut source_of = HashMap::new();
        for map in &output.maps {
            let written = map.partitions.iter().find(|p| p.partition == partition.0);
            let Some(written) = written.filter(|written| written.blocks > 0) else { continue };
            let shuffle = ShuffleId { query, stage, epoch: StageEpoch(map.epoch) };
            let expected = expected(shuffle, partition, map, written);
            let source = if map.inlined {
                reader.add(Source::inline(&expected, &map.inline_blocks)?)
            } else {
                let at = |e: Error| e.context(expected.place());
                let worker: ProcessId = map.worker.parse().map_err(at)?;
                let source = match source_of.get(&(worker, map.epoch)) {
                    Some(source) => *source,
                    None => {
                        let lost = |e| ReadFault::attach(e, stage, worker, vec![expected.attempt]);
                        let api = workers.connect(worker).map_err(lost).map_err(at)?;
                        let source = reader.add(Source::worker(worker, api, shuffle, partition));
                        source_of.insert((worker, map.epoch), source);
                        source
                    }
                };
                reader.sources[source].request_map(expected.attempt);
                source
            };
            reader.maps.push((source, expected));
        }
        reader.maps.reverse();
        Ok(reader)
    }

    fn add(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// The next block in order; `None` when all maps have given what they reported.
    async fn next(&mut self) -> Result<Option<Block>> {
        let next = self.next_of_maps().await;
        next.map_err(|error| self.attach(error))
    }

    /// Adds to an error what was not read: the map at hand, and those after it from its source.
    fn attach(&self, error: Error) -> Error {
        let Some((at, _)) = self.maps.last() else { return error };
        let Some(worker) = self.sources[*at].worker else { return error };
        let rest = self.maps.iter().rev().filter(|(source, _)| source == at);
        let maps = rest.map(|(_, expected)| expected.attempt).collect();
        ReadFault::attach(error, self.stage, worker, maps)
    }

    async fn next_of_maps(&mut self) -> Result<Option<Block>> {
        while let Some(((at, expected), later)) = self.maps.split_last_mut() {
            let source = &mut self.sources[*at];
            while let Some(block) = source.next().await? {
                match expected.take(&block)? {
                    Taken::Mine => return Ok(Some(block)),
                    Taken::Skip => {}
                    Taken::OtherMap if is_due(later, *at, &block) => {
                        source.ahead = Some(block);
                        break;
                    }
                    // Of a map that was read already, or that nobody asked for.
                    Taken::OtherMap => {}
                }
            }
            expected.check()?;
            self.maps.pop();
        }
        Ok(None)
    }
}

/// True if one of the maps that are still to be read from this source wants the block.
fn is_due(later: &[(usize, Expected)], source: usize, block: &Block) -> bool {
    let wants =
        |(at, expected): &(usize, Expected)| *at == source && expected.attempt.map == block.id.map;
    later.iter().rev().any(wants)
}

fn expected(
    shuffle: ShuffleId,
    partition: PartitionId,
    map: &MapOutput,
    written: &PartitionOutput,
) -> Expected {
    let attempt = MapAttempt { map: map.first_slice, attempt: Attempt(map.attempt) };
    let from = if map.inlined { "its record".to_owned() } else { format!("worker {}", map.worker) };
    Expected::new(shuffle, partition, attempt, *written, from)
}

impl Source {
    fn worker(
        worker: ProcessId,
        api: Arc<dyn ShuffleApi>,
        shuffle: ShuffleId,
        partition: PartitionId,
    ) -> Self {
        let request = ReadRequest { shuffle, partition, maps: Some(Vec::new()) };
        let blocks = stream::empty().boxed();
        Self { worker: Some(worker), request: Some((api, request)), blocks, ahead: None }
    }

    /// Blocks of `expected`'s partition among those in the record. They were checked by nobody
    /// yet, unlike those of a worker.
    fn inline(expected: &Expected, blocks: &[Bytes]) -> Result<Self> {
        let mut mine = Vec::new();
        for bytes in blocks {
            let (mut block, length) =
                Block::parse_header(bytes).map_err(|e| e.context(expected.place()))?;
            if block.id.partition == expected.partition {
                if bytes.len() != HEADER_LEN + length {
                    return Err(Error::lost(format!(
                        "{}: an inline block is cut",
                        expected.place()
                    )));
                }
                block.body = bytes.slice(HEADER_LEN..);
                block.verify()?;
                mine.push(Ok(block));
            }
        }
        let blocks = stream::iter(mine).boxed();
        Ok(Self { worker: None, request: None, blocks, ahead: None })
    }

    fn request_map(&mut self, attempt: MapAttempt) {
        if let Some((_, ReadRequest { maps: Some(maps), .. })) = &mut self.request {
            maps.push(attempt);
        }
    }

    async fn next(&mut self) -> Result<Option<Block>> {
        if let Some(block) = self.ahead.take() {
            return Ok(Some(block));
        }
        if let Some((api, request)) = self.request.take() {
            self.blocks = api.read(request).await?;
        }
        self.blocks.try_next().await
    }
}
