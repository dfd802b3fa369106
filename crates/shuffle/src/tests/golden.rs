//! Bodies as the first build wrote them stay readable: `tests/fixtures/body-1.hex`, of version 1 of the
//! columns and of the IPC messages before them. What is written may change within the version, since
//! how a column is encoded is the writer's choice; what it is decoded to may not. Set
//! `DUNLIN_WRITE_FIXTURES` to write them anew, which is right only for what was added.

use std::path::PathBuf;

use arrow::array::{Int16Array, Int64Array};
use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use bytes::Bytes;
use dunlin_base::PartitionId;
use dunlin_proto::block::{Block, BlockId, Codec};

use super::*;
use crate::codec::{Decoder, Encoder, MessageEncoder, Style};

/// Hexadecimal digits of a line.
const LINE: usize = 96;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/body-1.hex")
}

/// Numbers in steps, few of them, and with gaps.
fn numbers() -> RecordBatch {
    let rows = 0..1100_i64;
    let steps = Int64Array::from_iter_values(rows.clone().map(|n| 1_000_000 + 60 * n));
    let few = Int16Array::from_iter(rows.map(|n| (n % 7 != 3).then_some((n / 100) as i16)));
    let columns = [("steps", Arc::new(steps) as _, false), ("few", Arc::new(few) as _, true)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

/// Name, codec, what is in it, and the body as it would be written today.
fn all() -> Vec<(String, Codec, RecordBatch, Bytes)> {
    let mut all = Vec::new();
    for (name, batch) in [("every type", data::every_type(12)), ("numbers", numbers())] {
        for (style, how) in [(Style::PLAIN, "plain"), (Style::LZ4, "lz4"), (Style::ZSTD, "zstd")] {
            let body = Encoder::new(batch.schema()).encode(&batch, style).expect("encodes");
            all.push((format!("{name}, {how}"), Codec::Columns, batch.clone(), body));
        }
    }
    let batch = data::every_type(12);
    for (codec, lz4) in [(Codec::Plain, None), (Codec::Lz4, Some(CompressionType::LZ4_FRAME))] {
        let body = MessageEncoder::new(batch.schema(), lz4).encode(&batch).expect("encodes");
        all.push((format!("every type, message {codec:?}"), codec, batch.clone(), body));
    }
    all
}

fn write(all: &[(String, Codec, RecordBatch, Bytes)]) {
    let mut text = String::new();
    for (name, _, _, body) in all {
        let digits: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(name);
        for line in digits.as_bytes().chunks(LINE) {
            text.push_str("\n  ");
            text.push_str(std::str::from_utf8(line).expect("digits"));
        }
        text.push('\n');
    }
    std::fs::write(path(), text).expect("written");
}

/// The body of this name.
fn body(text: &str, name: &str) -> Bytes {
    let mut lines = text.lines().skip_while(|line| *line != name);
    assert_eq!(lines.next(), Some(name));
    let digits: String = lines.map_while(|line| line.strip_prefix("  ")).collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn bodies_of_the_first_build_are_decoded_to_what_was_written() {
    let all = all();
    if std::env::var_os("DUNLIN_WRITE_FIXTURES").is_some() {
        write(&all);
    }
    let text = std::fs::read_to_string(path()).expect("is there");
    assert_eq!(text.lines().filter(|line| !line.starts_with(' ')).count(), all.len());
    for (name, codec, batch, _) in all {
        let (map, attempt, batch_number) = (0, Attempt(0), 0);
        let partition = PartitionId(0);
        let id = BlockId { shuffle: shuffle(), partition, map, attempt, batch: batch_number };
        let block = Block::new(id, batch.num_rows() as u32, codec, body(&text, &name));
        let decoder = Decoder::new(batch.schema()).expect("a schema that IPC has");
        let decoded = decoder.decode(&block).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(decoded, batch, "{name}");
    }
}
