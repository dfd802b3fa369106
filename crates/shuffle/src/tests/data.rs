//! Batches to write: a narrow one for most tests, and one with every type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, IntervalMonthDayNanoArray,
    LargeListArray, ListArray, MapArray, NullArray, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Fields, Int64Type, IntervalMonthDayNano, IntervalUnit, Schema, SchemaRef,
    TimeUnit,
};
use arrow::record_batch::RecordBatch;

/// A number, a string view and a dictionary.
pub(super) fn schema() -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, true),
        Field::new("word", dictionary, true),
    ]))
}

/// Rows `from..to` of an endless table of [`schema`].
pub(super) fn rows(from: i64, to: i64) -> RecordBatch {
    let text = |n: i64| (n % 7 != 0).then(|| format!("row {n} {}", "x".repeat((n % 40) as usize)));
    let word = |n: i64| (n % 5 != 0).then(|| format!("word {}", n % 11));
    let words: StringArray = (from..to).map(word).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..to)),
        Arc::new((from..to).map(text).collect::<StringViewArray>()),
        cast(&words, schema().field(2).data_type()).expect("strings have dictionaries"),
    ];
    RecordBatch::try_new(schema(), columns).expect("columns of the schema")
}

/// The numbers of batches of [`schema`]: which rows they are.
pub(super) fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| Arc::clone(batch.column(0));
    let values = |array: ArrayRef| array.as_primitive::<Int64Type>().values().to_vec();
    batches.iter().map(column).flat_map(values).collect()
}

/// A batch with a column of every type that a plan can produce, with and without nulls.
pub(super) fn every_type(rows: usize) -> RecordBatch {
    let mut columns = flat(rows);
    columns.extend(nested(rows));
    let field = |(n, array): (usize, &ArrayRef)| {
        Field::new(format!("c{n}"), array.data_type().clone(), true)
    };
    let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of the schema")
}

/// As [`every_type`], without the nested ones and dictionaries.
pub(super) fn flat_types(rows: usize) -> RecordBatch {
    let nested = |t: &DataType| matches!(t, DataType::Dictionary(..));
    let columns = flat(rows).into_iter().filter(|array| !nested(array.data_type()));
    let named = columns.enumerate().map(|(n, array)| (format!("c{n}"), array, true));
    RecordBatch::try_from_iter_with_nullable(named).expect("columns of one length")
}

fn integers(rows: usize) -> Int64Array {
    (0..rows as i64).map(|n| (n % 6 != 0).then_some(n * 17 % 101)).collect()
}

fn strings(rows: usize) -> StringArray {
    let text = |n: usize| (!n.is_multiple_of(4)).then(|| "grün".repeat(n % 9));
    (0..rows).map(text).collect()
}

fn flat(rows: usize) -> Vec<ArrayRef> {
    use DataType::*;
    let (integers, strings) = (integers(rows), strings(rows));
    let zone = Some("+02:00".into());
    let dictionary = |key, value| Dictionary(Box::new(key), Box::new(value));
    let of_integers = [
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float16,
        Float32,
        Float64,
        Boolean,
        Date32,
        Date64,
        Time32(TimeUnit::Second),
        Time64(TimeUnit::Nanosecond),
        Timestamp(TimeUnit::Microsecond, zone),
        Duration(TimeUnit::Millisecond),
        Decimal32(7, 2),
        Decimal64(12, 3),
        Decimal128(20, 4),
        Decimal256(50, 5),
        dictionary(UInt16, Int64),
    ];
    let of_strings = [
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        dictionary(Int8, Utf8),
        dictionary(Int32, Utf8View),
    ];
    let interval = |n| IntervalMonthDayNano::new(n, -n, i64::from(n) << 40);
    let intervals = IntervalMonthDayNanoArray::from_iter_values((0..rows as i32).map(interval));
    assert_eq!(intervals.data_type(), &Interval(IntervalUnit::MonthDayNano));
    let fixed = strings.iter().map(|s| s.map(|s| [s.len() as u8; 3]));
    let fixed = arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 3);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(NullArray::new(rows)),
        Arc::new(intervals),
        Arc::new(fixed.expect("all of one size")),
    ];
    let narrow = cast(&integers, &Int32).expect("a supported cast");
    let from_integers = |t| cast(&integers, t).or_else(|_| cast(&narrow, t));
    columns.extend(of_integers.iter().map(|t| from_integers(t).expect("a supported cast")));
    columns.extend(of_strings.iter().map(|t| cast(&strings, t).expect("a supported cast")));
    columns
}

fn nested(rows: usize) -> Vec<ArrayRef> {
    let views = cast(&strings(2 * rows), &DataType::Utf8View).expect("a supported cast");
    let dictionary = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
    let words = cast(&strings(rows), &dictionary).expect("a supported cast");
    let item = |array: &ArrayRef| Arc::new(Field::new("item", array.data_type().clone(), true));
    let lengths = || {
        (0..rows).map(|n| n % 3).scan(2 * rows, |left, want| {
            let take = want.min(*left);
            *left -= take;
            Some(take)
        })
    };
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths());
    let used = offsets.last().map_or(0, |last| *last as usize);
    let nulls = || Some((0..rows).map(|n| n % 5 != 1).collect::<NullBuffer>());
    let items = views.slice(0, used);
    let list = ListArray::new(item(&items), offsets.clone(), Arc::clone(&items), nulls());
    let list: ArrayRef = Arc::new(list);
    let wide = OffsetBuffer::<i64>::from_lengths(lengths());
    let large = LargeListArray::new(item(&items), wide, Arc::clone(&items), None);
    let pairs = FixedSizeListArray::new(item(&views), 2, Arc::clone(&views), nulls());
    let structure = |columns: Vec<ArrayRef>, nulls| {
        let name =
            |(n, a): (usize, &ArrayRef)| Field::new(format!("f{n}"), a.data_type().clone(), n > 0);
        let fields: Fields = columns.iter().enumerate().map(name).collect();
        StructArray::new(fields, columns, nulls)
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let record = structure(vec![numbers, words, Arc::clone(&list)], nulls());
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..used as i64));
    let entries = structure(vec![keys, items], None);
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(entry, offsets, entries, nulls(), false);
    vec![list, Arc::new(large), Arc::new(pairs), Arc::new(record), Arc::new(map)]
}
