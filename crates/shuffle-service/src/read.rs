//! Block streams: about a megabyte at a time is located, read from disk if need be, verified and
//! handed out, and the next ones are read meanwhile. A slow reader therefore pins little memory, and a
//! flush may happen in between.

use std::sync::Arc;

use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{BlockStream, MapAttempt};
use futures::{StreamExt, TryStreamExt, stream};

use crate::core::Core;
use crate::load::fetch;
use crate::partition::{Key, Partition};
use crate::shuffle::{Phase, Shuffle};

/// Bytes located and read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Chunks that are read while those before them go out: disks and sockets work at the same time.
const AHEAD: usize = 3;

/// Keys that a follower takes at once.
const CHUNK_KEYS: usize = 256;

/// The blocks of these attempts that are there now, in the order of `maps`, then by batch.
pub(crate) fn by_maps(
    core: Arc<Core>,
    partition: Arc<Partition>,
    maps: &[MapAttempt],
) -> BlockStream {
    let keys = partition.keys(maps);
    let gone = Error::lost(format!("shuffle {} was removed while read", partition.shuffle()));
    let located = stream::unfold((partition, keys, 0), |(partition, keys, next)| async move {
        if next == keys.len() {
            return None;
        }
        let located = partition.locate(&keys[next..], CHUNK_BYTES);
        let next = next + located.len();
        Some((located, (partition, keys, next)))
    });
    let fetched = located.map(move |located| {
        let (core, gone) = (Arc::clone(&core), gone.clone());
        async move {
            let all: Option<Vec<_>> = located.into_iter().collect();
            fetch(&core, all.ok_or(gone)?).await
        }
    });
    flatten(fetched.buffered(AHEAD))
}

/// All blocks of the partition in order of arrival, waiting for more until the shuffle is sealed.
/// Ends with `Lost` if the shuffle is deleted.
pub(crate) fn follow(
    core: Arc<Core>,
    shuffle: Arc<Shuffle>,
    id: ShuffleId,
    partition: PartitionId,
) -> BlockStream {
    let partition = shuffle.partition_or_new(partition);
    let start = (core, shuffle, partition, 0);
    let chunks = stream::try_unfold(start, move |(core, shuffle, partition, next)| async move {
        let Some(keys) = arrivals(&shuffle, &partition, next, id).await? else { return Ok(None) };
        let located = partition.locate(&keys, CHUNK_BYTES);
        let next = next + located.len();
        // Discarded meanwhile: not the follower's business.
        let blocks = fetch(&core, located.into_iter().flatten().collect()).await?;
        Ok(Some((blocks, (core, shuffle, partition, next))))
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
