//! What an object of shuffle blocks says of itself, behind its blocks: which blocks are in it, and
//! where. Written with every object, read only by a worker that adopts the objects of a dead one.
//! See `design/2026-11-28-shuffle-adoption.md`.
//!
//! An index is its entries (as in a file table) and then a trailer, little endian: the query (16
//! bytes), stage, epoch, partition, number of entries (4 each), the length of all that is before the
//! index (8), a checksum over the rest of the trailer and the entries (8), the version (4), and four
//! bytes of magic. The trailer is last, so the size of an object is enough to find it.

use bytes::{Buf, BufMut, Bytes};
use dunlin_base::{Error, PartitionId, QueryId, Result, StageEpoch, StageId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::block::ShuffleId;
use crate::table::{ENTRY_LEN, Entry, ExtentEntry};

/// The version that is written. An index of another one is not read.
pub const VERSION: u32 = 1;

/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 56;

/// No index is longer: one that would be is not written.
pub const INDEX_LEN_MAX: usize = 64 << 20;

const MAGIC: [u8; 4] = *b"DLXI";

/// Where the checksum is in the trailer.
const CHECKSUM_AT: usize = 40;

/// The blocks of one object, all of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtentIndex {
    /// The shuffle.
    pub shuffle: ShuffleId,
    /// The partition of it.
    pub partition: PartitionId,
    /// Bytes of blocks: what is before the index.
    pub length: u64,
    /// The blocks, each within `length`.
    pub blocks: Vec<Entry>,
}

/// What the end of an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The whole index.
    Index(ExtentIndex),
    /// Only the end of an index of so many bytes.
    Longer(usize),
}

impl ExtentIndex {
    /// The index as bytes; nothing if it would be longer than [`INDEX_LEN_MAX`].
    pub fn to_bytes(&self) -> Option<Bytes> {
        let Self { shuffle, partition, length, blocks } = self;
        let count = u32::try_from(blocks.len()).ok()?;
        let size = blocks.len() * ENTRY_LEN + TRAILER_LEN;
        if size > INDEX_LEN_MAX {
            return None;
        }
        let mut bytes = Vec::with_capacity(size);
        blocks.iter().for_each(|entry| ExtentEntry::add(&mut bytes, entry));
        let mut trailer = Vec::with_capacity(TRAILER_LEN);
        trailer.put_u128_le(shuffle.query.to_u128());
        for word in [shuffle.stage.0, shuffle.epoch.0, partition.0, count] {
            trailer.put_u32_le(word);
        }
        trailer.put_u64_le(*length);
        trailer.put_u64_le(0);
        trailer.put_u32_le(VERSION);
        trailer.put_slice(&MAGIC);
        let checksum = checksum(&bytes, &trailer);
        trailer[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum.to_le_bytes());
        bytes.put_slice(&trailer);
        Some(bytes.into())
    }

    /// Reads the index of an object of `size` bytes from its last bytes. `Lost` says why there is
    /// none that can be trusted in every byte. Takes memory in proportion to `tail` only.
    pub fn from_tail(tail: &Bytes, size: u64) -> Result<Tail> {
        let none = |why: &str| Error::lost(format!("no index of shuffle blocks: {why}"));
        let Some(start) = tail.len().checked_sub(TRAILER_LEN) else {
            return Err(none("too short"));
        };
        let trailer = tail.slice(start..);
        let mut rest = trailer.clone();
        let query = QueryId::from_u128(rest.get_u128_le());
        let (stage, epoch) = (StageId(rest.get_u32_le()), StageEpoch(rest.get_u32_le()));
        let (partition, count) = (PartitionId(rest.get_u32_le()), rest.get_u32_le() as usize);
        let (length, check, version) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u32_le());
        if rest[..] != MAGIC {
            return Err(none("wrong magic"));
        }
        if version != VERSION {
            return Err(none(&format!("its version is {version}, not {VERSION}")));
        }
        let index = count.checked_mul(ENTRY_LEN).and_then(|n| n.checked_add(TRAILER_LEN));
        let index = index.filter(|index| *index <= INDEX_LEN_MAX);
        let index = index.ok_or_else(|| none("it names too many blocks"))?;
        if length.checked_add(index as u64) != Some(size) {
            return Err(none(&format!("the object has {size} bytes, not {length} and {index}")));
        }
        let Some(first) = tail.len().checked_sub(index) else { return Ok(Tail::Longer(index)) };
        let blocks = tail.slice(first..start);
        let mut bare = trailer.to_vec();
        bare[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
        if checksum(&blocks, &bare) != check {
            return Err(none("its checksum is wrong"));
        }
        let blocks = ExtentEntry { length, blocks, ..ExtentEntry::default() };
        let blocks = blocks.entries().map_err(|e| none(e.message()))?;
        let shuffle = ShuffleId { query, stage, epoch };
        Ok(Tail::Index(Self { shuffle, partition, length, blocks }))
    }
}

