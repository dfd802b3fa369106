//! The layout of a frame, which is Celeborn's: two lengths, a type, a header section, a body. In
//! native frames the header section is a checksum and a protobuf message.

use dunlin_base::{Error, Result};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Length of what comes before the header section.
pub const PREAMBLE_LEN: usize = 9;

/// Length of the checksum at the start of a native header section.
pub const CHECK_LEN: usize = 8;

/// No header section is longer: 131,000 maps of a read, or 14,500 blocks of a push.
pub const HEADER_LEN_MAX: usize = 1 << 20;

/// The first nine bytes of a frame: lengths and type, not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Bytes of the header section.
    pub header_len: u32,
    /// The type as it is on the wire.
    pub kind: u8,
    /// Bytes of the body.
    pub body_len: u32,
}

impl Preamble {
    /// The nine bytes.
    pub fn encode(self) -> [u8; PREAMBLE_LEN] {
        let mut bytes = [0; PREAMBLE_LEN];
        bytes[..4].copy_from_slice(&self.header_len.to_be_bytes());
        bytes[4] = self.kind;
        bytes[5..].copy_from_slice(&self.body_len.to_be_bytes());
        bytes
    }

    /// What nine bytes say. Checks nothing.
    pub fn decode(bytes: [u8; PREAMBLE_LEN]) -> Self {
        let [a, b, c, d, kind, e, f, g, h] = bytes;
        let header_len = u32::from_be_bytes([a, b, c, d]);
        Self { header_len, kind, body_len: u32::from_be_bytes([e, f, g, h]) }
    }

    /// The checksum of a native header: over these nine bytes and the message.
    pub(super) fn check(self, message: &[u8]) -> u64 {
        xxh3_64_with_seed(message, xxh3_64(&self.encode()))
    }
}

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The type of a native frame. Numbers below 64 are Celeborn's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum FrameType {
            $($(#[$doc])* $name = $value,)*
        }

        impl FrameType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The type for a byte from the wire. `Invalid` names what is not known.
            pub fn parse(byte: u8) -> Result<Self> {
                match byte {
                    $($value => Ok(Self::$name),)*
                    0..64 => Err(Error::invalid(format!(
                        "frame type {byte} is not of this protocol, but of Celeborn's"
                    ))),
                    _ => Err(Error::invalid(format!("unknown frame type {byte}"))),
                }
            }
        }
    };
}

frame_types! {
    /// First frame of a client.
    Hello = 64,
    /// First frame of a worker.
    Welcome = 65,
    /// Last frame of either.
    Goodbye = 66,
    /// A sign of life.
    Ping = 67,
    /// Store blocks.
    Push = 80,
    /// End a shuffle for followers.
    Seal = 81,
    /// Read a partition.
    Read = 82,
    /// Forget an attempt.
    Discard = 83,
    /// Remove a query.
    DeleteQuery = 84,
    /// List all shuffles.
    Shuffles = 85,
    /// A read may send more.
    Credit = 86,
    /// Nobody wants a read any more.
    Cancel = 87,
    /// The request has ended well.
    Done = 96,
    /// The request has failed.
    Failed = 97,
    /// A read has begun.
    Opened = 98,
    /// Blocks of a read.
    Blocks = 99,
    /// A read needs more credit for its next block.
    Want = 100,
    /// A part of the list of shuffles.
    ShuffleList = 101,
    /// A push has ended well, or is to go elsewhere.
    Pushed = 102,
    /// A push waits.
    Waiting = 103,
}

impl FrameType {
    /// True for the two types whose frames have a body.
    pub fn has_body(self) -> bool {
        matches!(self, Self::Push | Self::Blocks)
    }
}
