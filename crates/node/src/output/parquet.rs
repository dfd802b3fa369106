//! Rows as a Parquet file.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::Error;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::place::{Out, Sink};
use crate::report::Failure;

/// A Parquet file; row groups are written as they fill, the footer at the end.
pub(super) struct ParquetFile {
    name: String,
    writer: ArrowWriter<Out>,
}

impl ParquetFile {
    /// `Invalid` for columns that Parquet cannot hold.
    pub(super) fn new(out: Out, schema: SchemaRef) -> Result<Self, Failure> {
        let name = out.name.clone();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(out, schema, Some(properties));
        let writer = writer.map_err(|e| failed(&name, e))?;
        Ok(Self { name, writer })
    }
}

impl Sink for ParquetFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.writer.write(batch).map_err(|e| failed(&self.name, e))
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let Self { name, writer } = *self;
        writer.close().map(drop).map_err(|e| failed(&name, e))
    }
}

fn failed(name: &str, error: ParquetError) -> Failure {
    Error::invalid(format!("cannot write {name}: {error}")).with_source(error).into()
}
