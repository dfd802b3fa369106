//! How the files of one write are written: format, options, columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::file_options::csv_writer::CsvWriterOptions;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::config::{ConfigFileType, ConfigOptions, TableOptions};
use datafusion::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use dunlin_base::{Error, Result};
use dunlin_proto::write as v1;

use super::Encoder;
use crate::catalog::{Format, decode_schema};
use crate::errors::from_datafusion;

/// How the files of one write are written. The planner makes it to check it, executors to use it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) schema: SchemaRef,
    /// Columns that must not be NULL.
    pub(super) required: Vec<usize>,
    pub(crate) file_bytes: u64,
    /// There is to be one file only.
    pub(crate) one_file: bool,
    pub(super) format: FileFormat,
}

/// What a format's writer needs.
#[derive(Clone, Debug)]
pub(super) enum FileFormat {
    Parquet(Box<WriterProperties>),
    Csv {
        writer: WriterBuilder,
        header: bool,
        /// A line break in a value is an error.
        one_line: bool,
    },
    Json,
}

impl Layout {
    /// The layout that a plan describes. `Invalid`: an option that the format does not have, a
    /// format that is not written.
    pub(crate) fn new(layout: &v1::Layout, config: &ConfigOptions) -> Result<Self> {
        let format = Format::parse(&layout.format)?;
        let schema = decode_schema(&layout.schema)?;
        let options = layout.options.iter().map(|o| (o.key.clone(), o.value.clone())).collect();
        let in_options =
            |error| from_datafusion(error).context(format!("options of {} files", format.name()));
        let tables = table_options(format, &options, config)?;
        let format = match format {
            Format::Parquet => {
                let mut parquet = tables.parquet;
                if !parquet.global.skip_arrow_metadata {
                    parquet.arrow_schema(&schema);
                }
                let builder = WriterPropertiesBuilder::try_from(&parquet).map_err(in_options)?;
                FileFormat::Parquet(Box::new(builder.build()))
            }
            Format::Csv => {
                check_plain(tables.csv.compression)?;
                if tables.csv.terminator.is_some() || tables.csv.comment.is_some() {
                    return Err(Error::invalid(
                        "CSV files with comments or lines that end otherwise cannot be written",
                    ));
                }
                let header = tables.csv.has_header.unwrap_or(true);
                let one_line = layout.one_line && tables.csv.newlines_in_values != Some(true);
                let options = CsvWriterOptions::try_from(&tables.csv).map_err(in_options)?;
                FileFormat::Csv { writer: options.writer_options, header, one_line }
            }
            Format::Json => {
                check_plain(tables.json.compression)?;
                FileFormat::Json
            }
            Format::Avro | Format::Arrow => return Err(not_written(format)),
        };
        let required = layout.required.iter().map(|column| *column as usize).collect();
        Ok(Self {
            schema,
            required,
            file_bytes: layout.file_bytes.max(1),
            one_file: layout.one_file,
            format,
        })
    }

    /// A whole file without rows. `Invalid`: the format has no such columns.
    pub(crate) fn empty_file(&self) -> Result<Vec<u8>> {
        let mut encoder = Encoder::new(self)?;
        let none = RecordBatch::new_empty(Arc::clone(&self.schema));
        let mut bytes = encoder.write(&none)?.to_vec();
        bytes.extend_from_slice(&encoder.finish()?);
        Ok(bytes)
    }
}

/// DataFusion's options of a format, as the session and the statement have them.
pub(crate) fn table_options(
    format: Format,
    options: &HashMap<String, String>,
    config: &ConfigOptions,
) -> Result<TableOptions> {
    let mut tables = TableOptions::default_from_session_config(config);
    tables.set_config_format(match format {
        Format::Parquet => ConfigFileType::PARQUET,
        Format::Csv => ConfigFileType::CSV,
        Format::Json => ConfigFileType::JSON,
        Format::Avro | Format::Arrow => return Err(not_written(format)),
    });
    let set = tables.alter_with_string_hash_map(options);
    set.map_err(|e| from_datafusion(e).context(format!("options of {} files", format.name())))?;
    Ok(tables)
}

fn check_plain(compression: CompressionTypeVariant) -> Result<()> {
    if compression == CompressionTypeVariant::UNCOMPRESSED {
        return Ok(());
    }
    Err(Error::invalid("compressed CSV and JSON files cannot be written yet")
        .with_hint("Parquet compresses by itself"))
}

pub(crate) fn not_written(format: Format) -> Error {
    Error::invalid(format!("{} files cannot be written", format.name()))
        .with_hint("Parquet, CSV and JSON can")
}
