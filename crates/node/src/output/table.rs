//! Rows as a table for people.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use dunlin_base::Error;

use super::place::{Out, Sink};
use crate::report::Failure;

/// Collects rows, up to a limit; what is beyond it is counted only.
pub(super) struct TableBuffer {
    out: Out,
    schema: SchemaRef,
    max_rows: Option<usize>,
    batches: Vec<RecordBatch>,
    kept: usize,
    rows: usize,
}

impl TableBuffer {
    pub(super) fn new(out: Out, schema: SchemaRef, max_rows: Option<usize>) -> Self {
        Self { out, schema, max_rows, batches: Vec::new(), kept: 0, rows: 0 }
    }
}

impl Sink for TableBuffer {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows();
        let room = self.max_rows.map_or(usize::MAX, |max| max - self.kept);
        let keep = batch.num_rows().min(room);
        if keep > 0 {
            self.batches.push(batch.slice(0, keep));
            self.kept += keep;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        let mut text = text_table(&self.schema, &self.batches)?;
        text.push('\n');
        if self.rows > self.kept {
            let hidden = self.rows - self.kept;
            text.push_str(&format!("... and {hidden} rows more (--max-rows 0 shows all)\n"));
        }
        self.out.put(text.as_bytes())
    }
}

/// The batches as text: a header, then a line for each row; numbers to the right.
fn text_table(schema: &Schema, batches: &[RecordBatch]) -> Result<String, Failure> {
    let failed = |e: ArrowError| {
        let message = format!("cannot write the rows as a table: {e}");
        Failure::from(Error::invalid(message).with_source(e))
    };
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED);
    table.set_header(schema.fields().iter().map(|f| Cell::new(one_line(f.name()))));
    let options = FormatOptions::default().with_null("NULL");
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns
            .map(|(column, field)| {
                let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
                Ok((formatter, alignment(field.data_type())))
            })
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(failed)?;
        for row in 0..batch.num_rows() {
            let cells = columns
                .iter()
                .map(|(column, align)| {
                    let text = column.value(row).try_to_string()?;
                    Ok(Cell::new(one_line(&text)).set_alignment(*align))
                })
                .collect::<Result<Vec<_>, ArrowError>>()
                .map_err(failed)?;
            table.add_row(cells);
        }
    }
    Ok(table.to_string())
}

fn alignment(kind: &DataType) -> CellAlignment {
    if kind.is_numeric() { CellAlignment::Right } else { CellAlignment::Left }
}

/// Text without what would tear the table apart or command the terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn a_table_shows_nulls_and_keeps_its_lines() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        let numbers = Int64Array::from(vec![Some(100), None]);
        let texts = StringArray::from(vec![None, Some("a\nb\u{1b}")]);
        let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(numbers), Arc::new(texts)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("fits");
        let text = text_table(&schema, &[batch]).expect("prints");
        let expected = "\
+------+------------+
| n    | text       |
+===================+
|  100 | NULL       |
| NULL | a\\nb\\u{1b} |
+------+------------+";
        assert_eq!(text, expected);
    }
}
