//! How long the result of a function becomes, reckoned from its arguments: at least what it really
//! becomes, and not much more.

mod ranges;
mod sizes;
mod texts;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

pub(super) use self::sizes::width;
use self::sizes::{leaves, of_rows, size};
use self::texts::{groups, replaced};

/// Bytes of an index or offset that lists are made with, and of a view of a text.
const INDEX: u64 = 8;
const VIEW: u64 = 16;

/// The longest character, and the longest text of a number.
const CHARACTER: u64 = 4;
const NUMBER: u64 = 32;

/// The longest that a character of a format becomes: `%+` is a time with its zone.
const FORMATTED: u64 = 20;

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
    /// The same for what a pattern matches.
    ReplaceMatches,
    /// A list of the groups that a pattern matches.
    Groups,
    /// A list of the parts of a text.
    Split,
    /// A text in which each byte becomes two, such as hexadecimal.
    Double,
    /// A text in which each byte becomes a character.
    Characters,
    /// The second argument, with what it stands for.
    Format,
    /// A list in which each of some value becomes another.
    ReplaceInList,
    /// A text of all values of a list.
    Join,
    /// All arguments together.
    Sum,
    /// The same, with the first of them between all others.
    Separated,
    /// As wide as a type says that the call names.
    Type,
}

impl Growth {
    /// By the names of the functions.
    pub(super) const EACH: [(&str, Self); 30] = [
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
        ("string_to_array", Self::Split),
        ("regexp_match", Self::Groups),
        ("encode", Self::Double),
        ("translate", Self::Characters),
        ("to_char", Self::Format),
        ("array_append", Self::Sum),
        ("array_prepend", Self::Sum),
        ("array_concat", Self::Sum),
        ("array_union", Self::Sum),
        ("arrays_zip", Self::Sum),
        ("concat", Self::Sum),
        ("make_array", Self::Sum),
        ("map", Self::Sum),
        ("overlay", Self::Sum),
        ("concat_ws", Self::Separated),
        ("arrow_cast", Self::Type),
        ("arrow_try_cast", Self::Type),
    ];

    /// Bytes of the result for so many rows. `Invalid`: an interval that goes forth and back.
    pub(super) fn bytes(self, args: &[ColumnarValue], rows: usize) -> Result<u64> {
        let array = |arg: &ColumnarValue| match arg {
            ColumnarValue::Array(array) => Ok(ArrayRef::clone(array)),
            ColumnarValue::Scalar(value) => value.to_array(),
        };
        let arrays: Vec<ArrayRef> = args.iter().map(array).collect::<Result<_>>()?;
        if self == Self::Range {
            return ranges::bytes(&arrays, rows);
        }
        if self == Self::ReplaceMatches {
            return texts::matches_replaced(&arrays, rows);
        }
        if let Self::Sum | Self::Separated = self {
            let times = |array| of_rows(array, rows);
            let between = arrays.first().map_or(0, times).saturating_mul(arrays.len() as u64);
            let sum = arrays.iter().map(times).fold(0, u64::saturating_add);
            return Ok(if self == Self::Sum { sum } else { sum.saturating_add(between) });
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
            Self::Groups => size(0).saturating_add(VIEW).saturating_mul(groups(args, row)),
            Self::Split => size(0).saturating_add(1).saturating_mul(VIEW + 1),
            Self::Double => size(0).saturating_mul(2),
            Self::Characters => size(0).saturating_mul(CHARACTER),
            Self::Format => size(1).saturating_mul(FORMATTED),
            Self::ReplaceInList => leaves(0).saturating_mul(size(2)).saturating_add(size(0)),
            Self::Join => {
                let each = size(1).saturating_add(size(2)).saturating_add(NUMBER);
                leaves(0).saturating_mul(each).saturating_add(size(0))
            }
            Self::Range | Self::ReplaceMatches | Self::Sum | Self::Separated | Self::Type => 0,
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

fn ints(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
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
            (Growth::ReplaceMatches, vec![texts(&["a", "ab"]), constant("a"), constant("b")], 2, 5),
        ] {
            assert_eq!(growth.bytes(&args, rows).expect("reckoned"), bytes, "{growth:?} {args:?}");
        }
    }

    #[test]
    fn what_replaces_counts_as_often_as_it_comes() {
        let (long, to) = ("a".repeat(1000) + &"b".repeat(1000), "x".repeat(1000));
        let args = [constant(long.as_str()), constant("a"), constant(to.as_str())];
        assert_eq!(Growth::Replace.bytes(&args, 1).expect("reckoned"), 1_002_000);
        let matches = |flags: &str| {
            let args = [&args[..], &[constant(flags)]].concat();
            Growth::ReplaceMatches.bytes(&args, 1).expect("reckoned")
        };
        assert_eq!(matches("g"), 1_002_000);
        assert_eq!(matches("i"), 3000);
    }
}
