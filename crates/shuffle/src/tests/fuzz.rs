//! Bodies that were changed by chance. A checksum keeps such bytes from the decoder in real life, but
//! a checksum is not a signature: whoever makes them can make it fit.

use bytes::Bytes;
use dunlin_base::{Kind, PartitionId};
use dunlin_fuzz::{Counting, fuzz, peak_of, quietly};
use dunlin_proto::block::{Block, BlockId, Codec};

use super::*;
use crate::codec::{Decoder, Encoder};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn block(codec: Codec, rows: u32, body: Bytes) -> Block {
    let (partition, attempt) = (PartitionId(0), Attempt(0));
    let id = BlockId { shuffle: shuffle(), partition, map: 0, attempt, batch: 0 };
    Block::new(id, rows, codec, body)
}

/// What decoding may hold for each byte of a body: one of LZ4 stands for 255 at most.
const UNFOLDED: usize = 300;

/// What it may hold besides. Frames of LZ4 say how large their blocks are, up to 4 MiB (8 in an old
/// form), and the decoder has two buffers for that.
fn besides(codec: Codec) -> usize {
    match codec {
        Codec::Plain => 1 << 20,
        Codec::Lz4 => 20 << 20,
    }
}

fn run(name: &str, codec: Codec, short: u64) {
    let batches = [0, 1, 7, 100].map(data::every_type);
    let encoder = Encoder::new(batches[0].schema(), codec);
    let decoder = Decoder::new(batches[0].schema()).expect("a schema that IPC has");
    let encoded = |batch| encoder.encode(batch).expect("encodes").to_vec();
    let corpus: Vec<_> = batches.iter().map(encoded).collect();
    fuzz(name, &corpus, short, |bytes| {
        let same = corpus.iter().position(|one| one == bytes).map(|at| &batches[at]);
        let rows = same.map_or(7, |batch| batch.num_rows());
        let block = block(codec, rows as u32, Bytes::copy_from_slice(bytes));
        let (decoded, peak) = peak_of(|| quietly(|| decoder.decode(&block)));
        assert!(peak <= UNFOLDED * bytes.len() + besides(codec), "{peak} for {}", bytes.len());
        match (decoded, same) {
            (Ok(decoded), Some(batch)) => assert_eq!(&decoded, batch),
            (Err(error), Some(_)) => panic!("its own body: {error}"),
            (Err(error), None) => assert_eq!(error.kind(), Kind::Bug, "{error}"),
            (Ok(decoded), None) => assert_eq!(decoded.num_rows(), rows),
        }
    });
}

#[test]
fn changed_plain_bodies_are_errors_or_batches() {
    run("plain bodies", Codec::Plain, 2_000);
}

#[test]
fn changed_compressed_bodies_are_errors_or_batches() {
    run("compressed bodies", Codec::Lz4, 2_000);
}
