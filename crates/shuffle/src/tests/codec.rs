//! Bodies: every type, slices, and no hidden bytes.

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, ListArray, RecordBatchOptions, StringViewArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_base::{Kind, PartitionId};
use dunlin_proto::block::{Block, BlockId, Codec};
use proptest::prelude::*;

use super::*;
use crate::codec::{Decoder, Encoder};

fn encode(batch: &RecordBatch, codec: Codec) -> Block {
    let id = BlockId {
        shuffle: shuffle(),
        partition: PartitionId(0),
        map: 0,
        attempt: Attempt(0),
        batch: 0,
    };
    let body = Encoder::new(batch.schema(), codec).encode(batch).expect("encodes");
    Block::new(id, batch.num_rows() as u32, codec, body)
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
    fn every_type_and_slice_comes_back(rows in 0..200_usize, cut in 0..200_usize, keep in 0..200_usize, lz4: bool) {
        let from = cut.min(rows);
        let batch = data::every_type(rows).slice(from, keep.min(rows - from));
        let codec = if lz4 { Codec::Lz4 } else { Codec::Plain };
        let decoded = decode(&encode(&batch, codec), &batch);
        assert_eq!(decoded, batch);
        for column in decoded.columns() {
            column.to_data().validate_full().expect("valid");
        }
    }
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
        let block = encode(&slice, Codec::Plain);
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
    let block = encode(&batch, Codec::Plain);
    assert!(block.body.len() < 5000 * 17 + 1000, "{}", block.body.len());
}

#[test]
fn batches_without_columns_keep_their_rows() {
    let options = RecordBatchOptions::new().with_row_count(Some(77));
    let schema = Arc::new(Schema::empty());
    let batch = RecordBatch::try_new_with_options(schema, vec![], &options).expect("no columns");
    for codec in [Codec::Plain, Codec::Lz4] {
        assert_eq!(decode(&encode(&batch, codec), &batch).num_rows(), 77);
    }
}

#[test]
fn plain_bodies_are_decoded_in_place() {
    let batch = data::every_type(100);
    let block = encode(&batch, Codec::Plain);
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
    let batch = data::every_type(100);
    let mut block = encode(&batch, Codec::Plain);
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
    let decoded = decoder.decode(&encode(&batch, Codec::Plain)).expect("same types");
    assert_eq!(decoded.schema(), renamed);
    assert_eq!(decoded.columns(), batch.columns());
}

#[test]
fn wrong_columns_rows_and_cut_bodies_are_bugs() {
    let batch = data::rows(0, 10);
    let other = one_column(Arc::clone(batch.column(0)));
    let encoder = Encoder::new(batch.schema(), Codec::Plain);
    assert_eq!(error(encoder.encode(&other)).kind(), Kind::Bug);

    let decoder = Decoder::new(batch.schema()).expect("a schema that IPC has");
    let block = encode(&batch, Codec::Plain);
    let wrong = Block { rows: 9, ..block.clone() };
    assert_eq!(error(decoder.decode(&wrong)).kind(), Kind::Bug);
    for length in 0..block.body.len() {
        let cut = Block { body: block.body.slice(..length), ..block.clone() };
        assert_eq!(error(decoder.decode(&cut)).kind(), Kind::Bug, "cut at {length}");
    }
    assert!(decoder.decode(&block).expect("whole").column(2).as_any_dictionary().len() == 10);
}
