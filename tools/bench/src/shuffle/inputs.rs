//! What queries of TPC-H send between stages: some columns of a table, by hash of the first one, in
//! blocks as writers make them.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A table and the columns of it that a query shuffles, the key first.
pub(super) struct Shuffled {
    pub(super) query: &'static str,
    pub(super) table: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// From the plans of queries with large shuffles.
pub(super) const SHUFFLED: [Shuffled; 8] = [
    Shuffled {
        query: "q3",
        table: "lineitem",
        columns: &["l_orderkey", "l_extendedprice", "l_discount"],
    },
    Shuffled {
        query: "q3",
        table: "orders",
        columns: &["o_custkey", "o_orderkey", "o_orderdate", "o_shippriority"],
    },
    Shuffled {
        query: "q9",
        table: "lineitem",
        columns: &[
            "l_partkey",
            "l_orderkey",
            "l_suppkey",
            "l_quantity",
            "l_extendedprice",
            "l_discount",
        ],
    },
    Shuffled {
        query: "q9",
        table: "partsupp",
        columns: &["ps_partkey", "ps_suppkey", "ps_supplycost"],
    },
    Shuffled {
        query: "q10",
        table: "customer",
        columns: &[
            "c_custkey",
            "c_name",
            "c_address",
            "c_nationkey",
            "c_phone",
            "c_acctbal",
            "c_comment",
        ],
    },
    Shuffled { query: "q12", table: "lineitem", columns: &["l_orderkey", "l_shipmode"] },
    Shuffled {
        query: "q18",
        table: "orders",
        columns: &["o_orderkey", "o_custkey", "o_totalprice", "o_orderdate"],
    },
    Shuffled {
        query: "q21",
        table: "lineitem",
        columns: &["l_orderkey", "l_suppkey", "l_commitdate", "l_receiptdate"],
    },
];

const PARTITIONS: usize = 16;

/// Rows of a block, as writers gather them.
const BLOCK_ROWS: usize = 8192;

/// Rows that are read of a table.
const ROWS_MAX: usize = 1 << 20;

impl Shuffled {
    /// The blocks: each has rows of one partition, in the order of the table.
    pub(super) fn blocks(&self, tables: &Path) -> Result<Vec<RecordBatch>> {
        let path = tables.join(format!("{}.parquet", self.table));
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), self.columns.iter().copied());
        let reader = reader.with_projection(mask).with_batch_size(BLOCK_ROWS).build()?;
        let mut gathered = vec![Vec::new(); PARTITIONS];
        let mut blocks = Vec::new();
        for batch in reader.take(ROWS_MAX / BLOCK_ROWS) {
            let batch = self.ordered(&batch?)?;
            for (to, rows) in by_hash(&batch)?.into_iter().zip(&mut gathered) {
                rows.push(to);
                if rows.iter().map(RecordBatch::num_rows).sum::<usize>() >= BLOCK_ROWS {
                    blocks.push(concat_batches(&batch.schema(), &std::mem::take(rows))?);
                }
            }
        }
        Ok(blocks)
    }

    /// The columns in the order of this query.
    fn ordered(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let index = |name: &&str| batch.schema().index_of(name);
        let order: Vec<_> = self.columns.iter().map(index).collect::<Result<_, _>>()?;
        Ok(batch.project(&order)?)
    }
}

fn by_hash(batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let key = batch.column(0);
    let converter = RowConverter::new(vec![SortField::new(key.data_type().clone())])?;
    let keys = converter.convert_columns(std::slice::from_ref(key))?;
    let mut of = vec![Vec::new(); PARTITIONS];
    for (number, row) in keys.iter().enumerate() {
        let hash = row.as_ref().iter().fold(0_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
        });
        of[hash as usize % PARTITIONS].push(number as u32);
    }
    let taken = of.into_iter().map(|rows| take_record_batch(batch, &UInt32Array::from(rows)));
    Ok(taken.collect::<Result<_, _>>()?)
}
