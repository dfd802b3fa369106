//! The shuffle block: identity, counts, checksum, body. It carries who wrote it, for which
//! partition, so that a reader never takes the wrong bytes for the right ones.

use bytes::Bytes;
use dunlin_base::{Attempt, Error, PartitionId, QueryId, Result, StageEpoch, StageId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One shuffle: the output of one epoch of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShuffleId {
    /// The query.
    pub query: QueryId,
    /// The stage whose output this is.
    pub stage: StageId,
    /// Its epoch.
    pub epoch: StageEpoch,
}

impl ShuffleId {
    /// Stages from this one on are not ours: a door for another system keeps its shuffles under them,
    /// and removes them itself.
    pub const FOREIGN: u32 = 1 << 31;

    /// True if it belongs to a door for another system: no record of a query names it.
    pub fn is_foreign(&self) -> bool {
        self.stage.0 >= Self::FOREIGN
    }
}

impl std::fmt::Display for ShuffleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.query, self.stage, self.epoch)
    }
}

/// Where a block belongs and who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The shuffle.
    pub shuffle: ShuffleId,
    /// The partition.
    pub partition: PartitionId,
    /// The map task: the first slice of the range it ran.
    pub map: u32,
    /// Which attempt of the map task.
    pub attempt: Attempt,
    /// Position among the blocks of this map task, attempt and partition, from 0.
    pub batch: u32,
}

/// How the body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Arrow IPC, uncompressed: what older builds wrote within one host.
    Plain = 0,
    /// Arrow IPC with LZ4 buffers: what older builds wrote to other hosts.
    Lz4 = 1,
    /// Columns with encodings of their own, in a body that says its version and compression.
    Columns = 2,
    /// Whatever a client of another system wrote: see [`ShuffleId::is_foreign`].
    Foreign = 3,
}

impl Codec {
    /// The codec of this number, if there is one.
    pub fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Plain),
            1 => Some(Self::Lz4),
            2 => Some(Self::Columns),
            3 => Some(Self::Foreign),
            _ => None,
        }
    }
}

/// One block: an encoded record batch with its identity.
#[derive(Clone, Debug)]
pub struct Block {
    /// Identity.
    pub id: BlockId,
    /// Rows in the body.
    pub rows: u32,
    /// Encoding of the body.
    pub codec: Codec,
    /// Checksum over identity, counts and body: see [`Block::checksum_of`].
    pub checksum: u64,
    /// The encoded batch. A worker copies it if it is small; otherwise it is never copied between writer
    /// and reader of one process.
    pub body: Bytes,
}

/// Length of an encoded block header.
pub const HEADER_LEN: usize = 72;

const MAGIC: [u8; 4] = *b"DLB1";

impl Block {
    /// A block with its checksum computed.
    pub fn new(id: BlockId, rows: u32, codec: Codec, body: Bytes) -> Self {
        let checksum = Self::checksum_of(&id, rows, codec, &body);
        Self { id, rows, codec, checksum, body }
    }

    /// xxh3 of the body, seeded with the xxh3 of the header's other fields: moved or swapped bytes
    /// fail like changed ones.
    pub fn checksum_of(id: &BlockId, rows: u32, codec: Codec, body: &[u8]) -> u64 {
        let head = write_header(id, rows, codec, body.len() as u64, 0);
        xxh3_64_with_seed(body, xxh3_64_with_seed(&head, 0))
    }

    /// Checks the body against the checksum. `Lost` names the place.
    pub fn verify(&self) -> Result<()> {
        if Self::checksum_of(&self.id, self.rows, self.codec, &self.body) == self.checksum {
            return Ok(());
        }
        Err(Error::lost(format!("corrupt shuffle block {}", self.place())))
    }

    /// A name of the place for error messages.
    pub fn place(&self) -> String {
        let id = &self.id;
        format!(
            "shuffle {} partition {} map {} attempt {} batch {}",
            id.shuffle, id.partition, id.map, id.attempt, id.batch
        )
    }

    /// The header as bytes; the body follows it on the wire and on disk.
    pub fn header(&self) -> [u8; HEADER_LEN] {
        write_header(&self.id, self.rows, self.codec, self.body.len() as u64, self.checksum)
    }

    /// Reads a header: the block with an empty body, and the length of the body that follows.
    /// The body is checked by [`Block::verify`] once it is attached.
    pub fn parse_header(head: &[u8]) -> Result<(Self, usize)> {
        if head.len() < HEADER_LEN || head[..4] != MAGIC {
            return Err(Error::lost("not a shuffle block: wrong magic or too short"));
        }
        let codec = Codec::of(head[4])
            .ok_or_else(|| Error::lost(format!("unknown shuffle block codec {}", head[4])))?;
        let u32_at = |at: usize| u32::from_le_bytes(array(head, at));
        let query = QueryId::from_u128(u128::from_le_bytes(array(head, 8)));
        let shuffle =
            ShuffleId { query, stage: StageId(u32_at(24)), epoch: StageEpoch(u32_at(28)) };
        let id = BlockId {
            shuffle,
            partition: PartitionId(u32_at(32)),
            map: u32_at(36),
            attempt: Attempt(u32_at(40)),
            batch: u32_at(44),
        };
        let length = usize::try_from(u64::from_le_bytes(array(head, 56)))
            .ok()
            .filter(|n| *n <= BODY_LEN_MAX)
            .ok_or_else(|| Error::lost("shuffle block body longer than the limit"))?;
        let checksum = u64::from_le_bytes(array(head, 64));
        Ok((Self { id, rows: u32_at(48), codec, checksum, body: Bytes::new() }, length))
    }
}

/// No block body is longer: a batch above this is split before it is encoded.
pub const BODY_LEN_MAX: usize = 1 << 31;

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn write_header(
    id: &BlockId,
    rows: u32,
    codec: Codec,
    length: u64,
    checksum: u64,
) -> [u8; HEADER_LEN] {
    let mut head = [0; HEADER_LEN];
    head[..4].copy_from_slice(&MAGIC);
    head[4] = codec as u8;
    head[8..24].copy_from_slice(&id.shuffle.query.to_u128().to_le_bytes());
    let words = [
        id.shuffle.stage.0,
        id.shuffle.epoch.0,
        id.partition.0,
        id.map,
        id.attempt.0,
        id.batch,
        rows,
    ];
    for (word, at) in words.iter().zip((24..).step_by(4)) {
        head[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    head[56..64].copy_from_slice(&length.to_le_bytes());
    head[64..72].copy_from_slice(&checksum.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let shuffle = ShuffleId {
            query: QueryId::from_u128(7 << 64 | 9),
            stage: StageId(3),
            epoch: StageEpoch(1),
        };
        let id =
            BlockId { shuffle, partition: PartitionId(5), map: 64, attempt: Attempt(2), batch: 8 };
        Block::new(id, 100, Codec::Plain, Bytes::from_static(b"rows"))
    }

    #[test]
    fn header_round_trips_and_the_body_verifies() {
        let block = block();
        let (mut parsed, length) = Block::parse_header(&block.header()).expect("own header parses");
        assert_eq!(length, 4);
        parsed.body = block.body.clone();
        assert_eq!(parsed.id, block.id);
        assert_eq!(parsed.rows, 100);
        parsed.verify().expect("untouched block verifies");
    }

    #[test]
    fn a_block_under_another_name_is_noticed() {
        for change in 0..3 {
            let mut block = block();
            match change {
                0 => block.id.partition = PartitionId(6),
                1 => block.rows = 99,
                _ => block.body = Bytes::from_static(b"sowr"),
            }
            assert!(block.verify().is_err(), "change {change}");
        }
    }
}