/// The same bytes with a checksum that fits, whatever they are. For tests of what reads them.
#[cfg(test)]
pub(crate) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(start) = bytes.len().checked_sub(TRAILER_LEN) {
        let at = start + CHECKSUM_AT..start + CHECKSUM_AT + 8;
        bytes[at.clone()].fill(0);
        let checksum = checksum(&bytes[..start], &bytes[start..]);
        bytes[at].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

/// `trailer`: with zeros for the checksum.
fn checksum(blocks: &[u8], trailer: &[u8]) -> u64 {
    xxh3_64_with_seed(blocks, xxh3_64_with_seed(trailer, 0))
}

#[cfg(test)]
mod tests {
    use dunlin_base::Attempt;

    use super::*;
    use crate::block::Codec;
    use crate::shuffle::MapAttempt;

    fn index(blocks: u32) -> ExtentIndex {
        let entry = |n: u32| Entry {
            of: MapAttempt { map: n, attempt: Attempt(n % 3) },
            batch: n,
            rows: n * 7,
            codec: Codec::Columns,
            checksum: u64::MAX - u64::from(n),
            length: 28,
            offset: u64::from(n) * 100,
        };
        let query = QueryId::from_u128(1 << 90 | 7);
        let shuffle = ShuffleId { query, stage: StageId(3), epoch: StageEpoch(1) };
        let length = u64::from(blocks) * 100;
        let blocks = (0..blocks).map(entry).collect();
        ExtentIndex { shuffle, partition: PartitionId(9), length, blocks }
    }

    #[test]
    fn an_index_is_read_from_any_tail_that_holds_it() {
        for blocks in [0, 1, 5] {
            let index = index(blocks);
            let bytes = index.to_bytes().expect("small");
            let whole = [vec![7; index.length as usize], bytes.to_vec()].concat();
            let size = whole.len() as u64;
            for from in 0..=whole.len() {
                let tail = Bytes::copy_from_slice(&whole[from..]);
                let found = ExtentIndex::from_tail(&tail, size);
                if tail.len() >= bytes.len() {
                    assert_eq!(found.expect("all of it"), Tail::Index(index.clone()));
                } else if tail.len() >= TRAILER_LEN {
                    assert_eq!(found.expect("a part of it"), Tail::Longer(bytes.len()));
                } else {
                    assert!(found.is_err(), "{} bytes", tail.len());
                }
            }
        }
    }

    #[test]
    fn a_changed_or_cut_index_is_none() {
        let index = index(3);
        let bytes = index.to_bytes().expect("small");
        let size = index.length + bytes.len() as u64;
        let is_index = |bytes: &[u8], size| {
            let tail = Bytes::copy_from_slice(bytes);
            matches!(ExtentIndex::from_tail(&tail, size), Ok(Tail::Index(_)))
        };
        assert!(is_index(&bytes, size));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                assert!(!is_index(&changed, size), "bit {bit} of byte {at}");
            }
            let cut = (bytes.len() - at) as u64;
            assert!(!is_index(&bytes[..at], size - cut), "cut to {at}");
            assert!(!is_index(&bytes[at..], size) || at == 0, "from {at}");
        }
        assert!(!is_index(&bytes, size + 1) && !is_index(&bytes, size - 1), "another object");
        assert!(!is_index(&[&bytes[..], &[0]].concat(), size + 1), "longer");
    }

    #[test]
    fn what_does_not_fit_is_neither_written_nor_believed() {
        let mut index = index(1);
        index.length = 99;
        let bytes = index.to_bytes().expect("small");
        let size = 99 + bytes.len() as u64;
        let refused = ExtentIndex::from_tail(&bytes, size).expect_err("the block is longer");
        assert!(refused.message().contains("no room"), "{refused}");
        let many = INDEX_LEN_MAX / ENTRY_LEN;
        index.blocks = vec![index.blocks[0]; many];
        assert_eq!(index.to_bytes(), None);
    }
}
