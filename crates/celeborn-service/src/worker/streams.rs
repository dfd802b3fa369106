//! Streams: a location, or some maps of it, cut into chunks that a client asks for by number.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_celeborn::frame::{Slice, StreamId};
use dunlin_celeborn::ids::{FileName, ShuffleKey};
use dunlin_celeborn::pb;
use dunlin_celeborn::status::StatusCode;
use dunlin_shuffle_service::{BlockAt, Order};
use parking_lot::Mutex;

use super::floor::Floor;
use super::shuffle::Place;
use crate::auth::Caller;

/// A chunk ends with the block that brings it to this. As with Celeborn's worker.
const CHUNK_LEN: u64 = 8 << 20;

/// Streams that one connection may have open. A client opens one for each location that it reads.
const STREAMS_MAX: usize = 100_000;

/// All open streams.
#[derive(Default)]
pub(super) struct Streams {
    next: AtomicI64,
    open: Mutex<HashMap<StreamId, Arc<Stream>>>,
    /// How many each connection has.
    counts: Mutex<HashMap<u64, usize>>,
}

/// Blocks of a location, in chunks.
pub(super) struct Stream {
    connection: u64,
    application: Arc<str>,
    place: Place,
    blocks: Vec<BlockAt>,
    chunks: Vec<Range<usize>>,
}

