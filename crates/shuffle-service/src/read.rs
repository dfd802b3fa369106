//! Block streams: about a megabyte at a time is located, read from disk if need be, verified and
//! handed out, and the next ones are read meanwhile. A slow reader therefore pins little memory, and a
//! flush may happen in between.
//!
//! A reader with a [`Pace`] is in another process: for it no more is located than it has granted
//! credit for, and what is located is charged to the bytes on their way until its socket has taken it.
//! A reader of this process takes what it wants when it wants it, so it must not hold up others.

use std::sync::Arc;

use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{BlockStream, MapAttempt, Pace};
use dunlin_proto::wire::size_of_body;
use futures::{StreamExt, TryStreamExt, stream};

use crate::core::Core;
use crate::extent::Home;
use crate::load::fetch;
use crate::partition::{Key, Located, Partition};
use crate::shuffle::{Phase, Shuffle};
use crate::transit::charged;

/// Bytes located and read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// The same while much is on its way to others.
const TIGHT_BYTES: usize = 128 << 10;

/// Chunks that are read while those before them go out: disks and sockets work at the same time.
const AHEAD: usize = 3;

/// Keys that a follower takes at once.
const CHUNK_KEYS: usize = 256;

/// Whose reader it is; `None`: one of this process.
pub(crate) type Paced = Option<Arc<dyn Pace>>;

/// Blocks that are to be read, as far as they are not located yet.
struct Cursor {
    /// The last one is the next.
    left: Vec<(Arc<Partition>, Vec<Key>)>,
    /// The next key of the next partition.
    next: usize,
}

type Chunk = Result<Vec<Located>>;

impl Cursor {
    /// Where the next block is.
    fn first(&mut self) -> Option<Option<Located>> {
        let (partition, keys) = self.rest()?;
        partition.locate(&keys[..1], 0).pop()
    }

    /// The partition and the keys of it that come next.
    fn rest(&mut self) -> Option<(&Arc<Partition>, &[Key])> {
        while self.left.last().is_some_and(|(_, keys)| self.next == keys.len()) {
            self.left.pop();
            self.next = 0;
        }
        let (partition, keys) = self.left.last()?;
        Some((partition, &keys[self.next..]))
    }

    /// The next chunk, as much of it as the pace allows; of several partitions if they are small. `None`
    /// at the end. It has at least one block. `Lost` if the next one is not there any more.
    async fn chunk(&mut self, pace: &Paced, most: impl Fn() -> usize) -> Option<Chunk> {
        // Only its size is kept while the reader takes nothing.
        let first = self.first()?.map_or(0, |located| size_of_body(located.length));
        if let Some(pace) = pace
            && !pace.try_allow(first)
        {
            pace.allow(first).await;
        }
        let (mut chunk, mut bytes, most) = (Vec::new(), 0, most());
        while let Some((partition, keys)) = self.rest() {
            let shuffle = partition.shuffle();
            for located in partition.locate(keys, most - bytes) {
                let Some(located) = located else {
                    if chunk.is_empty()
                        && let Some(pace) = pace
                    {
                        pace.give_back(first);
                    }
                    let gone = format!("shuffle {shuffle} was removed while read");
                    return Some(if chunk.is_empty() { Err(Error::lost(gone)) } else { Ok(chunk) });
                };
                let refuses = |pace: &Arc<dyn Pace>| !pace.try_allow(size_of_body(located.length));
                if !chunk.is_empty() && pace.as_ref().is_some_and(refuses) {
                    return Some(Ok(chunk));
                }
                bytes += located.length;
                self.next += 1;
                chunk.push(located);
            }
            if bytes >= most {
                break;
            }
        }
        Some(Ok(chunk))
    }
}

/// The blocks of these attempts that are there now: partition by partition, in the order of `maps`,
/// then by batch.
pub(crate) fn by_maps(
    core: Arc<Core>,
    reads: Vec<(Arc<Partition>, Vec<MapAttempt>)>,
    pace: Paced,
) -> BlockStream {
    let keys = |(partition, maps): (Arc<Partition>, Vec<MapAttempt>)| {
        let keys = partition.keys(&maps);
        (partition, keys)
    };
    let cursor = Cursor { left: reads.into_iter().rev().map(keys).collect(), next: 0 };
    let start = (cursor, pace.clone(), Arc::clone(&core));
    let located = stream::unfold(start, |(mut cursor, pace, core)| async move {
        let chunk = cursor.chunk(&pace, || most(&core)).await?;
        if chunk.is_err() {
            // What comes after a block that is gone is of no use.
            cursor.left.clear();
        }
        Some((chunk, (cursor, pace, core)))
    });
    let fetched = located.map(move |chunk| bring(&core, chunk, &pace));
    flatten(fetched.buffered(AHEAD))
}

