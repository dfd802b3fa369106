//! The contract between the client half of shuffle (in executors and gateways) and the server half
//! (shuffle workers). One process hands the trait object over; between processes a transport
//! implements it on both ends.

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_base::{Attempt, Error, PartitionId, ProcessId, QueryId, Result};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::block::{Block, ShuffleId};

/// The map attempts whose blocks a reader accepts: exactly one attempt for each map task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapAttempt {
    /// First slice of the range that the task ran.
    pub map: u32,
    /// The attempt that won.
    pub attempt: Attempt,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Which shuffle.
    pub shuffle: ShuffleId,
    /// Which partition of it.
    pub partition: PartitionId,
    /// Blocks of these attempts only, in this order; `None` follows: every block as it arrives,
    /// until the partition is sealed.
    pub maps: Option<Vec<MapAttempt>>,
}

/// Blocks for one location, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Push {
    /// The blocks, all of one shuffle.
    pub blocks: Vec<Block>,
    /// The worker that is to hold a second copy before the push is acknowledged.
    pub peer: Option<ProcessId>,
    /// The writer has nowhere else to go: thresholds of partitions are no reason to refuse.
    pub last_resort: bool,
    /// For whom the query runs: users share the memory of a worker, each alike whatever the number of
    /// their queries. `None`: the query counts as a user of its own.
    pub user: Option<Arc<str>>,
}

impl Push {
    /// One copy, for nobody in particular.
    pub fn plain(blocks: Vec<Block>) -> Self {
        Self { blocks, peer: None, last_resort: false, user: None }
    }
}

/// What became of a push that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// All blocks are stored.
    Stored(Ack),
    /// All blocks are to be pushed again, those of the partitions named (of all, if none is) to
    /// another location. They may have been stored here, too: a commit that does not name this
    /// location for them makes such copies count for nothing.
    Refused(Refusal, Vec<PartitionId>),
}

/// How safe acknowledged blocks are. The order is that of safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// D0: in the memory, or in an unsynced file, of one worker.
    Memory,
    /// D1: with two workers, or in a synced file of one.
    Twice,
    /// D2: in the object store.
    Object,
}

/// What an acknowledgement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The least of all blocks of the push.
    pub durability: Durability,
    /// Push more slowly: the worker's memory fills faster than it empties.
    pub slow: bool,
    /// Partitions of the push that are past their soft threshold: their next blocks should go to
    /// another location.
    pub moves: Vec<PartitionId>,
}

impl Ack {
    /// In memory, and nothing else to say.
    pub const PLAIN: Self = Self { durability: Durability::Memory, slow: false, moves: Vec::new() };
}

/// Why a worker wants blocks to go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A partition of the push is past its hard threshold.
    Large,
    /// The worker drains.
    Draining,
    /// The disk that holds a partition of the push is isolated or full.
    Disk,
    /// The peer refused, is gone, or did not answer in time.
    Peer,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Large => "a partition is past its hard threshold",
            Self::Draining => "the worker drains",
            Self::Disk => "the disk of a partition takes nothing",
            Self::Peer => "the worker of the second copy does not take it",
        })
    }
}

/// What a push waits for at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Memory, until something has left it.
    Memory,
    /// Room among the pushes that are on their way to the worker.
    Room,
    /// One of both, at the worker of the second copy.
    Peer,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Room => "room for what is on its way",
            Self::Peer => "the worker of the second copy",
        })
    }
}

/// Who pushes, and wants to know a pause from a worker that is gone.
pub trait Hear: Send + Sync {
    /// The push waits for this. Called by whoever has the word, on any thread: once the wait is longer
    /// than a short bound, again every few seconds while it goes on. Must not block. May come late,
    /// when the push has ended already: who listens looks at that.
    fn waits(&self, why: Wait);
}

/// A stream of blocks, ordered by the request's maps, then by batch.
pub type BlockStream = BoxStream<'static, Result<Block>>;

/// How much of a read a reader can take now. Implemented by a transport: what waits for a reader that
/// takes nothing should not be looked up.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Who takes the bytes: reads with the same number share what a worker has for bytes that are on
    /// their way.
    fn holder(&self) -> u64;

    /// Takes `bytes` of what the reader can take now, or nothing and gives false.
    fn try_allow(&self, bytes: u64) -> bool;

    /// The same, waiting for the reader. Not bounded: how fast it consumes is its own business.
    async fn allow(&self, bytes: u64);

    /// Nothing comes of what was allowed.
    fn give_back(&self, bytes: u64);
}