/// Which blocks make a chunk: as many as bring it to [`CHUNK_LEN`].
pub(super) fn cut(blocks: &[BlockAt]) -> Vec<Range<usize>> {
    let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, block) in blocks.iter().enumerate() {
        bytes += block.bytes;
        if bytes >= CHUNK_LEN {
            chunks.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    if start < blocks.len() {
        chunks.push(start..blocks.len());
    }
    chunks
}

/// What a client wants to read of a location.
fn order(start: i32, end: i32) -> Order {
    match (start, end) {
        // Some chunks of all: the client chooses them by their numbers.
        _ if end == i32::MAX || start > end => Order::Arrival,
        _ => Order::Maps(start.max(0).cast_unsigned()..end.max(0).cast_unsigned()),
    }
}

impl Streams {
    fn add(&self, stream: Stream) -> Result<StreamId> {
        {
            let mut counts = self.counts.lock();
            let count = counts.entry(stream.connection).or_default();
            if *count >= STREAMS_MAX {
                return Err(Error::exhausted("a client has too many open streams"));
            }
            *count += 1;
        }
        let id = StreamId(self.next.fetch_add(1, Relaxed));
        self.open.lock().insert(id, Arc::new(stream));
        Ok(id)
    }

    fn get(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.open.lock().get(&id).cloned()
    }

    /// A client has read what it wanted. Streams of others do not end by it.
    pub(super) fn end(&self, caller: &Caller, id: StreamId) {
        let may = |stream: &Arc<Stream>| caller.may(&stream.application).is_ok();
        if !self.get(id).is_some_and(|stream| may(&stream)) {
            return;
        }
        let Some(stream) = self.open.lock().remove(&id) else { return };
        if let Some(count) = self.counts.lock().get_mut(&stream.connection) {
            *count = count.saturating_sub(1);
        }
    }

    /// A client has gone.
    pub(super) fn end_all_of(&self, connection: u64) {
        if self.counts.lock().remove(&connection).is_some() {
            self.open.lock().retain(|_, stream| stream.connection != connection);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

impl Floor {
    /// Opens a stream. An error is sent to the client: what is not here is never an empty stream.
    pub(super) async fn open(
        &self,
        connection: u64,
        asked: &pb::OpenStream,
    ) -> Result<pb::StreamHandler> {
        let opened = self.open_one(connection, asked).await;
        self.counters.opened[usize::from(opened.is_err())].fetch_add(1, Relaxed);
        if let Err(error) = &opened {
            let (shuffle, file) = (&asked.shuffle_key, &asked.file_name);
            tracing::info!(shuffle, file, %error, "a stream cannot be opened");
        }
        opened
    }

    async fn open_one(&self, connection: u64, asked: &pb::OpenStream) -> Result<pb::StreamHandler> {
        if asked.read_local_shuffle {
            return Err(Error::invalid("clients do not read the files of this worker themselves")
                .with_hint("set spark.celeborn.client.readLocalShuffleFile.enabled to false"));
        }
        let key: ShuffleKey = asked.shuffle_key.parse()?;
        let name: FileName = asked.file_name.parse()?;
        let not_here = || Error::lost(format!("shuffle {key} is not on this worker"));
        let shuffle = self.shuffle(&key).await?.ok_or_else(not_here)?;
        let place = Place::of(shuffle.query, name);
        let order = order(asked.start_index, asked.end_index);
        let blocks = match self.core.contents(place.shuffle, place.partition, &order) {
            Ok(blocks) => blocks,
            // It was reserved, and nobody pushed anything.
            Err(_) if shuffle.location(name).is_some() => Vec::new(),
            Err(error) => return Err(error.context(format!("{key} {name}"))),
        };
        let chunks = cut(&blocks);
        let num_chunks = i32::try_from(chunks.len())
            .map_err(|_| Error::exhausted("a location has too many chunks"))?;
        let application = key.application;
        let stream = Stream { connection, application, place, blocks, chunks };
        let stream_id = self.streams.add(stream)?.0;
        Ok(pb::StreamHandler { stream_id, num_chunks, ..Default::default() })
    }

    /// Opens one stream for each entry, in order; what went wrong is in the entry.
    pub(super) async fn open_all(
        &self,
        connection: u64,
        asked: &pb::OpenStreamList,
    ) -> Result<pb::OpenStreamListResponse> {
        let (starts, ends) = (&asked.start_index, &asked.end_index);
        let count = asked.file_name.len();
        if starts.len() != count || ends.len() != count {
            return Err(Error::invalid("the lists of a batch open differ in length"));
        }
        let mut stream_handler_opt = Vec::with_capacity(count);
        for (at, file_name) in asked.file_name.iter().enumerate() {
            let one = pb::OpenStream {
                shuffle_key: asked.shuffle_key.clone(),
                file_name: file_name.clone(),
                start_index: starts[at],
                end_index: ends[at],
                read_local_shuffle: asked.read_local_shuffle.get(at).copied().unwrap_or(false),
                ..Default::default()
            };
            stream_handler_opt.push(match self.open(connection, &one).await {
                Ok(handler) => pb::StreamHandlerOpt {
                    status: StatusCode::Success.number(),
                    stream_handler: Some(handler),
                    ..Default::default()
                },
                Err(error) => pb::StreamHandlerOpt {
                    status: StatusCode::OpenStreamFailed.number(),
                    error_msg: error.to_string(),
                    ..Default::default()
                },
            });
        }
        Ok(pb::OpenStreamListResponse { stream_handler_opt })
    }

    /// The bytes of a chunk, or of the part of it that is asked for, in pieces.
    pub(super) async fn chunk(
        &self,
        (connection, caller): (u64, &Caller),
        slice: Slice,
    ) -> Result<Vec<Bytes>> {
        let unknown = || Error::lost(format!("stream {} is not open", slice.stream.0));
        // Any connection of the application may read it: a client that lost its one has another.
        let stream = self.streams.get(slice.stream).ok_or_else(unknown)?;
        caller.may(&stream.application)?;
        let index = usize::try_from(slice.chunk).ok();
        let chunk = index.and_then(|index| stream.chunks.get(index)).ok_or_else(|| {
            let (id, count) = (slice.stream.0, stream.chunks.len());
            Error::invalid(format!("stream {id} has {count} chunks, and no chunk {}", slice.chunk))
        })?;
        let Place { shuffle, partition } = stream.place;
        let blocks = &stream.blocks[chunk.clone()];
        let read = self.core.blocks(shuffle, partition, (connection, blocks)).await?;
        let bodies = read.into_iter().map(|block| block.body);
        part(bodies.collect(), slice)
    }
}

/// The part of a chunk that a client asks for; all of it, if it does not say.
fn part(bodies: Vec<Bytes>, slice: Slice) -> Result<Vec<Bytes>> {
    let (from, length) = (usize::try_from(slice.offset), usize::try_from(slice.len));
    let (Ok(from), Ok(length)) = (from, length) else {
        return Err(Error::invalid("a part of a chunk begins before it or has no length"));
    };
    if (slice.offset, slice.len) == (0, i32::MAX) {
        return Ok(bodies);
    }
    let (mut skip, mut left) = (from, length);
    let cut = |body: Bytes| {
        let start = skip.min(body.len());
        let end = start + left.min(body.len() - start);
        (skip, left) = (skip - start, left - (end - start));
        (start < end).then(|| body.slice(start..end))
    };
    Ok(bodies.into_iter().filter_map(cut).collect())
}

#[cfg(test)]
mod tests {
    use dunlin_base::Attempt;

    use super::*;

    fn blocks(sizes: &[u64]) -> Vec<BlockAt> {
        let block = |(batch, bytes): (u32, &u64)| BlockAt {
            map: 0,
            attempt: Attempt(0),
            batch,
            bytes: *bytes,
        };
        (0..).zip(sizes).map(block).collect()
    }

    #[test]
    fn chunks_are_whole_blocks_up_to_the_length() {
        const M: u64 = 1 << 20;
        let cut = |sizes: &[u64]| -> Vec<(usize, usize)> {
            cut(&blocks(sizes)).into_iter().map(|chunk| (chunk.start, chunk.end)).collect()
        };
        assert_eq!(cut(&[]), []);
        assert_eq!(cut(&[1, 2]), [(0, 2)]);
        assert_eq!(cut(&[4 * M, 4 * M, 1]), [(0, 2), (2, 3)]);
        assert_eq!(cut(&[4 * M, 4 * M - 1, 9 * M]), [(0, 3)]);
        assert_eq!(cut(&[20 * M, 1]), [(0, 1), (1, 2)]);
    }

    #[test]
    fn a_range_of_maps_is_one_only_if_it_is_not_all() {
        assert_eq!(order(0, i32::MAX), Order::Arrival);
        assert_eq!(order(3, 7), Order::Maps(3..7));
        assert_eq!(order(3, 3), Order::Maps(3..3));
        assert_eq!(order(7, 3), Order::Arrival, "some chunks of all");
    }

    #[test]
    fn a_part_of_a_chunk_is_cut_across_its_blocks() {
        let bodies = || vec![Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        let get = |offset, len| {
            let slice = Slice { offset, len, ..Slice::whole(StreamId(1), 0) };
            part(bodies(), slice).map(|pieces| pieces.concat())
        };
        assert_eq!(get(0, i32::MAX).expect("all"), b"abcdefg");
        assert_eq!(get(2, 3).expect("some"), b"cde");
        assert_eq!(get(5, 100).expect("the end"), b"fg");
        assert_eq!(get(100, 1).expect("nothing"), b"");
        assert!(get(-1, 1).is_err() && get(0, -1).is_err());
    }
}
