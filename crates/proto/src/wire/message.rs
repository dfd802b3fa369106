//! What can be said on a connection. A client says [`Hello`], then asks, grants credit and cancels;
//! a worker says [`Welcome`], then answers. Both ping, and say why they leave.

use bytes::Bytes;
use dunlin_base::{Error, ProcessId, QueryId};

use crate::block::{Block, HEADER_LEN, ShuffleId};
use crate::shuffle::{MapAttempt, Push, Pushed, ReadRequest, Wait};

use super::frame::FrameType;

/// The version of this protocol. Both ends must speak the same; it changes when a frame of an
/// older build would be misunderstood, not when a field is added.
pub const VERSION: u32 = 1;

/// A request on one connection. A client never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Who a client is and whom it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its protocol version.
    pub version: u32,
    /// Its build, for logs. Cut to 128 bytes on the wire.
    pub build: String,
    /// The process that it wants to talk to.
    pub worker: ProcessId,
    /// Reserved: hash of a bearer token.
    pub token_hash: Bytes,
}

/// Who a worker is and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Its protocol version.
    pub version: u32,
    /// Its build, for logs. Cut to 128 bytes on the wire.
    pub build: String,
    /// The process that answers.
    pub worker: ProcessId,
    /// What the client must keep.
    pub terms: Terms,
}

/// Limits of one connection. A client that exceeds them loses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Requests in flight that are not reads.
    pub calls_max: u32,
    /// Reads in flight.
    pub reads_max: u32,
    /// Bytes of the frames of all requests in flight.
    pub bytes_max: u64,
    /// Bytes of the body of one frame.
    pub body_max: u64,
    /// The worker understands [`Ask::ReadMany`].
    pub reads_many: bool,
}

/// The answers to a push that a client understands; who knows one knows those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hears {
    /// [`Answer::Done`] and [`Answer::Failed`].
    Ends,
    /// [`Answer::Pushed`].
    Pushed,
    /// [`Answer::Waiting`].
    Waiting,
}

/// A request: the calls of [`crate::shuffle::ShuffleApi`].
#[derive(Clone, Debug)]
pub enum Ask {
    /// Store blocks, and answer what the client understands.
    Push(Push, Hears),
    /// End a shuffle for followers.
    Seal(ShuffleId),
    /// Read a partition; the number is the credit in bytes (see [`block_size`]) to begin with.
    Read(ReadRequest, u64),
    /// Read several partitions of one shuffle, one after the other, none of them following; the
    /// credit is for all.
    ReadMany(Vec<ReadRequest>, u64),
    /// Forget an attempt.
    Discard(ShuffleId, MapAttempt),
    /// Remove a query.
    DeleteQuery(QueryId),
    /// List all shuffles.
    Shuffles,
}

/// What a worker says about a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It has ended well. Nothing follows.
    Done,
    /// It has failed. Nothing follows.
    Failed(Error),
    /// A read has begun.
    Opened,
    /// The next blocks of a read.
    Blocks(Vec<Block>),
    /// The next block of a read takes this many bytes, more than is granted.
    Want(u64),
    /// A part of the list.
    Shuffles(Vec<ShuffleId>),
    /// A push has ended like this. Nothing follows.
    Pushed(Pushed),
    /// A push waits for this. It may be said several times; an end follows.
    Waiting(Wait),
}

/// One frame's meaning.
#[derive(Clone, Debug)]
pub enum Message {
    /// A client begins.
    Hello(Hello),
    /// A worker agrees.
    Welcome(Welcome),
    /// The sender closes the connection, for this reason.
    Goodbye(Error),
    /// The sender lives.
    Ping,
    /// A client asks.
    Ask(RequestId, Ask),
    /// A worker answers.
    Answer(RequestId, Answer),
    /// A client lets a read send this many bytes more.
    Credit(RequestId, u64),
    /// A client does not want a read any more.
    Cancel(RequestId),
}

impl Message {
    /// The type of its frame, also its name in messages.
    pub fn frame_type(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::Hello,
            Self::Welcome(_) => FrameType::Welcome,
            Self::Goodbye(_) => FrameType::Goodbye,
            Self::Ping => FrameType::Ping,
            Self::Ask(_, ask) => ask.frame_type(),
            Self::Answer(_, answer) => match answer {
                Answer::Done => FrameType::Done,
                Answer::Failed(_) => FrameType::Failed,
                Answer::Opened => FrameType::Opened,
                Answer::Blocks(_) => FrameType::Blocks,
                Answer::Want(_) => FrameType::Want,
                Answer::Shuffles(_) => FrameType::ShuffleList,
                Answer::Pushed(_) => FrameType::Pushed,
                Answer::Waiting(_) => FrameType::Waiting,
            },
            Self::Credit(..) => FrameType::Credit,
            Self::Cancel(_) => FrameType::Cancel,
        }
    }
}

impl Ask {
    pub(super) fn frame_type(&self) -> FrameType {
        match self {
            Self::Push(..) => FrameType::Push,
            Self::Seal(_) => FrameType::Seal,
            Self::Read(..) | Self::ReadMany(..) => FrameType::Read,
            Self::Discard(..) => FrameType::Discard,
            Self::DeleteQuery(_) => FrameType::DeleteQuery,
            Self::Shuffles => FrameType::Shuffles,
        }
    }
}

/// What a block uses of a read's credit: head and body.
pub fn block_size(block: &Block) -> u64 {
    size_of_body(block.body.len())
}

/// [`block_size`] of a block whose body has this length.
pub fn size_of_body(length: usize) -> u64 {
    (HEADER_LEN + length) as u64
}

/// [`block_size`], summed.
pub fn blocks_size(blocks: &[Block]) -> u64 {
    blocks.iter().map(block_size).sum()
}