/// Bytes of the next chunk: less if much is on its way, or if little may be.
fn most(core: &Core) -> usize {
    let pool = &core.transit.reads;
    let bytes = if pool.is_tight() { TIGHT_BYTES } else { CHUNK_BYTES };
    bytes.min(pool.share_of(16)).max(1)
}

/// The blocks of a chunk with their bodies. For a reader with a pace, room for them is asked for at
/// once, so in the order of the chunks, and given back when the last of them is gone.
fn bring(
    core: &Arc<Core>,
    chunk: Chunk,
    pace: &Paced,
) -> impl Future<Output = Result<Vec<Block>>> + Send + use<> {
    let cost = chunk.as_ref().map_or(0, |chunk| chunk.iter().map(cost).sum());
    let room = pace.as_ref().map(|pace| core.transit.reads.take(pace.holder(), cost));
    let core = Arc::clone(core);
    async move {
        let chunk = chunk?;
        let Some(room) = room else { return fetch(&core, chunk).await };
        let charge = room.await;
        let mut blocks = fetch(&core, chunk).await?;
        // They go through one socket, one after the other: the last one is the last to go. An empty body
        // is not sent.
        let last = blocks.iter_mut().rfind(|block| !block.body.is_empty());
        if let Some(Block { body, .. }) = last {
            *body = charged(std::mem::take(body), charge);
        }
        Ok(blocks)
    }
}

/// What a block takes until a socket has it.
fn cost(located: &Located) -> u64 {
    let bytes = size_of_body(located.length);
    match located.home {
        // What the store gives is copied.
        Some((Home::Object(_), _)) => 2 * bytes,
        _ => bytes,
    }
}

/// All blocks of the partition in order of arrival, waiting for more until the shuffle is sealed.
/// Ends with `Lost` if the shuffle is deleted.
pub(crate) fn follow(
    core: Arc<Core>,
    shuffle: Arc<Shuffle>,
    (id, partition): (ShuffleId, PartitionId),
    pace: Paced,
) -> BlockStream {
    let partition = shuffle.partition_or_new(partition);
    let cursor = Cursor { left: Vec::new(), next: 0 };
    let start = (core, shuffle, partition, (0, cursor), pace);
    let chunks = stream::try_unfold(start, move |state| async move {
        let (core, shuffle, partition, (mut seen, mut cursor), pace) = state;
        let chunk = loop {
            match cursor.first() {
                // Discarded meanwhile: not the follower's business.
                Some(None) => cursor.next += 1,
                Some(Some(_)) => {
                    if let Some(Ok(chunk)) = cursor.chunk(&pace, || most(&core)).await {
                        break chunk;
                    }
                }
                None => match arrivals(&shuffle, &partition, seen, id).await? {
                    None => return Ok(None),
                    Some(keys) => {
                        seen += keys.len();
                        cursor = Cursor { left: vec![(Arc::clone(&partition), keys)], next: 0 };
                    }
                },
            }
        };
        let blocks = bring(&core, Ok(chunk), &pace).await?;
        Ok(Some((blocks, (core, shuffle, partition, (seen, cursor), pace))))
    });
    flatten(chunks)
}

async fn arrivals(
    shuffle: &Shuffle,
    partition: &Partition,
    next: usize,
    id: ShuffleId,
) -> Result<Option<Vec<Key>>> {
    loop {
        let mut arrived = std::pin::pin!(partition.arrived.notified());
        arrived.as_mut().enable();
        // The phase is read before the keys: after a seal nothing more can come.
        let phase = shuffle.phase();
        let keys = partition.arrivals(next, CHUNK_KEYS);
        match phase {
            Phase::Deleted => return Err(Error::lost(format!("shuffle {id} was deleted"))),
            _ if !keys.is_empty() => return Ok(Some(keys)),
            Phase::Sealed => return Ok(None),
            Phase::Open => arrived.await,
        }
    }
}

fn flatten(chunks: impl stream::Stream<Item = Result<Vec<Block>>> + Send + 'static) -> BlockStream {
    chunks.map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok))).try_flatten().boxed()
}
