//! One place that blocks are read from: a location with its copies, or the inline blocks of a map.
//! Blocks of many small partitions come by one request.

use std::collections::VecDeque;
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

/// Partitions that one request reads, and maps in all of them: a frame must hold their names.
const TOGETHER_PARTITIONS: usize = 64;
const TOGETHER_MAPS: usize = 50_000;

/// A part of a shuffle that is written by one map for one partition.
pub(crate) type Cell = (PartitionId, MapAttempt);

/// Blocks of some partitions and maps, in the order in which they were wanted, then by number.
pub(crate) struct Source {
    /// Copies that were not tried yet, the next one last.
    copies: Vec<(ProcessId, Arc<dyn ShuffleApi>)>,
    /// Copies that could not be read, and why.
    failures: Vec<(ProcessId, Error)>,
    current: Option<ProcessId>,
    /// Who is asked now.
    api: Option<Arc<dyn ShuffleApi>>,
    /// What is not asked for yet, a request for each partition.
    requests: VecDeque<ReadRequest>,
    blocks: BoxStream<'static, Result<Block>>,
    /// A block that belongs to a later map than the one that is being read.
    ahead: Option<Block>,
    /// None: inline.
    shuffle: Option<ShuffleId>,
    /// The blocks were acknowledged as being in the object store.
    stored: bool,
}

impl Source {
    fn empty() -> Self {
        Self {
            copies: Vec::new(),
            failures: Vec::new(),
            current: None,
            api: None,
            requests: VecDeque::new(),
            blocks: stream::empty().boxed(),
            ahead: None,
            shuffle: None,
            stored: false,
        }
    }

    /// The blocks at one location. Does no I/O.
    pub(crate) fn open(
        workers: &dyn Workers,
        location: &Location,
        shuffle: ShuffleId,
    ) -> Result<Self> {
        let stored = location.in_object_store;
        let mut source = Self { shuffle: Some(shuffle), stored, ..Self::empty() };
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

    /// Adds a map's share of a partition to what will be read, behind what was added before.
    pub(crate) fn want(&mut self, (partition, attempt): Cell) {
        let Some(shuffle) = self.shuffle else { return };
        match self.requests.back_mut() {
            Some(ReadRequest { partition: last, maps: Some(maps), .. }) if *last == partition => {
                if maps.last() != Some(&attempt) {
                    maps.push(attempt);
                }
            }
            _ => {
                let maps = Some(vec![attempt]);
                self.requests.push_back(ReadRequest { shuffle, partition, maps });
            }
        }
    }

    /// The next block; `None` if no more comes.
    pub(crate) async fn next(&mut self) -> Result<Option<Block>> {
        if let Some(block) = self.ahead.take() {
            return Ok(Some(block));
        }
        loop {
            if let Some(block) = self.blocks.try_next().await? {
                return Ok(Some(block));
            }
            let requests = self.together();
            let Some(api) = self.api.as_ref().filter(|_| !requests.is_empty()) else {
                return Ok(None);
            };
            self.blocks = api.read_many(requests).await?;
        }
    }

    /// What the next request asks for.
    fn together(&mut self) -> Vec<ReadRequest> {
        let (mut some, mut maps) = (Vec::new(), 0);
        while let Some(next) = self.requests.front() {
            maps += next.maps.as_ref().map_or(0, Vec::len);
            let enough = some.len() >= TOGETHER_PARTITIONS || maps > TOGETHER_MAPS;
            if enough && !some.is_empty() {
                break;
            }
            some.extend(self.requests.pop_front());
        }
        some
    }

    /// The block is given out again by the next call of [`Source::next`].
    pub(crate) fn put_back(&mut self, block: Block) {
        self.ahead = Some(block);
    }

    /// The copy at hand could not be read: begins to read `due` from the next one. Without one the
    /// error says so: `Retry` if a copy may be within reach later, else `Lost`.
    pub(crate) fn fail_over(&mut self, error: Error, due: Vec<Cell>) -> Result<()> {
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
        let unread = |worker, gone| Unread { worker, gone, stored: self.stored };
        let current = self.current.map(|worker| unread(worker, false));
        let gone = |error: &Error| find::<WorkerGone>(error).is_some();
        let failed = |(worker, error): &(ProcessId, Error)| unread(*worker, gone(error));
        self.failures.iter().map(failed).chain(current).collect()
    }

    fn begin(&mut self, due: Vec<Cell>) -> bool {
        self.requests.clear();
        self.api = None;
        let Some((worker, api)) = self.copies.pop().filter(|_| self.shuffle.is_some()) else {
            return false;
        };
        self.current = Some(worker);
        self.api = Some(api);
        due.into_iter().for_each(|cell| self.want(cell));
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
