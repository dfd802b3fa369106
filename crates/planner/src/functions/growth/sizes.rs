//! How long values are.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use super::text;

/// Bytes of one value.
pub(super) fn size(array: &ArrayRef, row: usize) -> u64 {
    if let Some(text) = text(array, row) {
        return text.len() as u64;
    }
    if let Some(bytes) = array.data_type().primitive_width() {
        return bytes as u64;
    }
    of_all(&array.slice(row, 1))
}

/// Bytes of all rows of an argument: constants have one.
pub(super) fn of_rows(array: &ArrayRef, rows: usize) -> u64 {
    if array.len() == rows { of_all(array) } else { size(array, 0).saturating_mul(rows as u64) }
}

/// Bytes of all values, at once: looking at each takes longer than what some functions do with it.
fn of_all(array: &ArrayRef) -> u64 {
    let span = |first: i64, last: i64| (last - first).unsigned_abs();
    let ends = |offsets: &[i32]| {
        span(offsets.first().map_or(0, |o| (*o).into()), offsets.last().map_or(0, |o| (*o).into()))
    };
    let large_ends = |offsets: &[i64]| {
        span(offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0))
    };
    match array.data_type() {
        DataType::Utf8 => ends(array.as_string::<i32>().value_offsets()),
        DataType::Binary => ends(array.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => large_ends(array.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => large_ends(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        _ => {
            let bytes = array.to_data().get_slice_memory_size();
            bytes.unwrap_or_else(|_| array.get_array_memory_size()) as u64
        }
    }
}

/// Values in a list, and in the lists within.
pub(super) fn leaves(array: &ArrayRef, row: usize) -> u64 {
    let values = match array.data_type() {
        _ if array.is_null(row) => return 0,
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        _ => return 1,
    };
    if values.data_type().is_nested() {
        return (0..values.len()).map(|row| leaves(&values, row)).fold(0, u64::saturating_add);
    }
    values.len() as u64
}

/// Bytes of each value of a type, NULL included, if all are equally long.
pub(in crate::functions) fn width(kind: &DataType) -> u64 {
    match kind {
        DataType::FixedSizeBinary(bytes) => bytes.unsigned_abs().into(),
        DataType::FixedSizeList(item, items) => {
            width(item.data_type()).max(1).saturating_mul(items.unsigned_abs().into())
        }
        DataType::Struct(fields) => {
            fields.iter().map(|field| width(field.data_type())).fold(0, u64::saturating_add)
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            width(item.data_type())
        }
        kind => kind.primitive_width().unwrap_or(0) as u64,
    }
}
