//! Rows as text for programs: CSV and JSON lines. Every batch is written when it arrives.

use arrow::csv::WriterBuilder;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::WriterBuilder as JsonBuilder;
use arrow::record_batch::RecordBatch;
use dunlin_base::Error;

use super::place::{Out, Sink};
use crate::report::Failure;

/// Comma-separated values with a header.
pub(super) struct Csv {
    out: Out,
}

impl Csv {
    /// Writes the header: a result without rows still says which columns it has. `Invalid` for
    /// nested columns, which CSV cannot hold.
    pub(super) fn new(mut out: Out, schema: &Schema) -> Result<Self, Failure> {
        if let Some(field) = schema.fields().iter().find(|f| f.data_type().is_nested()) {
            let message =
                format!("CSV cannot hold column '{}' of type {}", field.name(), field.data_type());
            return Err(Error::invalid(message).with_hint("write --format json or parquet").into());
        }
        let empty = RecordBatch::new_empty(schema.clone().into());
        out.put(&Self::encode(&empty, true)?)?;
        Ok(Self { out })
    }

    fn encode(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        let mut writer = WriterBuilder::new().with_header(header).build(&mut text);
        writer.write(batch).map_err(|e| failed("CSV", e))?;
        drop(writer);
        Ok(text)
    }
}

impl Sink for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.out.put(&Self::encode(batch, false)?)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

/// One JSON object per line; NULL is written, not left out.
pub(super) struct Json {
    out: Out,
}

impl Json {
    pub(super) fn new(out: Out) -> Self {
        Self { out }
    }
}

impl Sink for Json {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mut text = Vec::new();
        let mut writer: LineDelimitedWriter<&mut Vec<u8>> =
            JsonBuilder::new().with_explicit_nulls(true).build(&mut text);
        writer.write(batch).map_err(|e| failed("JSON", e))?;
        writer.finish().map_err(|e| failed("JSON", e))?;
        drop(writer);
        self.out.put(&text)
    }

    fn finish(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

fn failed(format: &str, error: ArrowError) -> Failure {
    Error::invalid(format!("cannot write the rows as {format}: {error}")).with_source(error).into()
}
