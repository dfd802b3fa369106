//! What a frame says.

use bytes::Bytes;

use crate::Text;

use super::kind::FrameType;
use super::legacy::Legacy;

/// Which question an answer is to. Unique among those that are open on one connection, pushes
/// included; answers come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub i64);

/// A file that is being read. The server chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub i64);

/// Which copy of a partition something is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// The one that clients push to.
    #[default]
    Primary,
    /// The one that the primary's worker pushes to.
    Replica,
}

impl Mode {
    /// The number on the wire and at the end of a file's name.
    pub fn number(self) -> u8 {
        match self {
            Self::Primary => 0,
            Self::Replica => 1,
        }
    }

    /// The mode for a number from the wire, if it is one.
    pub fn of_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Primary),
            1 => Some(Self::Replica),
            _ => None,
        }
    }
}

/// Which part of which chunk. A reply must have all four numbers of its request, also where less
/// was served than `len`: the client compares them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The open file.
    pub stream: StreamId,
    /// The chunk of it.
    pub chunk: i32,
    /// Bytes from the beginning of the chunk.
    pub offset: i32,
    /// Bytes at most; `i32::MAX` for all.
    pub len: i32,
}

impl Slice {
    /// All of a chunk, as clients ask for it.
    pub fn whole(stream: StreamId, chunk: i32) -> Self {
        Self { stream, chunk, offset: 0, len: i32::MAX }
    }
}

/// Batches for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushData {
    /// Answered by a response or a failure with the same id.
    pub id: RequestId,
    /// Which copy.
    pub mode: Mode,
    /// As [`ShuffleKey`](crate::ids::ShuffleKey) has it.
    pub shuffle_key: Text,
    /// As [`PartitionKey`](crate::ids::PartitionKey) has it.
    pub partition: Text,
    /// For [`batches`](crate::batch::batches).
    pub body: Bytes,
}

/// Batches for many partitions, which all have the same two workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushMergedData {
    /// Answered by a response or a failure with the same id.
    pub id: RequestId,
    /// Which copies.
    pub mode: Mode,
    /// As [`ShuffleKey`](crate::ids::ShuffleKey) has it.
    pub shuffle_key: Text,
    /// One for each entry; a partition may come twice.
    pub partitions: Vec<Text>,
    /// Where each entry begins in the body: as many as partitions, from 0, ascending.
    pub offsets: Vec<u32>,
    /// The entries, one after the other.
    pub body: Bytes,
}

impl PushMergedData {
    /// Each partition with its part of the body, in order. Shares the body's memory.
    pub fn entries(&self) -> impl Iterator<Item = (&Text, Bytes)> {
        let end = self.body.len();
        let ends = self.offsets.iter().skip(1).map(|at| *at as usize).chain([end]);
        self.partitions.iter().zip(self.offsets.iter().zip(ends)).map(
            move |(partition, (from, to))| {
                let to = to.min(end);
                (partition, self.body.slice((*from as usize).min(to)..to))
            },
        )
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A chunk is wanted. Clients ask with an RPC instead, and get the same answers.
    ChunkFetchRequest(Slice),
    /// A chunk, or the part that was asked for.
    ChunkFetchSuccess(Slice, Bytes),
    /// Why there is no chunk.
    ChunkFetchFailure(Slice, Text),
    /// A question. The body is an [`Envelope`](crate::rpc::Envelope) on control ports, and a
    /// [`TransportMessage`](crate::rpc::TransportMessage) on data ports.
    RpcRequest(RequestId, Bytes),
    /// The answer to a question or a push; may be empty.
    RpcResponse(RequestId, Bytes),
    /// Why there is no answer. To a push it begins with the name of a
    /// [`StatusCode`](crate::status::StatusCode).
    RpcFailure(RequestId, Text),
    /// A message without an answer.
    OneWay(Bytes),
    /// Batches for one partition.
    PushData(PushData),
    /// Batches for many.
    PushMergedData(PushMergedData),
    /// A buffer of a map partition.
    ReadData(StreamId, Bytes),
    /// A buffer of a subpartition of a map partition.
    SubPartitionReadData(StreamId, i32, Bytes),
    /// How many buffers of a stream wait for credit.
    BacklogAnnouncement(StreamId, i32),
    /// A stream has failed.
    TransportableError(StreamId, Text),
    /// A sign of life. A client answers one with one; who began must not answer that.
    Heartbeat,
    /// What clients before 0.4 send, and later ones to servers before 0.4.
    Legacy(Legacy),
}

impl Frame {
    /// The type of the frame.
    pub fn kind(&self) -> FrameType {
        match self {
            Self::ChunkFetchRequest(_) => FrameType::ChunkFetchRequest,
            Self::ChunkFetchSuccess(..) => FrameType::ChunkFetchSuccess,
            Self::ChunkFetchFailure(..) => FrameType::ChunkFetchFailure,
            Self::RpcRequest(..) => FrameType::RpcRequest,
            Self::RpcResponse(..) => FrameType::RpcResponse,
            Self::RpcFailure(..) => FrameType::RpcFailure,
            Self::OneWay(_) => FrameType::OneWay,
            Self::PushData(_) => FrameType::PushData,
            Self::PushMergedData(_) => FrameType::PushMergedData,
            Self::ReadData(..) => FrameType::ReadData,
            Self::SubPartitionReadData(..) => FrameType::SubPartitionReadData,
            Self::BacklogAnnouncement(..) => FrameType::BacklogAnnouncement,
            Self::TransportableError(..) => FrameType::TransportableError,
            Self::Heartbeat => FrameType::Heartbeat,
            Self::Legacy(legacy) => legacy.kind(),
        }
    }

    /// The body, if it has one that is not empty. Shares memory.
    pub fn body(&self) -> Bytes {
        match self {
            Self::ChunkFetchSuccess(_, body)
            | Self::RpcRequest(_, body)
            | Self::RpcResponse(_, body)
            | Self::OneWay(body)
            | Self::ReadData(_, body)
            | Self::SubPartitionReadData(_, _, body)
            | Self::PushData(PushData { body, .. })
            | Self::PushMergedData(PushMergedData { body, .. }) => body.clone(),
            _ => Bytes::new(),
        }
    }
}
