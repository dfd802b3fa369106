//! One schema for many files, or an error that names the two that disagree.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::file_format::FileFormat;
use datafusion::execution::SessionState;
use dunlin_base::{Error, Kind, Result};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::{Format, Location};
use crate::errors::from_datafusion;

/// What is known about one file; valid while its size and time are the same.
#[derive(Clone, Debug)]
pub(super) struct FileSchema {
    size: u64,
    modified_ms: i64,
    pub(super) schema: SchemaRef,
}

/// Schemas by file.
pub(super) type FileSchemas = HashMap<Path, FileSchema>;

/// Files that are looked into at the same time.
const CONCURRENCY: usize = 16;

/// How one format's files are read.
pub(super) struct Reader<'a> {
    pub(super) format: Format,
    pub(super) reader: Arc<dyn FileFormat>,
    pub(super) state: &'a SessionState,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) location: &'a Location,
}

impl Reader<'_> {
    /// The schema of every file, in the order of `files`; those in `known` are not read again.
    pub(super) async fn schemas(
        &self,
        files: &[ObjectMeta],
        known: &FileSchemas,
    ) -> Result<Vec<(String, FileSchema)>> {
        let all: Vec<_> = files.iter().map(|file| self.one(file, known).boxed()).collect();
        let found: Vec<_> = stream::iter(all).buffered(CONCURRENCY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn one(
        &self,
        file: &ObjectMeta,
        known: &FileSchemas,
    ) -> Result<Option<(String, FileSchema)>> {
        let shown = self.location.shown(&file.location);
        let modified_ms = file.last_modified.timestamp_millis();
        if let Some(known) = known.get(&file.location)
            && (known.size, known.modified_ms) == (file.size, modified_ms)
        {
            return Ok(Some((shown, known.clone())));
        }
        if file.size == 0 {
            // An empty text file has no rows; the others have at least a header.
            return match self.format {
                Format::Csv | Format::Json => Ok(None),
                _ => Err(Error::invalid(format!(
                    "'{shown}' is empty: not a {} file",
                    self.format.name()
                ))),
            };
        }
        let inferred =
            self.reader.infer_schema(self.state, &self.store, std::slice::from_ref(file));
        let schema = inferred.await.map_err(|e| unreadable(&shown, from_datafusion(e)))?;
        Ok(Some((shown, FileSchema { size: file.size, modified_ms, schema })))
    }
}

/// Names the file, unless the error is about the store and names it itself.
fn unreadable(file: &str, error: Error) -> Error {
    if error.kind() == Kind::Retry || error.message().contains(file) {
        return error;
    }
    error.context(format!("'{file}'"))
}

/// One schema for all files: by position for CSV, by name for the rest. A column that some files
/// lack is NULL there.
pub(super) fn reconcile(format: Format, files: &[(String, SchemaRef)]) -> Result<SchemaRef> {
    let Some((first_file, first)) = files.first() else {
        return Err(Error::invalid("all files are empty: there are no columns"));
    };
    let start = |f: &Arc<Field>| (f.as_ref().clone().with_metadata(HashMap::new()), first_file);
    let mut columns: Vec<(Field, &String)> = first.fields().iter().map(start).collect();
    for (file, schema) in &files[1..] {
        if format == Format::Csv {
            check_positions(&columns, first_file, file, schema)?;
        }
        for field in schema.fields() {
            match columns.iter_mut().find(|(known, _)| known.name() == field.name()) {
                Some(known) => merge(format, known, file, field)?,
                None => {
                    let field = field.as_ref().clone().with_metadata(HashMap::new());
                    columns.push((field.with_nullable(true), file));
                }
            }
        }
        for (known, _) in &mut columns {
            if schema.field_with_name(known.name()).is_err() {
                *known = known.clone().with_nullable(true);
            }
        }
    }
    let fields: Vec<Field> = columns.into_iter().map(|(field, _)| field).collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn check_positions(
    columns: &[(Field, &String)],
    first_file: &str,
    file: &str,
    schema: &Schema,
) -> Result<()> {
    let (had, has) = (columns.len(), schema.fields().len());
    if had != has {
        return Err(Error::invalid(format!(
            "'{first_file}' has {had} columns and '{file}' has {has}"
        )));
    }
    for (at, ((known, _), field)) in columns.iter().zip(schema.fields()).enumerate() {
        if known.name() != field.name() {
            return Err(Error::invalid(format!(
                "column {} is '{}' in '{first_file}' and '{}' in '{file}'",
                at + 1,
                known.name(),
                field.name()
            )));
        }
    }
    Ok(())
}

fn merge<'a>(
    format: Format,
    known: &mut (Field, &'a String),
    file: &'a String,
    field: &Field,
) -> Result<()> {
    let nullable = known.0.is_nullable() || field.is_nullable();
    let Some(merged) = unify(format, known.0.data_type(), field.data_type()) else {
        return Err(Error::invalid(format!(
            "column '{}' is {} in '{}' and {} in '{file}'",
            field.name(),
            known.0.data_type(),
            known.1,
            field.data_type()
        ))
        .with_hint("make the files agree, or read them as two tables"));
    };
    if merged != *known.0.data_type() {
        known.1 = file;
    }
    known.0 = Field::new(field.name(), merged, nullable);
    Ok(())
}

/// A type that holds the values of both, if readers of the format can give it.
fn unify(format: Format, a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64, LargeUtf8, Null, Utf8, Utf8View};
    let text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (a, b) if text(a) && text(b) => Some(if a == b { a.clone() } else { Utf8View }),
        (Int64, Float64) | (Float64, Int64) if matches!(format, Format::Csv | Format::Json) => {
            Some(Float64)
        }
        // A CSV field is text to begin with.
        (a, b) if format == Format::Csv => Some(if text(a) {
            a.clone()
        } else if text(b) {
            b.clone()
        } else {
            Utf8
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &[(&str, DataType)])]) -> Vec<(String, SchemaRef)> {
        let schema = |columns: &[(&str, DataType)]| {
            let fields: Vec<_> =
                columns.iter().map(|(n, t)| Field::new(*n, t.clone(), false)).collect();
            Arc::new(Schema::new(fields))
        };
        all.iter().map(|(name, columns)| ((*name).to_owned(), schema(columns))).collect()
    }

    #[test]
    fn columns_are_joined_by_name_and_missing_ones_are_nullable() {
        use DataType::{Int32, Utf8, Utf8View};
        let all =
            files(&[("a", &[("x", Int32), ("s", Utf8)]), ("b", &[("s", Utf8View), ("y", Int32)])]);
        let schema = reconcile(Format::Parquet, &all).expect("they agree");
        let shown: Vec<_> = schema
            .fields()
            .iter()
            .map(|f| (f.name().as_str(), f.data_type().clone(), f.is_nullable()))
            .collect();
        assert_eq!(shown, [("x", Int32, true), ("s", Utf8View, false), ("y", Int32, true)]);
    }

    #[test]
    fn disagreement_names_both_files_and_types() {
        use DataType::{Boolean, Int32, Int64};
        let cases = [
            (
                Format::Parquet,
                files(&[("a", &[("x", Int32)]), ("b", &[("x", Int32)]), ("c", &[("x", Int64)])]),
                "column 'x' is Int32 in 'a' and Int64 in 'c'",
            ),
            (
                Format::Json,
                files(&[("a", &[("x", Int64)]), ("b", &[("x", Boolean)])]),
                "column 'x' is Int64 in 'a' and Boolean in 'b'",
            ),
            (
                Format::Csv,
                files(&[
                    ("a", &[("x", Int64), ("y", Int64)]),
                    ("b", &[("y", Int64), ("x", Int64)]),
                ]),
                "column 1 is 'x' in 'a' and 'y' in 'b'",
            ),
            (
                Format::Csv,
                files(&[("a", &[("x", Int64), ("y", Int64)]), ("b", &[("x", Int64)])]),
                "'a' has 2 columns and 'b' has 1",
            ),
        ];
        for (format, all, message) in cases {
            assert_eq!(reconcile(format, &all).expect_err(message).message(), message);
        }
    }

    #[test]
    fn text_formats_widen() {
        use DataType::{Boolean, Float64, Int64, Null, Utf8};
        for (format, a, b, both) in [
            (Format::Csv, Int64, Float64, Some(Float64)),
            (Format::Csv, Int64, Boolean, Some(Utf8)),
            (Format::Json, Int64, Float64, Some(Float64)),
            (Format::Json, Null, Boolean, Some(Boolean)),
            (Format::Parquet, Int64, Float64, None),
        ] {
            assert_eq!(unify(format, &a, &b), both, "{a} {b}");
        }
    }
}
