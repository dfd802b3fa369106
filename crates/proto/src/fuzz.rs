//! Stored forms that were changed by chance: block headers, the file table, indexes, and records of uploads.

use bytes::Bytes;
use dunlin_base::{Attempt, Kind, PartitionId, QueryId, StageEpoch, StageId};
use dunlin_fuzz::{Counting, fuzz, peak_of};

use crate::block::{BODY_LEN_MAX, Block, BlockId, Codec, HEADER_LEN, ShuffleId};
use crate::extent_index::{ExtentIndex, Tail, resealed};
use crate::shuffle::MapAttempt;
use crate::table::{Entry, ExtentEntry, FileTable, HEAD_LEN, PartitionEntry, ShuffleEntry};
use crate::uploads::{Upload, UploadRecord};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn blocks() -> Vec<Block> {
    let query = QueryId::from_u128(1 << 90 | 7);
    let shuffle = ShuffleId { query, stage: StageId(3), epoch: StageEpoch(1) };
    let block = |n: u32| {
        let (partition, attempt) = (PartitionId(n % 3), Attempt(n));
        let id = BlockId { shuffle, partition, map: n * 100, attempt, batch: n };
        let codec = if n.is_multiple_of(2) { Codec::Plain } else { Codec::Lz4 };
        Block::new(id, n * 10, codec, Bytes::from(vec![n as u8; 40 * n as usize]))
    };
    (0..6).map(block).collect()
}

#[test]
fn changed_block_headers_are_refused_or_are_headers() {
    let corpus: Vec<_> = blocks().iter().map(|block| block.header().to_vec()).collect();
    fuzz("block headers", &corpus, 50_000, |bytes| {
        let (parsed, peak) = peak_of(|| Block::parse_header(bytes));
        assert!(peak < 4096, "{peak} bytes");
        match parsed {
            Err(error) => assert_eq!(error.kind(), Kind::Lost, "{error}"),
            Ok((block, length)) => {
                assert!(length <= BODY_LEN_MAX && block.body.is_empty());
                let (again, none) = Block::parse_header(&block.header()).expect("its own");
                let parts = |b: &Block| (b.id, b.rows, b.codec, b.checksum);
                assert_eq!((parts(&again), none), (parts(&block), 0));
                // Some bytes of a header mean nothing.
                let known = blocks().iter().any(|one| one.header() == block.header());
                assert!(known || length > 0 || block.verify().is_err(), "an identity is made up");
            }
        }
    });
}

fn table() -> FileTable {
    let mut shuffles = Vec::new();
    for stage in 0..3 {
        let mut extent = ExtentEntry { extent: stage, born: 9, ..ExtentEntry::default() };
        let mut entries = Vec::new();
        for block in blocks() {
            let BlockId { map, attempt, batch, .. } = block.id;
            let (length, offset) = (block.body.len() as u64, extent.length);
            extent.length += HEADER_LEN as u64 + length;
            let (of, rows, codec) = (MapAttempt { map, attempt }, block.rows, block.codec);
            let checksum = block.checksum;
            let entry = Entry { of, batch, rows, codec, checksum, length, offset };
            ExtentEntry::add(&mut entries, &entry);
        }
        extent.blocks = entries.into();
        let object = ExtentEntry { object: "some/shuffle/w/q/1.2".to_owned(), ..extent.clone() };
        let extents = vec![extent, object];
        let partitions = vec![PartitionEntry { partition: 4, next_extent: 8, extents }];
        let query = Bytes::from(vec![stage as u8; 16]);
        shuffles.push(ShuffleEntry { query, stage, partitions, ..ShuffleEntry::default() });
    }
    let (id, ended) = (Bytes::from(vec![7; 16]), Bytes::from(vec![8; 48]));
    let processes = vec!["one".to_owned(), "two".to_owned()];
    let folders = vec![id.clone(), id.clone()];
    let (hand_over, folder) = (id.clone(), id);
    FileTable { hand_over, written_ms: 1, folder, folders, processes, ended, shuffles }
}

