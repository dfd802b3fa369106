//! Are two results the same? Compared as multisets of rows, floats within 1e-9 relative.
//!
//! Called by every test that holds the engine against the oracle. Batches may be cut anywhere and
//! rows may come in any order; [`same_order`] checks an `ORDER BY` separately. String encodings
//! (plain, large, view, dictionary) count as one type: they are a matter of representation.
//! Floats inside lists and structs are compared by their printed form.

use std::cmp::Ordering;

use anyhow::{Result, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Two floats are the same if they differ by less than this share of the larger one.
pub const RELATIVE: f64 = 1e-9;

/// Below this difference two floats are the same whatever their size: a sum that cancels to
/// nothing keeps the rounding of its terms.
pub const ABSOLUTE: f64 = 1e-12;

/// Are the rows of `actual` those of `expected`, each as often? The error names the first row that
/// is not, with both numbers of rows.
pub fn same_rows(expected: &[RecordBatch], actual: &[RecordBatch]) -> Result<()> {
    same_schema(expected, actual)?;
    let mut left = sorted_rows(expected)?;
    let mut right = sorted_rows(actual)?;
    let counts = format!("expected {} rows, got {}", left.len(), right.len());
    while !left.is_empty() || !right.is_empty() {
        let group_left = take_group(&mut left, right.last());
        let group_right = take_group(&mut right, group_left.first());
        if let Some(row) = unmatched(&group_left, &group_right) {
            bail!("{counts}; expected, but missing: {row}{}", near(&group_right));
        }
        if let Some(row) = unmatched(&group_right, &group_left) {
            bail!("{counts}; not expected, or too often: {row}{}", near(&group_left));
        }
    }
    Ok(())
}

/// Do both results have the same sequence of values in the columns `keys`? Rows that tie on all of
/// them may change places unseen, so this is the right check of an `ORDER BY` on these columns.
pub fn same_order(expected: &[RecordBatch], actual: &[RecordBatch], keys: &[&str]) -> Result<()> {
    let left = rows(&project(expected, keys)?)?;
    let right = rows(&project(actual, keys)?)?;
    ensure!(left.len() == right.len(), "expected {} rows, got {}", left.len(), right.len());
    for (at, (left, right)) in left.iter().zip(&right).enumerate() {
        ensure!(
            left.exact == right.exact && floats_match(left, right),
            "wrong order at row {at}: expected {left}, got {right}"
        );
    }
    Ok(())
}

fn project(batches: &[RecordBatch], keys: &[&str]) -> Result<Vec<RecordBatch>> {
    batches
        .iter()
        .map(|batch| {
            let columns: Result<Vec<usize>, _> =
                keys.iter().map(|key| batch.schema().index_of(key)).collect();
            Ok(batch.project(&columns?)?)
        })
        .collect()
}

fn same_schema(expected: &[RecordBatch], actual: &[RecordBatch]) -> Result<()> {
    // A result without batches has no schema: the rows tell.
    let (Some(expected), Some(actual)) = (expected.first(), actual.first()) else { return Ok(()) };
    let (left, right) = (columns(&expected.schema()), columns(&actual.schema()));
    ensure!(left == right, "expected the columns {left:?}, got {right:?}");
    Ok(())
}

fn columns(schema: &SchemaRef) -> Vec<(String, DataType)> {
    schema.fields().iter().map(|f| (f.name().clone(), logical(f.data_type()))).collect()
}

fn logical(kind: &DataType) -> DataType {
    match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => logical(value),
        other => other.clone(),
    }
}

/// A row, split into what must be equal and what must be close.
struct Row {
    exact: Vec<Option<String>>,
    floats: Vec<Option<f64>>,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact = self.exact.iter().map(|v| v.clone().unwrap_or_else(|| "NULL".to_owned()));
        let floats = self.floats.iter().map(|v| v.map_or("NULL".to_owned(), |v| v.to_string()));
        let mut cells: Vec<String> = exact.collect();
        if !self.floats.is_empty() {
            cells.push(format!("floats: {}", floats.collect::<Vec<_>>().join(", ")));
        }
        write!(f, "({})", cells.join(", "))
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let start = rows.len();
        rows.extend((0..batch.num_rows()).map(|_| Row { exact: Vec::new(), floats: Vec::new() }));
        for column in batch.columns() {
            fill(column.as_ref(), &mut rows[start..])?;
        }
    }
    Ok(rows)
}

fn fill(column: &dyn Array, rows: &mut [Row]) -> Result<()> {
    if column.data_type().is_floating() {
        let wide = cast(column, &DataType::Float64)?;
        for (row, value) in rows.iter_mut().zip(wide.as_primitive::<Float64Type>()) {
            row.floats.push(value);
        }
        return Ok(());
    }
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    for (at, row) in rows.iter_mut().enumerate() {
        let value =
            if column.is_null(at) { None } else { Some(formatter.value(at).try_to_string()?) };
        row.exact.push(value);
    }
    Ok(())
}

fn sorted_rows(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let mut rows = rows(batches)?;
    rows.sort_by(|a, b| b.exact.cmp(&a.exact).then_with(|| float_order(b, a)));
    Ok(rows)
}

/// Takes the rows with the smallest exact part off the end of `rows` (sorted downwards), unless
/// `other` has a smaller one: then that one's group is empty on this side.
fn take_group(rows: &mut Vec<Row>, other: Option<&Row>) -> Vec<Row> {
    let Some(last) = rows.last() else { return Vec::new() };
    if other.is_some_and(|other| other.exact < last.exact) {
        return Vec::new();
    }
    let start = rows.partition_point(|row| row.exact > last.exact);
    let mut group = rows.split_off(start);
    group.reverse();
    group
}

/// A row of `these` that has no partner of its own in `those`. Both have one exact part and are
/// sorted by their floats.
fn unmatched<'a>(these: &'a [Row], those: &[Row]) -> Option<&'a Row> {
    let mut used = vec![false; those.len()];
    these.iter().find(|row| {
        // Rows whose first float is close lie together, a little before and after this row's place.
        let start = those.partition_point(|other| below(first(other), first(row)));
        let partner = (start..those.len())
            .take_while(|&at| close(first(&those[at]), first(row)))
            .find(|&at| !used[at] && floats_match(row, &those[at]));
        match partner {
            Some(at) => {
                used[at] = true;
                false
            }
            None => true,
        }
    })
}

fn near(group: &[Row]) -> String {
    group.first().map_or_else(String::new, |row| format!("; the nearest row is {row}"))
}

fn first(row: &Row) -> Option<f64> {
    row.floats.first().copied().flatten()
}

fn below(a: Option<f64>, b: Option<f64>) -> bool {
    !close(a, b) && order(a, b) == Ordering::Less
}

fn floats_match(a: &Row, b: &Row) -> bool {
    a.floats.len() == b.floats.len() && a.floats.iter().zip(&b.floats).all(|(a, b)| close(*a, *b))
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() && b.is_none() };
    let difference = (a - b).abs();
    a == b
        || (a.is_nan() && b.is_nan())
        || difference <= ABSOLUTE
        || (difference.is_finite() && difference <= RELATIVE * a.abs().max(b.abs()))
}

fn float_order(a: &Row, b: &Row) -> Ordering {
    let pairs = a.floats.iter().zip(&b.floats);
    pairs.map(|(a, b)| order(*a, *b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

fn order(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        // `+ 0.0` makes one zero of the two.
        (Some(a), Some(b)) => (a + 0.0).total_cmp(&(b + 0.0)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests;
