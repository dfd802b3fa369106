//! Rows to the bytes of one file.

use std::sync::Arc;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::errors::ParquetError;
use dunlin_base::{Error, Result};

use super::layout::{FileFormat, Layout};
use crate::errors::from_arrow;

/// The encoder of one file: batches in, bytes out as they become complete.
pub(crate) struct Encoder {
    layout: Layout,
    writer: Writer,
}

enum Writer {
    /// Keeps a row group until it is full or [`Encoder::flush`] says so.
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Csv {
        begun: bool,
    },
    Json,
}

impl Encoder {
    /// `Invalid`: the format has no such columns.
    pub(crate) fn new(layout: &Layout) -> Result<Self> {
        let writer = match &layout.format {
            FileFormat::Parquet(properties) => {
                let options = ArrowWriterOptions::new()
                    .with_properties(properties.as_ref().clone())
                    .with_skip_arrow_metadata(true);
                let schema = Arc::clone(&layout.schema);
                let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options);
                Writer::Parquet(Box::new(writer.map_err(|e| parquet(&e))?))
            }
            FileFormat::Csv { .. } => Writer::Csv { begun: false },
            FileFormat::Json => Writer::Json,
        };
        Ok(Self { layout: layout.clone(), writer })
    }

    /// Takes rows; the bytes that are complete now. `Invalid`: NULL where none may be, a value that
    /// the format does not hold.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<Bytes> {
        self.check_required(rows)?;
        // By position: the plan's names are not always those that the user wrote.
        let schema = Arc::clone(&self.layout.schema);
        let rows = RecordBatch::try_new(schema, rows.columns().to_vec())
            .map_err(|e| from_arrow(&e).context("rows to be written"))?;
        match (&mut self.writer, &self.layout.format) {
            (Writer::Parquet(writer), _) => {
                writer.write(&rows).map_err(|e| parquet(&e))?;
                Ok(std::mem::take(writer.inner_mut()).into())
            }
            (Writer::Csv { begun }, FileFormat::Csv { writer, header, one_line }) => {
                let header = *header && !std::mem::replace(begun, true);
                let mut bytes = Vec::new();
                let mut writer = writer.clone().with_header(header).build(&mut bytes);
                writer.write(&rows).map_err(|e| from_arrow(&e))?;
                drop(writer);
                if *one_line {
                    check_lines(&bytes, rows.num_rows() + usize::from(header))?;
                }
                Ok(bytes.into())
            }
            (Writer::Csv { .. } | Writer::Json, _) => {
                let mut bytes = Vec::new();
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
                writer.write(&rows).map_err(|e| from_arrow(&e))?;
                drop(writer);
                Ok(bytes.into())
            }
        }
    }

    /// Bytes that it holds back.
    pub(crate) fn memory(&self) -> usize {
        match &self.writer {
            Writer::Parquet(writer) => writer.memory_size(),
            Writer::Csv { .. } | Writer::Json => 0,
        }
    }

    /// Bytes that the file would have if it ended now, about.
    pub(crate) fn pending(&self) -> u64 {
        match &self.writer {
            Writer::Parquet(writer) => writer.in_progress_size() as u64,
            Writer::Csv { .. } | Writer::Json => 0,
        }
    }

    /// Gives out what it holds back.
    pub(crate) fn flush(&mut self) -> Result<Bytes> {
        let Writer::Parquet(writer) = &mut self.writer else { return Ok(Bytes::new()) };
        writer.flush().map_err(|e| parquet(&e))?;
        Ok(std::mem::take(writer.inner_mut()).into())
    }

    /// The end of the file.
    pub(crate) fn finish(mut self) -> Result<Bytes> {
        let Writer::Parquet(writer) = &mut self.writer else { return Ok(Bytes::new()) };
        writer.finish().map_err(|e| parquet(&e))?;
        Ok(std::mem::take(writer.inner_mut()).into())
    }

    fn check_required(&self, rows: &RecordBatch) -> Result<()> {
        for column in &self.layout.required {
            if rows.columns().get(*column).is_some_and(|c| c.logical_null_count() > 0) {
                let name = self.layout.schema.field(*column).name();
                return Err(Error::invalid(format!("column '{name}' does not take NULL")));
            }
        }
        Ok(())
    }
}

/// Each row is one line, or readers that split files at line breaks would cut it in two.
fn check_lines(bytes: &[u8], lines: usize) -> Result<()> {
    if bytes.iter().filter(|byte| **byte == b'\n').count() == lines {
        return Ok(());
    }
    Err(Error::invalid("a value has a line break, which the table's CSV files do not take")
        .with_hint("make the table with OPTIONS ('format.newlines_in_values' 'true')"))
}

fn parquet(error: &ParquetError) -> Error {
    let text = error.to_string();
    Error::invalid(format!("cannot write Parquet data: {text}"))
}
