//! Cuts an array down to what it shows, before it is encoded.
//!
//! A slice of a view array keeps all data buffers of its parent, and a slice of a dictionary array
//! the whole dictionary; Arrow IPC would write them all: 10 to 100 times the bytes. Other arrays
//! are cut by the IPC writer itself.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericByteViewArray, GenericListArray, MapArray,
    OffsetSizeTrait, StructArray, UInt32Array, make_array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{ByteViewType, DataType};
use arrow::error::ArrowError;

use crate::measure::ends;

/// Buffers may hold twice what is shown, and this much more, before they are copied: copying costs
/// a pass over the strings.
const SLACK: usize = 256;

/// True if arrays of this type may drag hidden bytes along.
pub(crate) fn may_drag(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => may_drag(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| may_drag(field.data_type())),
        _ => false,
    }
}

/// The same values without hidden bytes; `None` if the array is compact enough as it is.
pub(crate) fn compact(array: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    if !may_drag(array.data_type()) {
        return Ok(None);
    }
    match array.data_type() {
        DataType::Utf8View => Ok(views(array.as_string_view())),
        DataType::BinaryView => Ok(views(array.as_binary_view())),
        DataType::Dictionary(..) => dictionary(array),
        DataType::Struct(_) => structure(array.as_struct()),
        DataType::FixedSizeList(..) => fixed_size_list(array.as_fixed_size_list()),
        DataType::List(_) => list(array.as_list::<i32>()),
        DataType::LargeList(_) => list(array.as_list::<i64>()),
        DataType::Map(..) => map(array.as_map()),
        _ => Ok(None),
    }
}

fn views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let held: usize = array.data_buffers().iter().map(Buffer::len).sum();
    if held <= SLACK || held <= 2 * array.total_buffer_bytes_used() + SLACK {
        return None;
    }
    Some(Arc::new(array.gc()))
}

fn structure(array: &StructArray) -> Result<Option<ArrayRef>, ArrowError> {
    let compacted: Vec<_> = array.columns().iter().map(compact).collect::<Result<_, _>>()?;
    if compacted.iter().all(Option::is_none) {
        return Ok(None);
    }
    let columns = compacted.into_iter().zip(array.columns());
    let columns = columns.map(|(new, old)| new.unwrap_or_else(|| Arc::clone(old))).collect();
    let array = StructArray::try_new(array.fields().clone(), columns, array.nulls().cloned())?;
    Ok(Some(Arc::new(array)))
}

fn fixed_size_list(array: &FixedSizeListArray) -> Result<Option<ArrayRef>, ArrowError> {
    let DataType::FixedSizeList(field, size) = array.data_type() else { return Ok(None) };
    let Some(values) = compact(array.values())? else { return Ok(None) };
    let nulls = array.nulls().cloned();
    let array = FixedSizeListArray::try_new(Arc::clone(field), *size, values, nulls)?;
    Ok(Some(Arc::new(array)))
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> Result<Option<ArrayRef>, ArrowError> {
    let (DataType::List(field) | DataType::LargeList(field)) = array.data_type() else {
        return Ok(None);
    };
    let (from, to) = ends(array.value_offsets());
    let Some(values) = compact(&array.values().slice(from, to - from))? else { return Ok(None) };
    let offsets = from_zero(array.value_offsets());
    let nulls = array.nulls().cloned();
    let array = GenericListArray::try_new(Arc::clone(field), offsets, values, nulls)?;
    Ok(Some(Arc::new(array)))
}

fn map(array: &MapArray) -> Result<Option<ArrayRef>, ArrowError> {
    let DataType::Map(field, ordered) = array.data_type() else { return Ok(None) };
    let (from, to) = ends(array.value_offsets());
    let entries: ArrayRef = Arc::new(array.entries().slice(from, to - from));
    let Some(entries) = compact(&entries)? else { return Ok(None) };
    let (offsets, nulls) = (from_zero(array.value_offsets()), array.nulls().cloned());
    let entries = entries.as_struct().clone();
    let array = MapArray::try_new(Arc::clone(field), offsets, entries, nulls, *ordered)?;
    Ok(Some(Arc::new(array)))
}

fn from_zero<O: OffsetSizeTrait>(offsets: &[O]) -> OffsetBuffer<O> {
    let first = offsets.first().copied().unwrap_or_default();
    OffsetBuffer::new(offsets.iter().map(|o| *o - first).collect::<ScalarBuffer<O>>())
}

/// Keeps the values that keys name, in the order of their first use.
fn dictionary(array: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    if values.len() <= 2 * array.len() + SLACK / 16 {
        let compacted = compact(values)?;
        return Ok(compacted.map(|values| dictionary.with_values(values)));
    }
    let keys = dictionary.keys();
    let mut new_of_old = vec![u32::MAX; values.len()];
    let mut used: Vec<u32> = Vec::new();
    let mut renumber = |(row, old): (usize, usize)| {
        if keys.is_null(row) {
            return None;
        }
        if new_of_old[old] == u32::MAX {
            new_of_old[old] = used.len() as u32;
            used.push(old as u32);
        }
        Some(new_of_old[old])
    };
    let new_keys: UInt32Array =
        dictionary.normalized_keys().into_iter().enumerate().map(&mut renumber).collect();
    let new_values = take(values.as_ref(), &UInt32Array::from(used), None)?;
    let new_values = compact(&new_values)?.unwrap_or(new_values);
    // There are at most as many keys as before, so they fit the type of the old ones.
    let new_keys = cast(&new_keys, keys.data_type())?;
    let data = new_keys.to_data().into_builder().data_type(array.data_type().clone());
    Ok(Some(make_array(data.add_child_data(new_values.to_data()).build()?)))
}