/// A shuffle worker as its clients see it.
///
/// All calls may be repeated: a block pushed twice (same [`crate::block::BlockId`]) is stored once,
/// sealing and deleting twice is once. Dropping a returned future or stream at any point leaves the
/// worker consistent: a push then happened wholly or not at all.
/// Durability: an acknowledged block is in the memory or on the disk of one worker (level D0).
#[async_trait]
pub trait ShuffleApi: Send + Sync {
    /// Stores blocks, all of one shuffle. Waits while the worker is over its memory mark (this is
    /// the back-pressure). `Exhausted`: memory and disk are full. `Fenced`: the shuffle was deleted
    /// or sealed, or the attempt was discarded. `Lost`: a block's checksum is wrong, nothing was
    /// stored. `Bug`: a different block of the same identity is there.
    async fn push(&self, blocks: Vec<Block>) -> Result<()>;

    /// As [`ShuffleApi::push`], with a second copy if the push names a peer, and with an answer
    /// that says how safe the blocks are or that they should go elsewhere. A writer that wants no
    /// more than one copy at one place may use `push`; there a refusal is `Retry`.
    ///
    /// A worker that knows nothing of copies stores one and says so: compare the level.
    async fn store(&self, push: Push) -> Result<Pushed> {
        self.push(push.blocks).await?;
        Ok(Pushed::Stored(Ack::PLAIN))
    }

    /// As [`ShuffleApi::store`]; `hear` is told while the push waits. It says nothing of the end: a push
    /// that was told to wait is stored, or refused, or an error as any other. A worker that cannot say
    /// that it waits ignores it.
    async fn store_heard(&self, push: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        drop(hear);
        self.store(push).await
    }

    /// Ends a shuffle for followers: no further block is accepted, their streams end. Repeated
    /// pushes of blocks that are there stay welcome.
    async fn seal(&self, shuffle: ShuffleId) -> Result<()>;

    /// Reads one partition. Every block is verified before it is handed out, by whoever hands it to
    /// the caller: a transport verifies on the receiving end. `Lost` names what is missing: an
    /// unknown shuffle, or a corrupt block.
    async fn read(&self, request: ReadRequest) -> Result<BlockStream>;

    /// Reads several partitions of one shuffle in one go, none of them following: the blocks of the
    /// first request, then those of the next. Otherwise as [`ShuffleApi::read`].
    async fn read_many(&self, requests: Vec<ReadRequest>) -> Result<BlockStream> {
        let mut streams = Vec::with_capacity(requests.len());
        for request in requests {
            streams.push(self.read(request).await?);
        }
        Ok(stream::iter(streams).flatten().boxed())
    }

    /// As [`ShuffleApi::read_many`], one request or several, for a reader that cannot take everything
    /// at once: `pace` is asked for [`crate::wire::block_size`] of each block, in order, before that
    /// is looked up. A worker that cannot do that ignores it.
    async fn read_paced(
        &self,
        requests: Vec<ReadRequest>,
        pace: Arc<dyn Pace>,
    ) -> Result<BlockStream> {
        drop(pace);
        let mut requests = requests;
        match (requests.len(), requests.pop()) {
            (1, Some(one)) => self.read(one).await,
            (_, last) => {
                requests.extend(last);
                self.read_many(requests).await
            }
        }
    }

    /// Forgets the blocks of one attempt that did not win.
    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()>;

    /// Removes everything of a query, from memory and disk, and refuses later pushes for it.
    async fn delete_query(&self, query: QueryId) -> Result<()>;

    /// All shuffles that the worker holds, for the sweeper. Of a query that was removed, and of which
    /// files or objects are left, there is one: removing it again is what it wants.
    async fn shuffles(&self) -> Result<Vec<ShuffleId>>;
}

impl Pushed {
    /// For a writer that cannot go elsewhere: a refusal is `Retry`.
    pub fn stored(self) -> Result<Ack> {
        match self {
            Self::Stored(ack) => Ok(ack),
            Self::Refused(why, _) => {
                Err(Error::retry(format!("blocks have to go elsewhere: {why}")))
            }
        }
    }
}

/// How a worker reaches the holder of second copies. Implemented by whoever wires processes
/// together; called for each push that names a peer.
pub trait Peers: Send + Sync {
    /// The worker of this process. Does no I/O. `Lost` if it is known to be gone.
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>>;
}
