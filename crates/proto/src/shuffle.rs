//! The contract between the client half of shuffle (in executors and gateways) and the server half
//! (shuffle workers). One process hands the trait object over; between processes a transport
//! implements it on both ends.

use async_trait::async_trait;
use dunlin_base::{Attempt, PartitionId, QueryId, Result};
use futures::stream::BoxStream;

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

/// A stream of blocks, ordered by the request's maps, then by batch.
pub type BlockStream = BoxStream<'static, Result<Block>>;

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

    /// Ends a shuffle for followers: no further block is accepted, their streams end. Repeated
    /// pushes of blocks that are there stay welcome.
    async fn seal(&self, shuffle: ShuffleId) -> Result<()>;

    /// Reads one partition. Every block is verified before it is handed out, by whoever hands it to
    /// the caller: a transport verifies on the receiving end. `Lost` names what is missing: an
    /// unknown shuffle, or a corrupt block.
    async fn read(&self, request: ReadRequest) -> Result<BlockStream>;

    /// Forgets the blocks of one attempt that did not win.
    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()>;

    /// Removes everything of a query, from memory and disk, and refuses later pushes for it.
    async fn delete_query(&self, query: QueryId) -> Result<()>;

    /// All shuffles that the worker holds, for the sweeper.
    async fn shuffles(&self) -> Result<Vec<ShuffleId>>;
}
