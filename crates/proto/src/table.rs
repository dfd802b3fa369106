//! The file table of a shuffle worker: what one that ended in good order leaves in each of its
//! folders, so that the next process goes on with the data. Written and read by `shuffle-service`.
//!
//! A table is a head and a body. The head: four bytes of magic, then little endian the version (four
//! bytes), the length of the body (eight), and a checksum over all of that and the body (eight). The
//! body is a [`FileTable`]. A table that is not wholly what it was when it was written is no table.

use bytes::{Buf, BufMut, Bytes};
use dunlin_base::{Attempt, Error, Result};
use prost::Message;

use crate::block::{BODY_LEN_MAX, Codec, HEADER_LEN};
use crate::head::Form;
use crate::shuffle::MapAttempt;

/// The body of a table. Generated from `proto/table.proto`, which documents every field.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/dunlin.table.v1.rs"));
}
pub use v1::*;

/// The version that is written. A table of another one is not read.
pub const VERSION: u32 = 1;

/// Bytes of the head.
pub const HEAD_LEN: usize = crate::head::HEAD_LEN;

/// Nothing longer is written or read.
pub const TABLE_LEN_MAX: usize = 1 << 30;

const FORM: Form = Form { magic: *b"DLFT", version: VERSION };

/// No extent is longer: sums of lengths stay numbers.
const EXTENT_LEN_MAX: u64 = 1 << 48;

/// Bytes of one block in [`ExtentEntry::blocks`].
pub(crate) const ENTRY_LEN: usize = 41;

/// One block of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The map task and its attempt.
    pub of: MapAttempt,
    /// The number among its blocks of this partition.
    pub batch: u32,
    /// Rows in the body.
    pub rows: u32,
    /// Encoding of the body.
    pub codec: Codec,
    /// As in the block's header.
    pub checksum: u64,
    /// Bytes of the body.
    pub length: u64,
    /// Where the header is in the extent; the body follows it.
    pub offset: u64,
}

impl FileTable {
    /// The table as bytes. `Exhausted`: it would be longer than [`TABLE_LEN_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let length = self.encoded_len();
        if length > TABLE_LEN_MAX - HEAD_LEN {
            return Err(Error::exhausted(format!("a file table of {length} bytes is too long")));
        }
        Ok(Self::framed(&self.encode_to_vec()))
    }

    /// A body, whatever is in it, behind a head that fits. For tests of what reads tables.
    pub fn framed(body: &[u8]) -> Vec<u8> {
        FORM.framed(body)
    }

    /// The table of these bytes. `Invalid` says why they are none.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("not a file table: {why}"));
        let body = FORM.body(&bytes).map_err(|why| wrong(&why))?;
        Self::decode(body).map_err(|e| wrong("it cannot be decoded").with_source(e))
    }
}

impl ExtentEntry {
    /// Adds a block.
    pub fn add(blocks: &mut Vec<u8>, entry: &Entry) {
        let Entry { of, batch, rows, codec, checksum, length, offset } = *entry;
        for word in [of.map, of.attempt.0, batch, rows] {
            blocks.put_u32_le(word);
        }
        for long in [checksum, length, offset] {
            blocks.put_u64_le(long);
        }
        blocks.put_u8(codec as u8);
    }

    /// The blocks, each within the extent. `Invalid`: they cannot be what was written.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        if self.length > EXTENT_LEN_MAX {
            return Err(Error::invalid(format!("an extent of {} bytes", self.length)));
        }
        if !self.blocks.len().is_multiple_of(ENTRY_LEN) {
            return Err(Error::invalid("the blocks of an extent are cut"));
        }
        self.blocks.chunks_exact(ENTRY_LEN).map(|one| self.entry(one)).collect()
    }

    fn entry(&self, mut one: &[u8]) -> Result<Entry> {
        let (map, attempt) = (one.get_u32_le(), Attempt(one.get_u32_le()));
        let (batch, rows) = (one.get_u32_le(), one.get_u32_le());
        let (checksum, length, offset) = (one.get_u64_le(), one.get_u64_le(), one.get_u64_le());
        let codec = Codec::of(one.get_u8());
        let end = offset.checked_add(HEADER_LEN as u64).and_then(|at| at.checked_add(length));
        let within = end.is_some_and(|end| end <= self.length) && length <= BODY_LEN_MAX as u64;
        let codec = codec.filter(|_| within);
        let codec = codec.ok_or_else(|| Error::invalid("an extent has no room for a block"))?;
        let of = MapAttempt { map, attempt };
        Ok(Entry { of, batch, rows, codec, checksum, length, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> FileTable {
        let entry = Entry {
            of: MapAttempt { map: 64, attempt: Attempt(2) },
            batch: 3,
            rows: 100,
            codec: Codec::Lz4,
            checksum: u64::MAX - 1,
            length: 28,
            offset: 100,
        };
        let mut blocks = Vec::new();
        ExtentEntry::add(&mut blocks, &entry);
        let extent = ExtentEntry { length: 200, blocks: blocks.into(), ..ExtentEntry::default() };
        let entries = extent.entries().expect("it ends where the extent does");
        assert_eq!(entries, [entry]);
        let partitions =
            vec![PartitionEntry { extents: vec![extent], ..PartitionEntry::default() }];
        let shuffles = vec![ShuffleEntry { partitions, ..ShuffleEntry::default() }];
        FileTable { written_ms: 7, shuffles, ..FileTable::default() }
    }

    #[test]
    fn a_table_is_read_whole_or_not_at_all() {
        let bytes = table().to_bytes().expect("small");
        let read = |bytes: &[u8]| FileTable::from_bytes(Bytes::copy_from_slice(bytes));
        assert_eq!(read(&bytes).expect("its own"), table());
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                assert!(read(&changed).is_err(), "byte {at}");
            }
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&[&bytes[..], &[0]].concat()).is_err(), "longer");
    }

    #[test]
    fn a_block_beyond_its_extent_is_refused() {
        let mut extent = table().shuffles.remove(0).partitions.remove(0).extents.remove(0);
        extent.length = 199;
        assert!(extent.entries().is_err());
        extent.length = 200;
        extent.blocks = extent.blocks.slice(1..);
        assert!(extent.entries().is_err(), "cut");
    }
}
