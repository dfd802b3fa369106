//! How long the result of a function becomes, reckoned from its arguments: at least what it really
//! becomes, and not much more.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use dunlin_base::Error;

use crate::errors::into_datafusion;

/// Bytes of an index or offset that lists are made with.
const INDEX: u64 = 8;

/// The longest character, and the longest text of a number.
const CHARACTER: u64 = 4;
const NUMBER: u64 = 32;

const DAY_NANOS: i128 = 86_400_000_000_000;

/// The kinds of growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Growth {
    /// A text, so many times.
    Repeat,
    /// A text made so many characters long.
    Pad,
    /// A list of so many times the same value.
    List,
    /// A list made so long.
    Resize,
    /// All values from one to another.
    Range,
    /// A text in which each of some text becomes another.
    Replace,
    /// The same for what a pattern matches: reckoned for constants, as rows cannot be without
    /// matching them.
    ReplaceMatches,
    /// A list in which each of some value becomes another.
    ReplaceInList,
    /// A text of all values of a list.
    Join,
    /// All arguments together.
    Sum,
    /// The same, with the first of them between all others.
    Separated,
}

impl Growth {
    /// By the names of the functions.
    pub(super) const EACH: [(&str, Self); 16] = [
        ("repeat", Self::Repeat),
        ("lpad", Self::Pad),
        ("rpad", Self::Pad),
        ("array_repeat", Self::List),
        ("array_resize", Self::Resize),
        ("range", Self::Range),
        ("generate_series", Self::Range),
        ("replace", Self::Replace),
        ("regexp_replace", Self::ReplaceMatches),
        ("array_replace", Self::ReplaceInList),
        ("array_replace_n", Self::ReplaceInList),
        ("array_replace_all", Self::ReplaceInList),
        ("array_to_string", Self::Join),
        ("array_concat", Self::Sum),
        ("concat", Self::Sum),
        ("concat_ws", Self::Separated),
    ];

    /// Bytes of the result for so many rows. `Invalid`: an interval that goes forth and back.
    pub(super) fn bytes(self, args: &[ColumnarValue], rows: usize) -> Result<u64> {
        if self == Self::ReplaceMatches && rows != 1 {
            return Ok(0);
        }
        let array = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => Ok(ArrayRef::clone(array)),
            ColumnarValue::Scalar(value) => value.to_array(),
        };
        let arrays: Vec<ArrayRef> = args.iter().map(array).collect::<Result<_>>()?;
        if self == Self::Range {
            return range(&arrays, rows);
        }
        // What counts is the second argument of the first four, if it has one.
        let counts = match (self, arrays.get(1)) {
            (Self::Repeat | Self::Pad | Self::List | Self::Resize, Some(counts)) => {
                Some(ints(counts)?)
            }
            _ => None,
        };
        let row = |row: usize| {
            let count = counts.as_ref().map_or(0, |counts| {
                let at = at(counts, row);
                if counts.is_null(at) { 0 } else { u64::try_from(counts.value(at)).unwrap_or(0) }
            });
            self.of_row(&arrays, row, count)
        };
        Ok((0..rows).map(row).fold(0, u64::saturating_add))
    }

    fn of_row(self, args: &[ArrayRef], row: usize, count: u64) -> u64 {
        let size = |arg: usize| args.get(arg).map_or(0, |array| size(array, at(array, row)));
        let leaves = |arg: usize| args.get(arg).map_or(0, |array| leaves(array, at(array, row)));
        match self {
            Self::Repeat => size(0).saturating_mul(count),
            Self::Pad => count.saturating_mul(CHARACTER),
            Self::List => size(0).saturating_add(INDEX).saturating_mul(count),
            Self::Resize => size(2).saturating_add(INDEX).saturating_mul(count),
            Self::Replace => replaced(args, row),
            Self::ReplaceMatches => {
                // Each match may bring itself again, as often as the replacement says.
                let longest = size(2).saturating_mul(2);
                size(0).saturating_add(1).saturating_mul(longest).saturating_add(size(0))
            }
            Self::ReplaceInList => leaves(0).saturating_mul(size(2)).saturating_add(size(0)),
            Self::Join => {
                let each = size(1).saturating_add(size(2)).saturating_add(NUMBER);
                leaves(0).saturating_mul(each).saturating_add(size(0))
            }
            Self::Sum => (0..args.len()).map(size).fold(0, u64::saturating_add),
            Self::Separated => {
                let between = size(0).saturating_mul(args.len() as u64);
                Self::Sum.of_row(args, row, count).saturating_add(between)
            }
            Self::Range => 0,
        }
    }
}

/// The row of an argument: constants have one.
fn at(array: &dyn Array, row: usize) -> usize {
    if array.len() == 1 { 0 } else { row }
}

