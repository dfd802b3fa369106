//! Rows to shuffle: batches with the partition of each row, made beforehand.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

/// Rows of a batch, as operators hand them out.
const BATCH_ROWS: u64 = 8192;

/// Bytes that a row shows: three numbers, an offset and a text.
pub(super) const ROW_BYTES: u64 = 3 * 8 + 4 + 72;

/// Batches that follow one another, over and over.
const DIFFERENT: u64 = 4;

/// A batch, and the partition of each row.
pub(super) type Batch = (RecordBatch, Vec<u32>);

/// What every map writes.
pub(super) struct Rows {
    whole: Vec<Batch>,
    last: Batch,
    /// Rows of one map.
    pub(super) rows: u64,
}

impl Rows {
    /// For maps that write so many bytes each, to so many partitions.
    pub(super) fn new(bytes: u64, partitions: u32) -> Result<Self> {
        let rows = (bytes / ROW_BYTES).max(1);
        let different = DIFFERENT.min(rows / BATCH_ROWS);
        let whole = (0..different).map(|n| batch(n * BATCH_ROWS, BATCH_ROWS, partitions));
        let whole = whole.collect::<Result<_>>()?;
        Ok(Self { whole, last: batch(1 << 32, rows % BATCH_ROWS, partitions)?, rows })
    }

    /// The batches of one map, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        let whole = (self.rows / BATCH_ROWS) as usize;
        self.whole.iter().cycle().take(whole).chain([&self.last])
    }
}

/// Of every batch here.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("amount", DataType::Int64, false),
        Field::new("price", DataType::Float64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

fn batch(from: u64, rows: u64, partitions: u32) -> Result<Batch> {
    let numbers = || from..from + rows;
    let text = |n: u64| format!("{:016x}{:016x}{:040}", mixed(n), mixed(n ^ 1), n % 1000);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers().map(|n| n as i64).collect::<Int64Array>()),
        Arc::new(numbers().map(|n| (mixed(n) % 10_000) as i64).collect::<Int64Array>()),
        Arc::new(numbers().map(|n| (mixed(n) % 100_000) as f64 / 100.0).collect::<Float64Array>()),
        Arc::new(StringArray::from_iter_values(numbers().map(text))),
    ];
    let of = numbers().map(|n| (mixed(n) % u64::from(partitions)) as u32).collect();
    Ok((RecordBatch::try_new(schema(), columns)?, of))
}

/// The finaliser of SplitMix64: close inputs give distant outputs.
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_writes_the_rows_that_it_says() {
        for (bytes, partitions) in [(10, 3), (BATCH_ROWS * ROW_BYTES * 7 + 12_345, 50)] {
            let rows = Rows::new(bytes, partitions).expect("rows");
            let sum: usize = rows.batches().map(|(batch, _)| batch.num_rows()).sum();
            assert_eq!(sum as u64, rows.rows);
            assert_eq!(rows.rows, (bytes / ROW_BYTES).max(1));
        }
    }
}
