//! The reduce side: one partition of a sealed stage as a stream of record batches.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::output::{Location, MapOutput, PartitionOutput, StageOutput};
use dunlin_proto::shuffle::{MapAttempt, ShuffleApi};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::codec::Decoder;
use crate::expect::{Expected, Taken};
use crate::fault::ReadFault;
use crate::source::Source;

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
/// thrown away. The blocks of each map are those of the epoch that its output names. Batches carry
/// `schema`, whatever names and nullability the producer had.
///
/// Where a location has two copies, the second is read when the first is gone, out of reach or
/// damaged, from the block on that is due. Errors of the kinds `Lost` and `Retry` mean that no copy
/// could be read and have a [`ReadFault`] as their cause.
///
/// Nothing is read before the stream is polled, and dropping it ends the read. Blocks of which
/// every holder is gone are an error before the first batch.
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
    /// The maps still to be read, the next one last.
    maps: Vec<Map>,
}

/// One map: what it must give, and where its blocks are.
struct Map {
    expected: Expected,
    /// Sources in the order of the blocks, each with the number of the first block after its own.
    route: Vec<(u32, usize)>,
}

impl Map {
    /// The source of the next block; `None` if all have come.
    fn source(&self) -> Option<usize> {
        let next = self.expected.next_batch();
        self.route.iter().find(|(end, _)| next < *end).map(|(_, source)| *source)
    }

    fn wants(&self, source: usize) -> bool {
        let next = self.expected.next_batch();
        self.route.iter().any(|(end, at)| next < *end && *at == source)
    }
}

impl Reader {
    fn open(
        workers: &dyn Workers,
        (query, stage): (QueryId, StageId),
        partition: PartitionId,
        output: &StageOutput,
    ) -> Result<Self> {
        let mut reader = Self { stage, sources: Vec::new(), maps: Vec::new() };
        let mut known = HashMap::new();
        for map in &output.maps {
            let written = map.partitions.iter().find(|p| p.partition == partition.0);
            let Some(written) = written.filter(|written| written.blocks > 0) else { continue };
            let shuffle = ShuffleId { query, stage, epoch: StageEpoch(map.epoch) };
            let expected = expected(shuffle, partition, map, written);
            let route = if map.inlined {
                let source = Source::inline(&expected, &map.inline_blocks)?;
                vec![(written.blocks, reader.add(source))]
            } else {
                let mut route = Vec::new();
                for (end, location) in places(map, written) {
                    let location = location.ok_or_else(|| {
                        Error::invalid(format!("{}: it names no location", expected.place()))
                    })?;
                    let key = (location.clone(), map.epoch);
                    let source = match known.get(&key) {
                        Some(source) => *source,
                        None => {
                            let source = Source::open(workers, location, shuffle, partition)
                                .map_err(|e| e.context(expected.place()))?;
                            let source = reader.add(source);
                            known.insert(key, source);
                            source
                        }
                    };
                    reader.sources[source].want(expected.attempt);
                    route.push((end, source));
                }
                route
            };
            reader.maps.push(Map { expected, route });
        }
        reader.maps.reverse();
        match (0..reader.sources.len()).find(|at| reader.sources[*at].is_gone()) {
            Some(at) => Err(reader.gone(at)),
            None => Ok(reader),
        }
    }

    /// The error of a source of which no holder is there.
    fn gone(&self, at: usize) -> Error {
        let source = &self.sources[at];
        let maps = self.maps.iter().rev().filter(|map| map.wants(at));
        let maps: Vec<_> = maps.map(|map| &map.expected).collect();
        let place = maps.first().map(|expected| expected.place()).unwrap_or_default();
        let maps = maps.iter().map(|expected| expected.attempt).collect();
        ReadFault::attach(source.failure(), self.stage, source.holders(), maps).context(place)
    }

    fn add(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// The next block in order; `None` when all maps have given what they reported.
    async fn next(&mut self) -> Result<Option<Block>> {
        loop {
            let Some(map) = self.maps.last() else { return Ok(None) };
            let Some(at) = map.source() else {
                map.expected.check().map_err(|error| self.attach(None, error))?;
                self.maps.pop();
                continue;
            };
            match self.next_from(at).await {
                Ok(block) => return Ok(Some(block)),
                Err(error) => self.fail_over(at, error)?,
            }
        }
    }

    /// The next block of the map at hand, which is at this source.
    async fn next_from(&mut self, at: usize) -> Result<Block> {
        let source = &mut self.sources[at];
        let Some((map, later)) = self.maps.split_last_mut() else {
            return Err(Error::bug("a block of no map is read"));
        };
        while let Some(block) = source.next().await? {
            match map.expected.take(&block)? {
                Taken::Mine => return Ok(block),
                Taken::Skip => {}
                Taken::OtherMap if is_due(later, at, &block) => {
                    source.put_back(block);
                    break;
                }
                // Of a map that was read already, or that nobody asked for.
                Taken::OtherMap => {}
            }
        }
        Err(map.expected.cut())
    }

    /// Goes on with the next copy, if there is one.
    fn fail_over(&mut self, at: usize, error: Error) -> Result<()> {
        if !matches!(error.kind(), dunlin_base::Kind::Lost | dunlin_base::Kind::Retry) {
            return Err(error);
        }
        let due = self.maps.iter().rev().filter(|map| map.wants(at));
        let due = due.map(|map| map.expected.attempt).collect();
        match self.sources[at].fail_over(error, due) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.attach(Some(at), error)),
        }
    }

    /// Adds to an error what was not read: the map at hand, and those after it from the source.
    fn attach(&self, at: Option<usize>, error: Error) -> Error {
        let Some(map) = self.maps.last() else { return error };
        let last = map.route.last().map(|(_, source)| *source);
        let Some(at) = at.or(last) else { return error };
        let mut maps: Vec<_> = vec![map.expected.attempt];
        let rest = self.maps.iter().rev().skip(1).filter(|map| map.wants(at));
        maps.extend(rest.map(|map| map.expected.attempt));
        let holders = self.sources[at].holders();
        if holders.is_empty() {
            return error;
        }
        ReadFault::attach(error, self.stage, holders, maps)
    }
}

/// True if one of the maps that are still to be read from this source wants the block.
fn is_due(later: &[Map], source: usize, block: &Block) -> bool {
    let wants = |map: &Map| map.expected.attempt.map == block.id.map && map.wants(source);
    later.iter().rev().any(wants)
}

/// Where the blocks of a partition are: the number of the first block after each place, and it.
fn places<'a>(map: &'a MapOutput, written: &PartitionOutput) -> Vec<(u32, Option<&'a Location>)> {
    let at = |index: u32| map.locations.get(index as usize);
    if written.parts.is_empty() {
        return vec![(written.blocks, at(written.location))];
    }
    let mut end = 0_u32;
    let part = |part: &dunlin_proto::output::Part| {
        end = end.saturating_add(part.blocks);
        (end, at(part.location))
    };
    written.parts.iter().map(part).collect()
}

fn expected(
    shuffle: ShuffleId,
    partition: PartitionId,
    map: &MapOutput,
    written: &PartitionOutput,
) -> Expected {
    let attempt = MapAttempt { map: map.first_slice, attempt: Attempt(map.attempt) };
    let workers: Vec<_> = map.locations.iter().map(|l| l.worker.as_str()).collect();
    let from = match map.inlined {
        true => "its record".to_owned(),
        false => format!("worker {}", workers.join(", ")),
    };
    Expected::new(shuffle, partition, attempt, written, from)
}
