//! Rows that are a table for people, or JSON for programs.

use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use dunlin_base::{ByteCount, Error};
use serde_json::{Map, Value};

/// What a command found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Field>>,
    said: Option<String>,
    /// What could not be found out.
    pub(super) failures: Vec<Error>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Field {
    Text(String),
    Number(u64),
    Bytes(u64),
}

impl Listing {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), ..Self::default() }
    }

    /// A sentence in place of rows.
    pub(super) fn said(text: String) -> Self {
        Self { said: Some(text), ..Self::default() }
    }

    pub(super) fn add<const N: usize>(&mut self, row: [Field; N]) {
        self.rows.push(row.into());
    }

    /// What is printed. In JSON amounts are in bytes.
    pub(super) fn lines(&self, json: bool) -> Vec<String> {
        match &self.said {
            Some(text) if json => vec![serde_json::json!({ "said": text }).to_string()],
            Some(text) => vec![text.clone()],
            None if json => self.rows.iter().map(|row| self.object(row)).collect(),
            None => vec![self.table()],
        }
    }

    fn object(&self, row: &[Field]) -> String {
        let value = |field: &Field| match field {
            Field::Text(text) => Value::from(text.as_str()),
            Field::Number(number) | Field::Bytes(number) => Value::from(*number),
        };
        let named = self.columns.iter().zip(row);
        let object: Map<_, _> = named.map(|(name, f)| ((*name).to_owned(), value(f))).collect();
        Value::Object(object).to_string()
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_FULL_CONDENSED);
        table.set_header(self.columns.iter().map(|name| name.replace('_', " ")));
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let cell = |field: &Field| match field {
            Field::Text(text) => Cell::new(text),
            Field::Number(value) => number(value.to_string()),
            Field::Bytes(bytes) => number(ByteCount(*bytes).to_string()),
        };
        for row in &self.rows {
            table.add_row(row.iter().map(cell));
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_table_and_programs_one_object_for_each_row() {
        let mut listing = Listing::new(&["worker", "memory_used"]);
        listing.add([Field::Text("w1".into()), Field::Bytes(2 << 20)]);
        let table = listing.lines(false).join("\n");
        assert!(table.contains("memory used") && table.contains("2MiB"), "{table}");
        assert_eq!(listing.lines(true), [r#"{"memory_used":2097152,"worker":"w1"}"#]);
        let said = Listing::said("done".into());
        assert_eq!((said.lines(false), said.lines(true).len()), (vec!["done".to_owned()], 1));
    }
}
