//! Bodies: every type, slices, and no hidden bytes.

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, Int64Array, ListArray,
    RecordBatchOptions, StringArray, StringViewArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use bytes::Bytes;
use dunlin_base::{Kind, PartitionId};
use dunlin_proto::block::{Block, BlockId, Codec};
use proptest::prelude::*;

use super::*;
use crate::codec::{Compression, Decoder, Encoder, MessageEncoder, Style};

const STYLES: [Style; 3] = [Style::PLAIN, Style::LZ4, Style::ZSTD];

fn block(rows: usize, codec: Codec, body: Bytes) -> Block {
    let id = BlockId {
        shuffle: shuffle(),
        partition: PartitionId(0),
        map: 0,
        attempt: Attempt(0),
        batch: 0,
    };
    Block::new(id, rows as u32, codec, body)
}

fn encode(batch: &RecordBatch, style: Style) -> Block {
    let body = Encoder::new(batch.schema()).encode(batch, style).expect("encodes");
    block(batch.num_rows(), Codec::Columns, body)
}

fn decode(block: &Block, like: &RecordBatch) -> RecordBatch {
    let decoder = Decoder::new(like.schema()).expect("a schema that IPC has");
    decoder.decode(block).expect("decodes")
}

fn one_column(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", array, true)]).expect("one column")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_type_and_slice_comes_back(rows in rows(), cut in 0..200_usize, keep in rows(), style in 0..3_usize) {
        let from = cut.min(rows);
        let batch = data::every_type(rows).slice(from, keep.min(rows - from));
        let decoded = decode(&encode(&batch, STYLES[style]), &batch);
        assert_eq!(decoded, batch);
        for column in decoded.columns() {
            column.to_data().validate_full().expect("valid");
        }
    }

    #[test]
    fn blocks_of_few_rows_become_one_batch(lengths in prop::collection::vec((0..60_usize, 0..3_usize), 1..9)) {
        let rows = lengths.iter().map(|(rows, _)| rows).sum();
        let batch = data::flat_types(rows);
        let (encoder, decoder) = (Encoder::new(batch.schema()), Decoder::new(batch.schema()));
        let decoder = decoder.expect("a schema that IPC has");
        let mut from = 0;
        let blocks: Vec<_> = lengths.iter().map(|(rows, style)| {
            from += rows;
            // Twice the range: each is a body of its own.
            let ranges = [from - rows..from, from - rows..from];
            let bodies = encoder.encode_ranges(&batch, &ranges, STYLES[*style]).expect("encodes");
            assert_eq!(bodies[0], bodies[1]);
            block(*rows, Codec::Columns, bodies[1].clone())
        }).collect();
        assert!(blocks.iter().all(|block| decoder.joins(block)));
        let decoded = decoder.decode_together(&blocks).expect("its own");
        assert_eq!(decoded, batch);
        for column in decoded.columns() {
            column.to_data().validate_full().expect("valid");
        }
    }
}

/// Mostly few; some blocks of so many that values are looked at.
fn rows() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..200_usize, 1 => 1000..3000_usize]
}

#[test]
fn bodies_of_older_builds_are_read() {
    let batch = data::every_type(100);
    let compressions = [(Codec::Plain, None), (Codec::Lz4, Some(CompressionType::LZ4_FRAME))];
    for (codec, compression) in compressions {
        let body = MessageEncoder::new(batch.schema(), compression).encode(&batch);
        assert_eq!(decode(&block(100, codec, body.expect("encodes")), &batch), batch);
    }
}

#[test]
fn a_body_of_other_columns_is_one_clear_error() {
    let batch = data::rows(0, 10);
    let other = one_column(Arc::clone(batch.column(0)));
    let decoder = Decoder::new(other.schema()).expect("a schema that IPC has");
    let error = error(decoder.decode(&encode(&batch, Style::PLAIN)));
    assert_eq!(error.kind(), Kind::Bug);
    assert!(error.to_string().contains("it has 3 columns of fingerprint"), "{error}");
}

