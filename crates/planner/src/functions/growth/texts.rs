//! How long texts become in which parts are replaced.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::functions::regex::regexpcount::regexp_count_func;

use super::{at, text};

/// Bytes up to which a bound is good enough that does not look into the texts: for one row, and for
/// a batch of rows, in which matching a pattern twice would take long.
const MUCH: u64 = 1 << 16;
const MUCH_IN_ROWS: u64 = 1 << 28;

/// What a text becomes: the bound without looking into it, or if that is much, what it is.
pub(super) fn replaced(args: &[ArrayRef], row: usize) -> u64 {
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

/// The same for what a pattern matches: once in each text, or with the flag `g` everywhere.
pub(super) fn matches_replaced(args: &[ArrayRef], rows: usize) -> Result<u64> {
    let much = if rows == 1 { MUCH } else { MUCH_IN_ROWS };
    let most = |row, text: &str| if everywhere(args, row) { text.len() as u64 + 1 } else { 1 };
    let bound = sum_replaced(args, rows, most);
    if bound <= much {
        return Ok(bound);
    }
    // A pattern that cannot be matched is for the function itself to complain about.
    let Ok(counts) = match_counts(args) else { return Ok(bound) };
    let exact = |row, text: &str| {
        let counted = counts.is_valid(row).then(|| counts.value(row).unsigned_abs());
        counted.unwrap_or(0).min(most(row, text))
    };
    Ok(sum_replaced(args, rows, exact))
}

fn sum_replaced(args: &[ArrayRef], rows: usize, matches: impl Fn(usize, &str) -> u64) -> u64 {
    let value = |arg: usize, row| args.get(arg).and_then(|array| text(array, at(array, row)));
    let row = |row| {
        let (Some(whole), Some(to)) = (value(0, row), value(2, row)) else { return 0 };
        let length = whole.len() as u64;
        // All that is matched may come again wherever the replacement names a group.
        let groups = to.bytes().filter(|b| matches!(b, b'$' | b'\\')).count() as u64;
        let again = length.saturating_mul(groups.saturating_add(1));
        matches(row, whole).saturating_mul(to.len() as u64).saturating_add(again)
    };
    (0..rows).map(row).fold(0, u64::saturating_add)
}

fn everywhere(args: &[ArrayRef], row: usize) -> bool {
    args.get(3).and_then(|flags| text(flags, at(flags, row))).is_some_and(|f| f.contains('g'))
}

/// How often the pattern matches each text.
fn match_counts(args: &[ArrayRef]) -> Result<Int64Array> {
    let [whole, pattern, ..] = args else { return Ok(Int64Array::from(Vec::<i64>::new())) };
    let start: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let mut counted = vec![Arc::clone(whole), cast(pattern, whole.data_type())?, start];
    if let Some(flags) = args.get(3) {
        let flags = cast(flags, &DataType::Utf8)?;
        let flags = flags.as_string::<i32>().iter().map(|flags| flags.map(|f| f.replace('g', "")));
        let flags: ArrayRef = Arc::new(flags.collect::<StringArray>());
        counted.push(cast(&flags, whole.data_type())?);
    }
    Ok(regexp_count_func(&counted)?.as_primitive::<Int64Type>().clone())
}

/// At least as many groups as a pattern has, and one for all of it.
pub(super) fn groups(args: &[ArrayRef], row: usize) -> u64 {
    let pattern = args.get(1).and_then(|pattern| text(pattern, at(pattern, row)));
    1 + pattern.map_or(0, |pattern| pattern.matches('(').count() as u64)
}
