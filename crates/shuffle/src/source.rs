//! One place that blocks are read from: a location with its copies, or the inline blocks of a map.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Error, Kind, PartitionId, ProcessId, Result};
use dunlin_proto::block::{Block, HEADER_LEN, ShuffleId};
use dunlin_proto::output::Location;
use dunlin_proto::shuffle::{MapAttempt, ReadRequest, ShuffleApi};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::expect::Expected;
use crate::fault::{Unread, WorkerGone, find};
use crate::read::Workers;

/// Blocks of some maps, in the order of the maps, then by number.
pub(crate) struct Source {
    /// Copies that were not tried yet, the next one last.
    copies: Vec<(ProcessId, Arc<dyn ShuffleApi>)>,
    /// Copies that could not be read, and why.
    failures: Vec<(ProcessId, Error)>,
    current: Option<ProcessId>,
    /// What to read when the next block is wanted.
    request: Option<(Arc<dyn ShuffleApi>, ReadRequest)>,
    blocks: BoxStream<'static, Result<Block>>,
    /// A block that belongs to a later map than the one that is being read.
    ahead: Option<Block>,
    shuffle: Option<(ShuffleId, PartitionId)>,
}

impl Source {
    fn empty() -> Self {
        Self {
            copies: Vec::new(),
            failures: Vec::new(),
            current: None,
            request: None,
            blocks: stream::empty().boxed(),
            ahead: None,
            shuffle: None,
        }
    }

    /// The blocks at one location. Does no I/O.
    pub(crate) fn open(
        workers: &dyn Workers,
        location: &Location,
        shuffle: ShuffleId,
        partition: PartitionId,
    ) -> Result<Self> {
        let mut source = Self { shuffle: Some((shuffle, partition)), ..Self::empty() };
        // The last is tried first.
        for holder in [&location.peer, &location.worker] {
            if holder.is_empty() {
                continue;
            }
            let id: ProcessId = holder.parse()?;
            match workers.connect(id) {
                Ok(api) => source.copies.push((id, api)),
                Err(error) => source.failures.push((id, error)),
            }
        }
        source.begin(Vec::new());
        Ok(source)
    }

    /// Blocks of `expected`'s partition among those in the record. They were checked by nobody
    /// yet, unlike those of a worker.
    pub(crate) fn inline(expected: &Expected, blocks: &[Bytes]) -> Result<Self> {
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
        Ok(Self { blocks: stream::iter(mine).boxed(), ..Self::empty() })
    }

    /// True if it was clear from the start that no copy is left.
    pub(crate) fn is_gone(&self) -> bool {
        self.shuffle.is_some() && self.current.is_none()
    }

    /// Adds a map to what will be read.
    pub(crate) fn want(&mut self, attempt: MapAttempt) {
        if let Some((_, ReadRequest { maps: Some(maps), .. })) = &mut self.request
            && maps.last() != Some(&attempt)
        {
            maps.push(attempt);
        }
    }

    /// The next block; `None` if no more comes.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>> {
        if let Some(block) = self.ahead.take() {
            return Ok(Some(block));
        }
        if let Some((api, request)) = self.request.take() {
            self.blocks = api.read(request).await?;
        }
        self.blocks.try_next().await
    }

    /// The block is given out again by the next call of [`Source::next`].
    pub(crate) fn put_back(&mut self, block: Block) {
        self.ahead = Some(block);
    }

    /// The copy at hand could not be read: begins to read `due` from the next one. Without one the
    /// error says so: `Retry` if a copy may be within reach later, else `Lost`.
    pub(crate) fn fail_over(&mut self, error: Error, due: Vec<MapAttempt>) -> Result<()> {
        let Some(failed) = self.current.take() else { return Err(error) };
        self.failures.push((failed, error));
        self.ahead = None;
        self.blocks = stream::empty().boxed();
        if !self.begin(due) {
            return Err(self.failure());
        }
        let next = self.current;
        tracing::info!(%failed, ?next, "reading the other copy of a shuffle");
        Ok(())
    }

    /// Everybody who was to hold the blocks and could not be read from.
    pub(crate) fn holders(&self) -> Vec<Unread> {
        let current = self.current.map(|worker| Unread { worker, gone: false });
        let gone = |error: &Error| find::<WorkerGone>(error).is_some();
        let failed =
            |(worker, error): &(ProcessId, Error)| Unread { worker: *worker, gone: gone(error) };
        self.failures.iter().map(failed).chain(current).collect()
    }

    fn begin(&mut self, maps: Vec<MapAttempt>) -> bool {
        let (Some((shuffle, partition)), Some((worker, api))) = (self.shuffle, self.copies.pop())
        else {
            return false;
        };
        self.current = Some(worker);
        self.request = Some((api, ReadRequest { shuffle, partition, maps: Some(maps) }));
        true
    }

    /// Why no copy can be read.
    pub(crate) fn failure(&self) -> Error {
        let errors = || self.failures.iter().map(|(_, error)| error);
        let may_come_back = errors().find(|error| error.kind() == Kind::Retry);
        let error = may_come_back.or_else(|| errors().next_back()).cloned();
        error.unwrap_or_else(|| Error::bug("a shuffle is read from nowhere"))
    }
}
