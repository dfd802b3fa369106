//! Rows that came from elsewhere, made to fit the columns of files: found by name, cast, cut into
//! pieces that stay small when they are unpacked.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, Result};

use super::unpacked::Sizes;
use crate::errors::from_arrow;

/// Rows of a batch: some take no memory, and would be written for ever.
const BATCH_ROWS_MAX: usize = 1 << 24;

/// A value that does not fit is an error, not NULL.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// Where each column of the files comes from.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    schema: SchemaRef,
    /// By column of `schema`: the column that came; `None`: NULL.
    sources: Arc<[Option<usize>]>,
}

impl Fit {
    /// Rows with the columns of `from` are to have those of `schema`. `Invalid`: a column that
    /// `schema` does not have, one that must have values and has none, types that do not cast.
    pub(crate) fn into(schema: SchemaRef, from: &SchemaRef) -> Result<Self> {
        let find = |name: &str| {
            let fields = from.fields();
            let exact = fields.iter().position(|field| field.name() == name);
            exact.or_else(|| fields.iter().position(|f| f.name().eq_ignore_ascii_case(name)))
        };
        let sources: Vec<Option<usize>> =
            schema.fields().iter().map(|field| find(field.name())).collect();
        for (number, field) in from.fields().iter().enumerate() {
            if !sources.contains(&Some(number)) {
                return Err(Error::invalid(format!("there is no column '{}'", field.name())));
            }
        }
        for (field, source) in schema.fields().iter().zip(&sources) {
            let Some(source) = source else {
                if field.is_nullable() {
                    continue;
                }
                return Err(Error::invalid(format!(
                    "column '{}' must have values, and none come",
                    field.name()
                )));
            };
            let kind = from.field(*source).data_type();
            if !can_cast_types(kind, field.data_type()) {
                return Err(Error::invalid(format!(
                    "column '{}' is {}, what comes is {kind}",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        Ok(Self { schema, sources: sources.into() })
    }

    /// The columns of files that keep all of these: packed values are unpacked. `Invalid`: a column
    /// without a type.
    pub(crate) fn kept(from: &SchemaRef) -> Result<SchemaRef> {
        let field = |field: &Arc<Field>| {
            let kind = match field.data_type() {
                DataType::Dictionary(_, values) => values.as_ref().clone(),
                DataType::RunEndEncoded(_, values) => values.data_type().clone(),
                DataType::Null => {
                    return Err(Error::invalid(format!(
                        "column '{}' has no type: all of its values are NULL",
                        field.name()
                    ))
                    .with_hint("give it one, or create the table first"));
                }
                other => other.clone(),
            };
            Ok(Field::new(field.name(), kind, true))
        };
        let fields: Result<Vec<_>> = from.fields().iter().map(field).collect();
        Ok(Arc::new(Schema::new(fields?)))
    }

    /// The columns of the files.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows, made to fit one piece after the other. `Exhausted`: too many in one batch, or more
    /// bytes in one row than is taken; `Invalid`: values packed within others.
    pub(crate) fn pieces(
        &self,
        batch: &RecordBatch,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let rows = batch.num_rows();
        if rows > BATCH_ROWS_MAX {
            return Err(Error::exhausted(format!(
                "{rows} rows came in one batch, more than {BATCH_ROWS_MAX}"
            )));
        }
        let (this, batch, sizes) = (self.clone(), batch.clone(), Sizes::of(batch)?);
        let mut start = 0;
        Ok(std::iter::from_fn(move || {
            let length = (start < rows).then(|| sizes.piece(start, rows))?;
            let piece = length.and_then(|length| {
                let piece = batch.slice(start, length);
                start += length;
                this.fitted(&piece)
            });
            if piece.is_err() {
                start = rows;
            }
            Some(piece)
        }))
    }

    fn fitted(&self, piece: &RecordBatch) -> Result<RecordBatch> {
        let column = |(field, source): (&Arc<Field>, &Option<usize>)| -> Result<ArrayRef> {
            let Some(source) = source else {
                return Ok(new_null_array(field.data_type(), piece.num_rows()));
            };
            let cast = cast_with_options(piece.column(*source), field.data_type(), &STRICT);
            cast.map_err(|e| from_arrow(&e).context(format!("column '{}'", field.name())))
        };
        let columns: Result<Vec<_>> =
            self.schema.fields().iter().zip(self.sources.iter()).map(column).collect();
        // NULL where none may be is the encoder's to refuse: with the name of the column.
        let fields = self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns?).map_err(|e| from_arrow(&e))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::super::unpacked::PIECE_BYTES;
    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
        let field =
            |(name, kind, null): &(&str, DataType, bool)| Field::new(*name, kind.clone(), *null);
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_are_found_by_name_cast_and_filled() {
        let table = schema(&[
            ("id", DataType::Int64, true),
            ("what", DataType::Utf8View, true),
            ("more", DataType::Float64, true),
        ]);
        let words: DictionaryArray<Int32Type> = vec!["tea", "pot", "tea"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("WHAT", Arc::new(words) as ArrayRef),
            ("id", Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef),
        ]);
        let batch = batch.expect("a batch");
        let fit = Fit::into(Arc::clone(&table), &batch.schema()).expect("it fits");
        let pieces: Result<Vec<_>> = fit.pieces(&batch).expect("few").collect();
        let pieces = pieces.expect("cast");
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
        let types = |batch: &RecordBatch| -> Vec<DataType> {
            batch.columns().iter().map(|column| column.data_type().clone()).collect()
        };
        let wanted: Vec<DataType> = table.fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types(&pieces[0]), wanted);
        assert_eq!(pieces[0].column(2).null_count(), pieces[0].num_rows());
    }

    #[test]
    fn what_does_not_fit_names_its_column() {
        let table = schema(&[("id", DataType::Int32, false), ("n", DataType::Utf8, true)]);
        let refused = |from: SchemaRef| Fit::into(Arc::clone(&table), &from).expect_err("no fit");
        let extra = refused(schema(&[("id", DataType::Int32, true), ("x", DataType::Utf8, true)]));
        assert!(extra.message().contains("no column 'x'"), "{extra}");
        let missing = refused(schema(&[("n", DataType::Utf8, true)]));
        assert!(missing.message().contains("'id' must have values"), "{missing}");
        let list = DataType::new_list(DataType::Int32, true);
        let kind = refused(schema(&[("id", list, true)]));
        assert!(kind.message().contains("column 'id' is Int32"), "{kind}");
        let untyped = Fit::kept(&schema(&[("v", DataType::Null, true)])).expect_err("no type");
        assert!(untyped.message().contains("'v' has no type"), "{untyped}");
        for column in [
            Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef,
            Arc::new(StringArray::from(vec!["one"])) as ArrayRef,
            Arc::new(Float64Array::from(vec![f64::INFINITY])) as ArrayRef,
        ] {
            let batch = RecordBatch::try_from_iter([("id", column)]).expect("a batch");
            let fit = Fit::into(Arc::clone(&table), &batch.schema()).expect("types cast");
            let error = fit.pieces(&batch).expect("few").next().expect("a piece").expect_err("no");
            assert!(error.to_string().contains("column 'id'"), "{error}");
        }
    }

    #[test]
    fn a_dictionary_of_long_values_is_unpacked_in_small_pieces() {
        let long = "x".repeat(PIECE_BYTES.as_usize() / 4);
        let words: DictionaryArray<Int32Type> = vec![long.as_str(); 100].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("w", Arc::new(words) as ArrayRef)]);
        let batch = batch.expect("a batch");
        let kept = Fit::kept(&batch.schema()).expect("typed");
        assert_eq!(kept.field(0).data_type(), &DataType::Utf8);
        let fit = Fit::into(kept, &batch.schema()).expect("it fits");
        for piece in fit.pieces(&batch).expect("few").take(2) {
            assert!(piece.expect("unpacked").num_rows() <= 4);
        }
    }
}
