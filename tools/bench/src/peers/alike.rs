//! Are a peer's rows those of plain DataFusion? Other engines have other types: sums of integers as
//! decimals, means of decimals as floats. So each column is read as what DataFusion has there, and
//! what is not whole is compared with the rounding that a mean of decimals has.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::ipc::reader::FileReader;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Below this difference two numbers are the same: DataFusion's means of decimals have six digits.
const ABSOLUTE: f64 = 2e-6;

/// Below this share of the larger one, too.
const RELATIVE: f64 = 1e-9;

/// A row: what must be equal, and what must be close. `None` is NULL.
type Row = (Vec<Option<String>>, Vec<Option<f64>>);

/// Compares as multisets. The error names the first rows that differ.
pub(super) fn alike(expected: &[RecordBatch], actual: &[RecordBatch]) -> Result<()> {
    let Some(first) = expected.first() else { return Ok(()) };
    let schema = first.schema();
    let kinds: Vec<&DataType> = schema.fields().iter().map(|field| field.data_type()).collect();
    let (left, right) = (rows(expected, &kinds)?, rows(actual, &kinds)?);
    ensure!(left.len() == right.len(), "expected {} rows, got {}", left.len(), right.len());
    for (left, right) in left.iter().zip(&right) {
        let close = left.1.iter().zip(&right.1).all(|(a, b)| close(*a, *b));
        ensure!(left.0 == right.0 && close, "expected the row {left:?}, got {right:?}");
    }
    Ok(())
}

/// The rows that a peer left in a file.
pub(super) fn read(path: &Path) -> Result<Vec<RecordBatch>> {
    let file = File::open(path).with_context(|| format!("no rows in {}", path.display()))?;
    Ok(FileReader::try_new(file, None)?.collect::<Result<_, _>>()?)
}

/// Sorted.
fn rows(batches: &[RecordBatch], kinds: &[&DataType]) -> Result<Vec<Row>> {
    let mut all: Vec<Row> = Vec::new();
    for batch in batches {
        let columns = batch.num_columns();
        ensure!(columns == kinds.len(), "expected {} columns, got {columns}", kinds.len());
        let start = all.len();
        all.extend((0..batch.num_rows()).map(|_| (Vec::new(), Vec::new())));
        for (column, kind) in batch.columns().iter().zip(kinds) {
            fill(column, kind, &mut all[start..])?;
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(&a.1, &b.1)));
    Ok(all)
}

fn fill(column: &dyn Array, kind: &DataType, rows: &mut [Row]) -> Result<()> {
    if kind.is_floating() || kind.is_decimal() {
        let numbers = cast(column, &DataType::Float64)?;
        for (row, number) in rows.iter_mut().zip(numbers.as_primitive::<Float64Type>()) {
            row.1.push(number);
        }
        return Ok(());
    }
    let kind = if kind.is_integer() { DataType::Int64 } else { kind.clone() };
    let same = cast(column, &kind)?;
    let options = FormatOptions::new();
    let text = ArrayFormatter::try_new(&same, &options)?;
    for (at, row) in rows.iter_mut().enumerate() {
        let value = if same.is_null(at) { None } else { Some(text.value(at).try_to_string()?) };
        row.0.push(value);
    }
    Ok(())
}

fn order(a: &[Option<f64>], b: &[Option<f64>]) -> std::cmp::Ordering {
    let low = |number: &Option<f64>| number.unwrap_or(f64::NEG_INFINITY);
    let pairs = a.iter().zip(b).map(|(a, b)| low(a).total_cmp(&low(b)));
    pairs.reduce(std::cmp::Ordering::then).unwrap_or(std::cmp::Ordering::Equal)
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() && b.is_none() };
    (a - b).abs() <= ABSOLUTE.max(RELATIVE * a.abs().max(b.abs()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(columns: Vec<ArrayRef>) -> Vec<RecordBatch> {
        let named = columns.into_iter().enumerate().map(|(at, column)| (at.to_string(), column));
        vec![RecordBatch::try_from_iter(named).expect("columns of one length")]
    }

    fn decimals(numbers: Vec<i128>, digits: u8, scale: i8) -> ArrayRef {
        let array = Decimal128Array::from(numbers).with_precision_and_scale(digits, scale);
        Arc::new(array.expect("a precision that fits"))
    }

    #[test]
    fn means_and_sums_of_other_types_are_alike_and_other_numbers_are_not() {
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
        let expected = batch(vec![words, decimals(vec![25_522_005, 1], 19, 6), counts]);
        let peer = |mean: f64, count: i128| {
            let words: ArrayRef = Arc::new(StringArray::from(vec!["b", "a"]));
            let means: ArrayRef = Arc::new(Float64Array::from(vec![0.000_001, mean]));
            batch(vec![words, means, decimals(vec![8, count], 38, 0)])
        };
        alike(&expected, &peer(25.522_005_853, 7)).expect("rounded, in another order");
        assert!(alike(&expected, &peer(25.5221, 7)).is_err(), "another mean");
        assert!(alike(&expected, &peer(25.522_005_853, 9)).is_err(), "another count");
        assert!(alike(&expected, &[]).is_err(), "no rows");
    }
}