#[test]
fn a_body_of_a_later_build_is_not_taken_for_a_broken_one() {
    let batch = data::rows(0, 10);
    let mut bytes = encode(&batch, Style::PLAIN).body.to_vec();
    bytes[0] += 1;
    let decoder = Decoder::new(batch.schema()).expect("a schema that IPC has");
    let error = error(decoder.decode(&block(10, Codec::Columns, bytes.into())));
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn small_columns_take_few_bytes() {
    let rows = 8192_i64;
    let decimals =
        Decimal128Array::from_iter_values((0..rows).map(|n| i128::from(n * 7919 % 50) * 100));
    let decimals = decimals.with_precision_and_scale(15, 2).expect("they fit");
    let keys = Int64Array::from_iter_values((0..rows).map(|n| n / 4 * 32));
    let flags = StringViewArray::from_iter_values(
        (0..rows).map(|n| ["A", "N", "R"][(n * 7919 % 3) as usize]),
    );
    let names = StringArray::from_iter_values((0..rows).map(|n| format!("Customer#{n:018}")));
    let arrays: [(&str, ArrayRef, usize); 4] = [
        ("few decimals", Arc::new(decimals), 8192 * 6 / 8),
        ("keys", Arc::new(keys), 8192 * 6 / 8),
        ("flags", Arc::new(flags), 8192 / 4),
        ("names", Arc::new(names), 8192 * 3),
    ];
    for (name, array, most) in arrays {
        let batch = one_column(array);
        let style = Style { compression: Compression::Nothing, ..Style::LZ4 };
        let block = encode(&batch, style);
        assert!(block.body.len() < most + 200, "{name}: {} bytes", block.body.len());
        assert_eq!(decode(&block, &batch), batch, "{name}");
    }
}

#[test]
fn blocks_of_few_rows_cost_little_beside_them() {
    let batch = data::rows(0, 13);
    let block = encode(&batch.project(&[0, 1]).expect("two columns"), Style::PLAIN);
    assert!(block.body.len() < 13 * 8 + 13 + 13 * 26 + 16 + 16, "{}", block.body.len());
}

#[test]
fn a_slice_does_not_drag_its_parent_along() {
    let long = |n: u32| format!("a string that is much longer than twelve bytes: {n}");
    let views: ArrayRef = Arc::new((0..8192).map(|n| Some(long(n))).collect::<StringViewArray>());
    let words = (0..8192).map(|n| Some(long(n))).collect::<Vec<_>>();
    let words = words.iter().map(|s| s.as_deref()).collect::<DictionaryArray<Int32Type>>();
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let offsets = OffsetBuffer::<i32>::from_lengths((0..4096).map(|_| 2));
    let list = ListArray::new(item, offsets, Arc::clone(&views), None);
    let arrays: [(&str, ArrayRef); 3] =
        [("views", views), ("dictionary", Arc::new(words)), ("list of views", Arc::new(list))];
    for (name, array) in arrays {
        let slice = one_column(array.slice(2000, 41));
        let block = encode(&slice, Style::PLAIN);
        assert!(block.body.len() < 8_000, "{name}: {} bytes", block.body.len());
        assert_eq!(decode(&block, &slice), slice, "{name}");
    }
}

#[test]
fn views_that_share_a_buffer_keep_sharing_it() {
    let one = "a string that is much longer than twelve bytes";
    let mut builder = arrow::array::StringViewBuilder::new().with_deduplicate_strings();
    (0..5000).for_each(|_| builder.append_value(one));
    let batch = one_column(Arc::new(builder.finish()));
    let block = encode(&batch, Style::PLAIN);
    assert!(block.body.len() < 5000 * 17 + 1000, "{}", block.body.len());
}

#[test]
fn batches_without_columns_keep_their_rows() {
    let options = RecordBatchOptions::new().with_row_count(Some(77));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, vec![], &options).expect("no columns");
    for style in STYLES {
        assert_eq!(decode(&encode(&batch, style), &batch).num_rows(), 77);
    }
}

#[test]
fn plain_bodies_of_many_rows_are_decoded_in_place() {
    let batch = data::every_type(2000);
    let block = encode(&batch, Style::PLAIN);
    let body = block.body.as_ptr_range();
    let decoded = decode(&block, &batch);
    for (column, field) in decoded.columns().iter().zip(batch.schema().fields()) {
        for buffer in column.to_data().buffers() {
            let inside = buffer.is_empty() || body.contains(&buffer.as_ptr());
            assert!(inside, "{field} was copied");
        }
    }
}

#[test]
fn misaligned_bodies_decode_too() {
    let batch = data::every_type(1100);
    let mut block = encode(&batch, Style::PLAIN);
    for shift in 1..16 {
        let moved = [&vec![0; shift], block.body.as_ref()].concat();
        block.body = Bytes::from(moved).slice(shift..);
        assert_eq!(decode(&block, &batch), batch, "shifted by {shift}");
    }
}

#[test]
fn the_reader_decides_names_and_nullability() {
    let batch = data::rows(0, 10);
    let schema = data::schema();
    let renamed = schema.fields().iter().map(|f| {
        let metadata = [("k".to_owned(), "v".to_owned())].into();
        Field::new(format!("my {}", f.name()), f.data_type().clone(), true).with_metadata(metadata)
    });
    let renamed = Arc::new(Schema::new(renamed.collect::<Vec<_>>()));
    let decoder = Decoder::new(Arc::clone(&renamed)).expect("a schema that IPC has");
    let decoded = decoder.decode(&encode(&batch, Style::PLAIN)).expect("same types");
    assert_eq!(decoded.schema(), renamed);
    assert_eq!(decoded.columns(), batch.columns());
}

#[test]
fn wrong_columns_rows_and_cut_bodies_are_bugs() {
    let batch = data::rows(0, 10);
    let other = one_column(Arc::clone(batch.column(0)));
    let encoder = Encoder::new(batch.schema());
    assert_eq!(error(encoder.encode(&other, Style::PLAIN)).kind(), Kind::Bug);

    let decoder = Decoder::new(batch.schema()).expect("a schema that IPC has");
    let block = encode(&batch, Style::PLAIN);
    let wrong = Block { rows: 9, ..block.clone() };
    assert_eq!(error(decoder.decode(&wrong)).kind(), Kind::Bug);
    for length in 0..block.body.len() {
        let cut = Block { body: block.body.slice(..length), ..block.clone() };
        assert_eq!(error(decoder.decode(&cut)).kind(), Kind::Bug, "cut at {length}");
    }
    assert!(decoder.decode(&block).expect("whole").column(2).as_any_dictionary().len() == 10);
}
