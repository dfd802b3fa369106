//! A report with columns of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::{head, write_files};
use crate::clock::today;
use crate::engine::Setup;
use crate::machine::Conditions;

/// Sentences and one table, with the conditions under which they were found.
#[derive(Clone, Debug, Serialize)]
pub struct Sheet {
    title: String,
    date: String,
    scale: f64,
    setup: Option<Setup>,
    conditions: Conditions,
    sentences: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Of today, on this machine, empty. `setup`: of the engines, if there are any.
    pub fn new(title: &str, scale: f64, setup: impl Into<Option<Setup>>) -> Self {
        Self {
            title: title.to_owned(),
            date: today(),
            scale,
            setup: setup.into(),
            conditions: Conditions::now(),
            sentences: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a sentence, shown above the table.
    pub fn says(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }

    /// Names the columns.
    pub fn columns(&mut self, names: &[&str]) {
        self.columns = names.iter().map(|&name| name.to_owned()).collect();
    }

    /// Adds a row, and shows it to whoever waits.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        eprintln!("{}", cells.join("  "));
        self.rows.push(cells);
    }

    /// The sheet as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = head(&mut text, &self.title, self.scale, &self.date, &self.conditions, self.setup);
        let _ = self.write_body(&mut text);
        text
    }

    fn write_body(&self, text: &mut String) -> std::fmt::Result {
        for sentence in &self.sentences {
            writeln!(text, "\n{sentence}")?;
        }
        writeln!(text, "\n| {} |", self.columns.join(" | "))?;
        writeln!(text, "|{}", "---:|".repeat(self.columns.len()))?;
        for row in &self.rows {
            writeln!(text, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }

    /// Writes Markdown and JSON into `dir`; the Markdown's path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let stem = (self.date.as_str(), self.title.as_str(), self.scale, &self.conditions);
        write_files(dir, stem, &self.markdown(), &serde_json::to_string_pretty(self)?)
    }
}
