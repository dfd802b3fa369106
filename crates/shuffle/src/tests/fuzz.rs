//! Bodies that were changed by chance. A checksum keeps such bytes from the decoder in real life, but
//! a checksum is not a signature: whoever makes them can make it fit.

use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use bytes::Bytes;
use dunlin_base::{Kind, PartitionId};
use dunlin_fuzz::{Counting, fuzz, peak_of, quietly};
use dunlin_proto::block::{Block, BlockId, Codec};

use super::*;
use crate::codec::{Compression, Decoder, Encoder, MessageEncoder, Style};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn block(codec: Codec, rows: u32, body: Bytes) -> Block {
    let (partition, attempt) = (PartitionId(0), Attempt(0));
    let id = BlockId { shuffle: shuffle(), partition, map: 0, attempt, batch: 0 };
    Block::new(id, rows, codec, body)
}

/// What decoding may hold for each byte of a body: one of LZ4 stands for 255 at most.
const UNFOLDED: usize = 300;

/// What it may hold besides: what a block of many rows may say in few bytes, and the rooms that its
/// decompression needs.
const BESIDES: usize = 12 << 20;

/// Frames of LZ4 in old bodies say how large their blocks are, up to 4 MiB (8 in an old form), and the
/// decoder has two buffers for that.
const BESIDES_OLD: usize = 20 << 20;

fn run(
    name: &str,
    (codec, besides): (Codec, usize),
    batches: &[RecordBatch],
    encode: impl Fn(&RecordBatch) -> Bytes,
) {
    let decoder = Decoder::new(batches[0].schema()).expect("a schema that IPC has");
    let corpus: Vec<_> = batches.iter().map(|batch| encode(batch).to_vec()).collect();
    fuzz(name, &corpus, 2_000, |bytes| {
        let same = corpus.iter().position(|one| one == bytes).map(|at| &batches[at]);
        let rows = same.map_or(7, |batch| batch.num_rows());
        let block = block(codec, rows as u32, Bytes::copy_from_slice(bytes));
        let decode = || {
            let one = decoder.decode(&block)?;
            if decoder.joins(&block) {
                let two = decoder.decode_together(&[block.clone(), block.clone()])?;
                assert_eq!(two.slice(one.num_rows(), one.num_rows()), one);
            }
            Result::<_, Error>::Ok(one)
        };
        let (decoded, peak) = peak_of(|| quietly(decode));
        assert!(peak <= 3 * UNFOLDED * bytes.len() + besides, "{peak} for {}", bytes.len());
        match (decoded, same) {
            (Ok(decoded), Some(batch)) => assert_eq!(&decoded, batch),
            (Err(error), Some(_)) => panic!("its own body: {error}"),
            (Err(error), None) if bytes.first() != Some(&1) => {
                assert!(matches!(error.kind(), Kind::Bug | Kind::Invalid), "{error}");
            }
            (Err(error), None) => assert_eq!(error.kind(), Kind::Bug, "{error}"),
            (Ok(decoded), None) => assert_eq!(decoded.num_rows(), rows),
        }
    });
}

/// Blocks of every type, of few rows and of so many that nothing is only copied.
fn of_columns(name: &str, style: Style) {
    let encode =
        |batch: &RecordBatch| Encoder::new(batch.schema()).encode(batch, style).expect("encodes");
    let every = [0, 1, 7, 100].map(data::every_type);
    run(&format!("{name} of every type"), (Codec::Columns, BESIDES), &every, encode);
    let flat = [7, 60, 1100].map(data::flat_types);
    run(&format!("{name} of flat types"), (Codec::Columns, BESIDES), &flat, encode);
}

#[test]
fn changed_plain_bodies_are_errors_or_batches() {
    of_columns("plain bodies", Style::PLAIN);
}

#[test]
fn changed_small_bodies_are_errors_or_batches() {
    // Without compression, changes reach the columns.
    of_columns("small bodies", Style { compression: Compression::Nothing, ..Style::LZ4 });
}

#[test]
fn changed_compressed_bodies_are_errors_or_batches() {
    of_columns("bodies in LZ4", Style::LZ4);
    of_columns("bodies in ZSTD", Style::ZSTD);
}

#[test]
fn changed_bodies_of_older_builds_are_errors_or_batches() {
    let batches = [0, 1, 7, 100].map(data::every_type);
    let kinds = [(Codec::Plain, None), (Codec::Lz4, Some(CompressionType::LZ4_FRAME))];
    for (codec, compression) in kinds {
        let encode = |batch: &RecordBatch| {
            let encoder = MessageEncoder::new(batch.schema(), compression);
            encoder.encode(batch).expect("encodes")
        };
        run(&format!("old {codec:?} bodies"), (codec, BESIDES_OLD), &batches, encode);
    }
}
