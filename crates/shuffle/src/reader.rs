//! Blocks of some partitions from the workers that hold them, checked against what maps reported.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use dunlin_base::{Attempt, Error, PartitionId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::output::{Location, MapOutput, PartitionOutput, StageOutput};
use dunlin_proto::shuffle::MapAttempt;

use crate::expect::{Expected, Taken};
use crate::fault::ReadFault;
use crate::read::{Share, Workers};
use crate::source::Source;

/// Pulls blocks, partition by partition and map by map.
pub(crate) struct Reader {
    stage: StageId,
    sources: Vec<Source>,
    /// What is still to be read, the next one last.
    maps: Vec<Map>,
    partitions: BTreeSet<PartitionId>,
}

/// One map's share of a partition: what it must give, and where its blocks are.
struct Map {
    expected: Expected,
    route: Route,
}

/// Sources in the order of the blocks, each with the number of the first block after its own.
enum Route {
    /// Mostly there is one.
    One([(u32, usize); 1]),
    Many(Vec<(u32, usize)>),
}

impl std::ops::Deref for Route {
    type Target = [(u32, usize)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
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
    /// Does no I/O. `Lost` or `Retry` if some blocks have no holder any more.
    pub(crate) fn open(
        workers: &dyn Workers,
        (query, stage): (QueryId, StageId),
        shares: &[Share],
        output: &StageOutput,
    ) -> Result<Self> {
        let partitions = shares.iter().map(|share| share.partition).collect();
        let alike = alike(&output.maps);
        let mut opening = Opening {
            workers,
            known: HashMap::new(),
            sources: vec![Vec::new(); alike.last().map_or(0, |last| last.group + 1)],
            reader: Self { stage, sources: Vec::new(), maps: Vec::new(), partitions },
        };
        for share in shares {
            for (map, alike) in output.maps.iter().zip(&alike) {
                let Some(written) = written(map, share) else { continue };
                let shuffle = ShuffleId { query, stage, epoch: StageEpoch(map.epoch) };
                let attempt = MapAttempt { map: map.first_slice, attempt: Attempt(map.attempt) };
                let from = Arc::clone(&alike.from);
                let expected = Expected::new(shuffle, share.partition, attempt, written, from);
                let route = opening.route(shuffle, &expected, (map, alike.group), written)?;
                opening.reader.maps.push(Map { expected, route });
            }
        }
        let mut reader = opening.reader;
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
        let maps = once(maps.iter().map(|expected| expected.attempt));
        ReadFault::attach(source.failure(), self.stage, source.holders(), maps).context(place)
    }

    /// The next block in order; `None` when all maps have given what they reported.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>> {
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
                Taken::Other if is_due(later, at, &block) => {
                    source.put_back(block);
                    break;
                }
                Taken::Other if !self.partitions.contains(&block.id.partition) => {
                    return Err(map.expected.strange(&block));
                }
                // Of a map that was read already, or that nobody asked for.
                Taken::Other => {}
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
        let due = due.map(|map| (map.expected.partition, map.expected.attempt)).collect();
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
        let rest = self.maps.iter().rev().skip(1).filter(|map| map.wants(at));
        let rest = rest.map(|map| map.expected.attempt);
        let maps = once(std::iter::once(map.expected.attempt).chain(rest));
        let holders = self.sources[at].holders();
        if holders.is_empty() {
            return error;
        }
        ReadFault::attach(error, self.stage, holders, maps)
    }
}

/// True if one of the maps that are still to be read from this source wants the block.
fn is_due(later: &[Map], source: usize, block: &Block) -> bool {
    let cell = (block.id.partition, block.id.map);
    let of = |map: &Map| (map.expected.partition, map.expected.attempt.map);
    let wants = |map: &Map| of(map) == cell && map.wants(source);
    later.iter().rev().any(wants)
}

/// What a map wrote of a share, if it has rows.
fn written<'a>(map: &'a MapOutput, share: &Share) -> Option<&'a PartitionOutput> {
    if !share.has(map.first_slice) {
        return None;
    }
    // Writers report them in ascending order, and mostly all: then one look finds it.
    let (id, all) = (share.partition.0, &map.partitions);
    let guess = all.get(id as usize).filter(|written| written.partition == id);
    let found = guess.or_else(|| {
        let found = all.binary_search_by_key(&id, |p| p.partition);
        found.ok().and_then(|at| all.get(at))
    });
    found.filter(|written| written.blocks > 0)
}

