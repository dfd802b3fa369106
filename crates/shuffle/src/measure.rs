//! How many bytes an array shows: about what it will take in a block without compression.
//!
//! Slices count for what they show, not for the buffers that they keep alive, so the sum over the
//! slices of a batch is about the size of the batch. Arrow's own sizes count whole buffers.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

/// Bytes that the batch shows.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

/// Bytes that Arrow's coalescer takes for each row that it is to hold, before there is one.
pub(crate) fn reserved_row_bytes(schema: &Schema) -> usize {
    let width = |data_type: &DataType| match data_type {
        DataType::Utf8View | DataType::BinaryView => size_of::<u128>(),
        other => other.primitive_width().unwrap_or(0),
    };
    schema.fields().iter().map(|field| width(field.data_type())).sum()
}

fn array_bytes(array: &ArrayRef) -> usize {
    let nulls = array.nulls().map_or(0, |_| array.len() / 8);
    nulls + value_bytes(array)
}

fn value_bytes(array: &ArrayRef) -> usize {
    let rows = array.len();
    match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows / 8,
        DataType::Utf8 => span(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => span(array.as_string::<i64>().value_offsets()),
        DataType::Binary => span(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => span(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => rows * 16 + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => rows * 16 + array.as_binary_view().total_buffer_bytes_used(),
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        DataType::Struct(_) => array.as_struct().columns().iter().map(array_bytes).sum(),
        DataType::FixedSizeList(..) => array_bytes(array.as_fixed_size_list().values()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            items(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            items(list.value_offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            items(map.value_offsets(), &entries)
        }
        DataType::Dictionary(..) => dictionary_bytes(array),
        other => match other.primitive_width() {
            Some(width) => rows * width,
            // Rare types (list views, unions, runs): an upper bound will do.
            None => array.get_array_memory_size(),
        },
    }
}

/// Keys, and the values as far as the keys can use them.
fn dictionary_bytes(array: &ArrayRef) -> usize {
    let dictionary = array.as_any_dictionary();
    let keys = dictionary.keys().data_type().primitive_width().unwrap_or(8) * array.len();
    let values = dictionary.values();
    if values.is_empty() {
        return keys;
    }
    let used = array.len().min(values.len());
    keys + array_bytes(values) * used / values.len()
}

fn span<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    let (from, to) = ends(offsets);
    to - from + size_of_val(offsets)
}

fn items<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> usize {
    let (from, to) = ends(offsets);
    array_bytes(&values.slice(from, to - from)) + size_of_val(offsets)
}

/// The first and the last offset.
pub(crate) fn ends<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (first.as_usize(), last.as_usize()),
        _ => (0, 0),
    }
}
