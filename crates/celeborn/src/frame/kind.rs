//! The types of frames, and how long a header section and a body of each may be.

use dunlin_base::{Error, Result};

/// Length of what comes before the header section: its length, the type, the length of the body.
pub const PREAMBLE_LEN: usize = 9;

/// No name of a shuffle, partition or file is longer, in bytes.
pub const TEXT_LEN_MAX: usize = 4 << 10;

/// No text of an error is longer, in bytes. Java's servers put whole stack traces into them.
pub const ERROR_LEN_MAX: usize = 1 << 20;

/// No header section of a merged push is longer, in bytes: about 40,000 partitions.
pub const MERGED_HEADER_LEN_MAX: usize = 1 << 20;

/// How many bytes a body may have. What is longer is refused before any of it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a request, a response or a one-way message.
    pub rpc_bytes_max: usize,
    /// Of a push, merged or not.
    pub push_bytes_max: usize,
    /// Of a chunk or a buffer that was asked for.
    pub chunk_bytes_max: usize,
}

impl Limits {
    /// For a port where only control messages come: the largest known is a commit with the attempts
    /// of a million maps that have not ended, ten bytes each.
    pub const CONTROL: Self =
        Self { rpc_bytes_max: 32 << 20, push_bytes_max: 0, chunk_bytes_max: 0 };

    /// For a push or replicate port. A push has one buffer of a client, 64 KiB unless a record is
    /// larger than that.
    pub const PUSH: Self =
        Self { rpc_bytes_max: 1 << 20, push_bytes_max: 256 << 20, ..Self::CONTROL };

    /// For a fetch port: a batch open names files, some dozen bytes each.
    pub const FETCH: Self = Self::CONTROL;

    /// For a client: chunks are 8 MiB and the rest of a batch.
    pub const CLIENT: Self = Self { chunk_bytes_max: 512 << 20, ..Self::CONTROL };

    /// The same port for who has not said yet who he is: a step of a proof. What is larger than that
    /// comes in only to be refused.
    pub fn of_strangers(self) -> Self {
        Self {
            rpc_bytes_max: self.rpc_bytes_max.min(64 << 10),
            push_bytes_max: self.push_bytes_max.min(1 << 20),
            chunk_bytes_max: 0,
        }
    }
}

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The type of a frame, as the fifth byte says.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum FrameType {
            $($(#[$doc])* $name = $value,)*
        }

        impl FrameType {
            /// All types, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The type for a byte from the wire. `Invalid` names what is not known.
            pub fn parse(byte: u8) -> Result<Self> {
                match byte {
                    $($value => Ok(Self::$name),)*
                    23 | 24 => Err(Error::invalid(format!(
                        "frame type {byte} exists as a message only, not as a frame"
                    ))),
                    _ => Err(Error::invalid(format!("unknown frame type {byte}"))
                        .with_hint("is the other side a Celeborn client of 0.6 or 0.7?")),
                }
            }
        }
    };
}

frame_types! {
    /// A chunk is wanted; clients since 0.4 ask with an RPC instead.
    ChunkFetchRequest = 0,
    /// A chunk.
    ChunkFetchSuccess = 1,
    /// Why there is no chunk.
    ChunkFetchFailure = 2,
    /// A question.
    RpcRequest = 3,
    /// Its answer.
    RpcResponse = 4,
    /// Or why there is none.
    RpcFailure = 5,
    /// A file is to be read. Legacy.
    OpenStream = 6,
    /// It can be. Legacy.
    StreamHandle = 7,
    /// A message without an answer.
    OneWay = 9,
    /// One batch, or some, for one partition.
    PushData = 11,
    /// Batches for many partitions.
    PushMergedData = 12,
    /// Of a map partition. Legacy.
    RegionStart = 13,
    /// Of a map partition. Legacy.
    RegionFinish = 14,
    /// Of a map partition. Legacy.
    PushDataHandShake = 15,
    /// More buffers may come. Legacy.
    ReadAddCredit = 16,
    /// A buffer of a map partition.
    ReadData = 17,
    /// A map partition is to be read. Legacy.
    OpenStreamWithCredit = 18,
    /// How many buffers wait for credit.
    BacklogAnnouncement = 19,
    /// A stream has failed.
    TransportableError = 20,
    /// A stream is over. Legacy.
    BufferStreamEnd = 21,
    /// A sign of life.
    Heartbeat = 22,
    /// A buffer of one of several subpartitions.
    SubPartitionReadData = 25,
}

impl FrameType {
    /// Bytes of the shortest and of the longest header section.
    pub fn header_len(self) -> (usize, usize) {
        let texts = |numbers, texts| (numbers + 4 * texts, numbers + (4 + TEXT_LEN_MAX) * texts);
        match self {
            Self::ChunkFetchRequest | Self::ChunkFetchSuccess => (20, 20),
            Self::ChunkFetchFailure => (24, 24 + ERROR_LEN_MAX),
            Self::RpcRequest | Self::RpcResponse | Self::StreamHandle => (12, 12),
            Self::ReadAddCredit | Self::BacklogAnnouncement | Self::SubPartitionReadData => {
                (12, 12)
            }
            Self::RpcFailure | Self::TransportableError => (12, 12 + ERROR_LEN_MAX),
            Self::OneWay => (4, 4),
            Self::ReadData | Self::BufferStreamEnd => (8, 8),
            Self::Heartbeat => (1, 1),
            Self::PushData => texts(9, 2),
            Self::PushMergedData => (21, MERGED_HEADER_LEN_MAX),
            Self::OpenStream => texts(8, 2),
            Self::OpenStreamWithCredit => texts(12, 2),
            Self::RegionStart => texts(10, 2),
            Self::RegionFinish => texts(5, 2),
            Self::PushDataHandShake => texts(13, 2),
        }
    }

    /// Bytes of the longest body, or `None` for a type that has none.
    pub fn body_len_max(self, limits: Limits) -> Option<usize> {
        match self {
            Self::RpcRequest | Self::RpcResponse | Self::OneWay => Some(limits.rpc_bytes_max),
            Self::PushData | Self::PushMergedData => Some(limits.push_bytes_max),
            Self::ChunkFetchSuccess | Self::ReadData | Self::SubPartitionReadData => {
                Some(limits.chunk_bytes_max)
            }
            _ => None,
        }
    }
}