/// What maps with the same locations have together: most maps have the same.
#[derive(Clone)]
struct Alike {
    /// Where their blocks come from, for messages.
    from: Arc<str>,
    /// Their number in [`Opening::sources`].
    group: usize,
}

/// That of each map.
fn alike(maps: &[MapOutput]) -> Vec<Alike> {
    let mut all: Vec<Alike> = Vec::with_capacity(maps.len());
    for (at, map) in maps.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &maps[before]);
        let same = |b: &&MapOutput| {
            (b.inlined, b.epoch, &b.locations) == (map.inlined, map.epoch, &map.locations)
        };
        let last = all.last().filter(|_| before.as_ref().is_some_and(same)).cloned();
        let group = all.last().map_or(0, |last| last.group + 1);
        all.push(last.unwrap_or_else(|| Alike { from: from(map).into(), group }));
    }
    all
}

/// Where a map's blocks come from, for messages.
fn from(map: &MapOutput) -> String {
    let workers: Vec<_> = map.locations.iter().map(|l| l.worker.as_str()).collect();
    match map.inlined {
        true => "its record".to_owned(),
        false => format!("worker {}", workers.join(", ")),
    }
}

/// Each of them once: a map may have written several partitions.
fn once(maps: impl Iterator<Item = MapAttempt>) -> Vec<MapAttempt> {
    let mut seen = BTreeSet::new();
    maps.filter(|map| seen.insert(*map)).collect()
}

/// A reader that is made.
struct Opening<'a> {
    workers: &'a dyn Workers,
    /// The source of each location and epoch.
    known: HashMap<(Location, u32), usize>,
    /// The source of each location of the maps of a group, as far as it was opened. There is a map for
    /// each partition: to compare names for each would take longer than all else here.
    sources: Vec<Vec<Option<usize>>>,
    reader: Reader,
}

impl Opening<'_> {
    /// The sources of a map's blocks, in order.
    fn route(
        &mut self,
        shuffle: ShuffleId,
        expected: &Expected,
        (map, group): (&MapOutput, usize),
        written: &PartitionOutput,
    ) -> Result<Route> {
        if map.inlined {
            let source = Source::inline(expected, &map.inline_blocks)?;
            return Ok(Route::One([(written.blocks, self.add(source))]));
        }
        let mut to = |(end, index): (u32, u32)| {
            let known = self.sources[group].get(index as usize).copied().flatten();
            let source = match known {
                Some(source) => source,
                None => {
                    let location = map.locations.get(index as usize).ok_or_else(|| {
                        Error::invalid(format!("{}: it names no location", expected.place()))
                    })?;
                    let source = self.source(shuffle, expected, location)?;
                    self.sources[group].resize(map.locations.len(), None);
                    self.sources[group][index as usize] = Some(source);
                    source
                }
            };
            self.reader.sources[source].want((expected.partition, expected.attempt));
            Ok((end, source))
        };
        if written.parts.is_empty() {
            return Ok(Route::One([to((written.blocks, written.location))?]));
        }
        let mut end = 0_u32;
        let parts = written.parts.iter().map(|part| {
            end = end.saturating_add(part.blocks);
            to((end, part.location))
        });
        Ok(Route::Many(parts.collect::<Result<_>>()?))
    }

    /// The source of a location, opened with its first map.
    fn source(
        &mut self,
        shuffle: ShuffleId,
        expected: &Expected,
        location: &Location,
    ) -> Result<usize> {
        let key = (location.clone(), shuffle.epoch.0);
        Ok(match self.known.get(&key) {
            Some(source) => *source,
            None => {
                let source = Source::open(self.workers, location, shuffle);
                let source = self.add(source.map_err(|e| e.context(expected.place()))?);
                self.known.insert(key, source);
                source
            }
        })
    }

    fn add(&mut self, source: Source) -> usize {
        self.reader.sources.push(source);
        self.reader.sources.len() - 1
    }
}