fn text(array: &ArrayRef, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return Some("");
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

/// Bytes of one value.
fn size(array: &ArrayRef, row: usize) -> u64 {
    if let Some(text) = text(array, row) {
        return text.len() as u64;
    }
    if let Some(bytes) = array.data_type().primitive_width() {
        return bytes as u64;
    }
    let value = array.slice(row, 1);
    let bytes = value.to_data().get_slice_memory_size();
    bytes.unwrap_or_else(|_| value.get_array_memory_size()) as u64
}

/// Values in a list, and in the lists within.
fn leaves(array: &ArrayRef, row: usize) -> u64 {
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

/// What a text becomes: the bound without looking into it, or if that is much, what it is.
fn replaced(args: &[ArrayRef], row: usize) -> u64 {
    const MUCH: u64 = 1 << 16;
    let [whole, from, to] = args else { return 0 };
    let value = |array: &ArrayRef| text(array, at(array, row)).map(str::to_owned);
    let (Some(from), Some(to)) = (value(from), value(to)) else { return 0 };
    let Some(whole) = text(whole, at(whole, row)) else { return 0 };
    let (length, added) = (whole.len() as u64, to.len() as u64);
    let most = length / (from.len() as u64).max(1) + 1;
    let bound = length.saturating_add(most.saturating_mul(added));
    if bound <= MUCH {
        return bound;
    }
    length.saturating_add((whole.matches(from.as_str()).count() as u64).saturating_mul(added))
}

fn ints(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Bytes of all ranges.
fn range(args: &[ArrayRef], rows: usize) -> Result<u64> {
    if args.iter().any(|array| array.data_type() == &DataType::Null) {
        return Ok(0);
    }
    let first = args.first().map_or(&DataType::Null, |array| array.data_type());
    let (bounds, nanos): (Vec<Int64Array>, i128) = match first {
        DataType::Timestamp(_, zone) => {
            let unit = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            let nanos = |array: &ArrayRef| ints(&cast(array, &unit)?);
            (args.iter().take(2).map(nanos).collect::<Result<_>>()?, 1)
        }
        DataType::Date32 | DataType::Date64 => {
            let days =
                |array: &ArrayRef| ints(&cast(&cast(array, &DataType::Date32)?, &DataType::Int32)?);
            (args.iter().take(2).map(days).collect::<Result<_>>()?, DAY_NANOS)
        }
        _ => (args.iter().map(ints).collect::<Result<_>>()?, 0),
    };
    let value = |array: &Int64Array, row| {
        let at = at(array, row);
        (!array.is_null(at)).then(|| i128::from(array.value(at)))
    };
    let mut total = 0_u64;
    for row in 0..rows {
        let numbers: Option<Vec<i128>> = bounds.iter().map(|array| value(array, row)).collect();
        let Some(numbers) = numbers else { continue };
        let (start, stop, step) = match (numbers.as_slice(), args.get(2)) {
            ([stop], _) => (0, *stop, 1),
            ([start, stop], Some(step)) if nanos > 0 => {
                (*start * nanos, *stop * nanos, step_nanos(step, row)?)
            }
            ([start, stop], _) => (*start, *stop, 1),
            ([start, stop, step], _) => (*start, *stop, *step),
            _ => continue,
        };
        let count = if step == 0 { 0 } else { (stop - start) / step + 1 };
        total =
            total.saturating_add(u64::try_from(count.max(0)).unwrap_or(u64::MAX).saturating_mul(8));
    }
    Ok(total)
}

/// The least that a step goes; 0 for NULL and for what the function refuses.
fn step_nanos(step: &ArrayRef, row: usize) -> Result<i128> {
    let step = cast(step, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let step = step.as_primitive::<IntervalMonthDayNanoType>();
    let at = at(step, row);
    if step.is_null(at) {
        return Ok(0);
    }
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(step.value(at));
    let parts =
        [i128::from(months) * 28 * DAY_NANOS, i128::from(days) * DAY_NANOS, i128::from(nanos)];
    if parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0) {
        let error = Error::invalid("the parts of a step have different signs");
        return Err(into_datafusion(error));
    }
    Ok(parts.iter().sum())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use datafusion::common::ScalarValue;

    use super::*;

    fn constant(value: impl Into<ScalarValue>) -> ColumnarValue {
        ColumnarValue::Scalar(value.into())
    }

    fn texts(values: &[&str]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(StringArray::from(values.to_vec())))
    }

    fn numbers(values: &[i64]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(Int64Array::from(values.to_vec())))
    }

    #[test]
    fn rows_count_together_and_constants_in_each() {
        for (growth, args, rows, bytes) in [
            (Growth::Repeat, vec![texts(&["ab", "c"]), numbers(&[10, -3])], 2, 20),
            (Growth::Repeat, vec![texts(&["ab", "c"]), constant(100_i64)], 2, 300),
            (Growth::Pad, vec![constant("x"), constant(50_i64)], 1, 200),
            (Growth::List, vec![constant(1_i64), constant(100_i64)], 1, 1600),
            (Growth::Range, vec![constant(10_i64)], 1, 88),
            (Growth::Range, vec![numbers(&[0, 5]), numbers(&[10, 0])], 2, 88),
            (Growth::Range, vec![constant(10_i64), constant(0_i64), constant(-5_i64)], 1, 24),
            (Growth::Range, vec![constant(0_i64), constant(1_i64), constant(0_i64)], 1, 0),
            (Growth::Range, vec![constant(i64::MIN), constant(i64::MAX)], 1, u64::MAX),
            (Growth::Replace, vec![constant("aba"), constant("a"), constant("xy")], 1, 11),
            (Growth::Sum, vec![texts(&["ab", "c"]), constant("de")], 2, 7),
            (Growth::Separated, vec![texts(&["ab", "c"]), constant("de")], 2, 13),
            (Growth::ReplaceMatches, vec![texts(&["a"]), constant("a"), constant("b")], 2, 0),
        ] {
            assert_eq!(growth.bytes(&args, rows).expect("reckoned"), bytes, "{growth:?} {args:?}");
        }
    }

    #[test]
    fn what_replaces_counts_as_often_as_it_comes() {
        let (long, to) = ("a".repeat(1000) + &"b".repeat(1000), "x".repeat(1000));
        let args = [constant(long.as_str()), constant("a"), constant(to.as_str())];
        assert_eq!(Growth::Replace.bytes(&args, 1).expect("reckoned"), 1_002_000);
    }
}