fn check_table(bytes: &[u8]) {
    let input = Bytes::copy_from_slice(bytes);
    let (read, peak) = peak_of(|| FileTable::from_bytes(input));
    // A message of two bytes becomes an entry of a hundred.
    assert!(peak <= 200 * bytes.len() + (16 << 10), "{peak} bytes for a table of {}", bytes.len());
    match read {
        Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
        Ok(table) => {
            let again = table.to_bytes().expect("as long as it was");
            assert_eq!(FileTable::from_bytes(Bytes::from(again)).expect("its own"), table);
            let partitions = table.shuffles.iter().flat_map(|shuffle| &shuffle.partitions);
            for extent in partitions.flat_map(|partition| &partition.extents) {
                let Ok(entries) = extent.entries() else { continue };
                let mut blocks = Vec::new();
                entries.iter().for_each(|entry| ExtentEntry::add(&mut blocks, entry));
                assert_eq!(blocks, extent.blocks);
                let end = |entry: &Entry| entry.offset + HEADER_LEN as u64 + entry.length;
                assert!(entries.iter().all(|entry| end(entry) <= extent.length));
            }
        }
    }
}

#[test]
fn changed_tables_are_no_tables() {
    let whole = table().to_bytes().expect("small");
    fuzz("tables", std::slice::from_ref(&whole), 20_000, |bytes| {
        check_table(bytes);
        let read = FileTable::from_bytes(Bytes::copy_from_slice(bytes));
        assert!(bytes == whole || read.is_err(), "a change went unnoticed");
    });
}

#[test]
fn tables_with_changed_bodies_are_refused_or_whole() {
    let whole = table().to_bytes().expect("small");
    fuzz("bodies of tables", &[whole[HEAD_LEN..].to_vec()], 20_000, |body| {
        check_table(&FileTable::framed(body));
    });
}

fn index() -> ExtentIndex {
    let extent = table().shuffles.remove(0).partitions.remove(0).extents.remove(0);
    let (shuffle, blocks) = (blocks()[0].id.shuffle, extent.entries().expect("its own"));
    ExtentIndex { shuffle, partition: PartitionId(2), length: extent.length, blocks }
}

#[test]
fn changed_indexes_are_refused_or_whole() {
    let whole = index().to_bytes().expect("small");
    let size = index().length + whole.len() as u64;
    fuzz("indexes", &[whole.to_vec()], 20_000, |bytes| {
        for bytes in [bytes.to_vec(), resealed(bytes.to_vec())].map(Bytes::from) {
            let (read, peak) = peak_of(|| ExtentIndex::from_tail(&bytes, size));
            assert!(peak <= 8 * bytes.len() + 4096, "{peak} bytes for {}", bytes.len());
            match read {
                Err(error) => assert_eq!(error.kind(), Kind::Lost, "{error}"),
                Ok(Tail::Longer(index)) => assert!(index > bytes.len()),
                Ok(Tail::Index(index)) => {
                    let again = index.to_bytes().expect("as long as it was");
                    assert!(bytes.ends_with(&again));
                    let end = |entry: &Entry| entry.offset + HEADER_LEN as u64 + entry.length;
                    assert!(index.blocks.iter().all(|entry| end(entry) <= index.length));
                }
            }
        }
    });
}

#[test]
fn changed_records_of_uploads_are_refused_or_sound() {
    let object = format!("{}/1.2.3.4", blocks()[0].id.shuffle.query);
    let upload = Upload { object, id: "an-id".to_owned() };
    let whole = UploadRecord { uploads: vec![upload; 3] }.to_bytes().expect("small");
    fuzz("records of uploads", std::slice::from_ref(&whole), 20_000, |bytes| {
        let read = UploadRecord::from_bytes(&Bytes::copy_from_slice(bytes));
        assert!(bytes == whole || read.is_err(), "a change went unnoticed");
    });
    fuzz("bodies of records", &[whole[HEAD_LEN..].to_vec()], 20_000, |body| {
        let framed = Bytes::from(UploadRecord::framed(body));
        let (read, peak) = peak_of(|| UploadRecord::from_bytes(&framed));
        assert!(peak <= 200 * body.len() + (16 << 10), "{peak} bytes for {}", body.len());
        match read {
            Err(error) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            Ok(record) => assert!(record.uploads.iter().all(|upload| !upload.id.is_empty())),
        }
    });
}
