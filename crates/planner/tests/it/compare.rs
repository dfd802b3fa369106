//! Rows as multisets, floats within 1e-9 relative.

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::array_value_to_string;

/// Asserts that both have the same rows, in any order.
pub(crate) fn assert_same_rows(what: &str, ours: &[RecordBatch], theirs: &[RecordBatch]) {
    let (ours, theirs) = (rows(ours), rows(theirs));
    assert_eq!(ours.len(), theirs.len(), "{what}: number of rows");
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        let same = a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.same(y));
        assert!(same, "{what}: sorted row {i}: {a:?} is not {b:?}");
    }
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Number(f64),
}

impl Value {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => {
                (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
            }
            _ => false,
        }
    }

    /// Floats sort by their first digits: last digits may differ.
    fn key(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => format!("{number:.6e}"),
        }
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| value(column, row)).collect::<Vec<_>>());
        }
    }
    rows.sort_by_cached_key(|row| row.iter().map(Value::key).collect::<Vec<_>>());
    rows
}

fn value(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Float64 if column.is_valid(row) => {
            Value::Number(column.as_primitive::<Float64Type>().value(row))
        }
        _ => Value::Text(array_value_to_string(column, row).expect("a value has a text")),
    }
}
