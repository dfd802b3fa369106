//! A statement that writes, planned: the plan of its rows, and where they go.

use std::sync::Arc;

use arrow::array::{Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::write::{File, Target};

use crate::session::QueryPlan;

/// A statement that writes, which nobody has run.
#[derive(Clone, Debug)]
pub struct WritePlan {
    /// The id that its query must have: the names of its files have it.
    pub id: QueryId,
    /// What is run: its rows are the manifest ([`manifest_schema`]).
    pub query: QueryPlan,
    /// Where the files go.
    pub target: Target,
    /// A file without rows, for a target that must have one.
    pub empty: Vec<u8>,
}

/// Columns of what a write stage yields: a row for each file that is in the staging folder.
pub fn manifest_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
    ]))
}

/// The row of a file.
pub(crate) fn manifest_row(name: &str, rows: u64, bytes: u64) -> Result<RecordBatch> {
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(StringArray::from(vec![name])),
        Arc::new(UInt64Array::from(vec![rows])),
        Arc::new(UInt64Array::from(vec![bytes])),
    ];
    RecordBatch::try_new(manifest_schema(), columns)
        .map_err(|e| Error::bug("a manifest row has three columns").with_source(e))
}

/// The files that rows of a manifest name. `Bug`: they are not rows of a manifest.
pub fn manifest_file(rows: &RecordBatch) -> Result<Vec<File>> {
    let bug = || Error::bug("the result of a write is no manifest");
    let [names, counts, sizes] = rows.columns() else { return Err(bug()) };
    let names = names.as_any().downcast_ref::<StringArray>().ok_or_else(bug)?;
    let counts = counts.as_any().downcast_ref::<UInt64Array>().ok_or_else(bug)?;
    let sizes = sizes.as_any().downcast_ref::<UInt64Array>().ok_or_else(bug)?;
    let file =
        |i| File { name: names.value(i).to_owned(), rows: counts.value(i), bytes: sizes.value(i) };
    Ok((0..rows.num_rows()).map(file).collect())
}
