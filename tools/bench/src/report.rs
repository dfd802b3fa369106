//! What a benchmark found, as Markdown for people and JSON for later comparison.

mod sheet;

pub use self::sheet::Sheet;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clock::today;
use crate::engine::Setup;
use crate::machine::Conditions;
use crate::measure::Measured;

/// One benchmark run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured, such as `TPC-H`.
    pub title: String,
    /// The date (UTC).
    pub date: String,
    /// Scale factor of the data.
    pub scale: f64,
    /// Runs that counted, for each query and engine.
    pub runs: u32,
    /// How the engines were set up.
    pub setup: Setup,
    /// Machine and build.
    pub conditions: Conditions,
    /// The base line's name.
    pub base: &'static str,
    /// The name of the engine that was held against it.
    pub engine: Option<&'static str>,
    /// Query by query.
    pub queries: Vec<Measured>,
}

impl Report {
    /// Of today, on this machine, without queries so far.
    pub fn new(title: &str, scale: f64, runs: u32, setup: Setup, base: &'static str) -> Self {
        Self {
            title: title.to_owned(),
            date: today(),
            scale,
            runs,
            setup,
            conditions: Conditions::now(),
            base,
            engine: None,
            queries: Vec::new(),
        }
    }

    /// The sums of medians: base line, and engine if there is one.
    pub fn totals(&self) -> (f64, Option<f64>) {
        let base = self.queries.iter().map(|query| query.base.median_ms).sum();
        let medians = self.queries.iter().map(|query| Some(query.engine.as_ref()?.median_ms));
        let engine: Option<f64> = medians.sum();
        (base, engine.filter(|_| self.engine.is_some()))
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_head(&mut text);
        let _ = self.write_table(&mut text);
        text
    }

    fn write_head(&self, text: &mut String) -> std::fmt::Result {
        head(text, &self.title, self.scale, &self.date, &self.conditions, Some(self.setup))?;
        writeln!(text, "| runs | 1 to warm up, median of {} |\n", self.runs)
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let base = self.base;
        let Some(engine) = self.engine else {
            writeln!(text, "| query | rows | {base} ms | min | max |\n|---:|---:|---:|---:|---:|")?;
            for q in &self.queries {
                let (query, rows, t) = (q.query, q.rows, &q.base);
                let (median, min, max) = (t.median_ms, t.min_ms, t.max_ms);
                writeln!(text, "| {query} | {rows} | {median:.1} | {min:.1} | {max:.1} |")?;
            }
            return writeln!(text, "| **sum** | | **{:.1}** | | |", self.totals().0);
        };
        writeln!(text, "| query | rows | {engine} ms | {base} ms | ratio |")?;
        writeln!(text, "|---:|---:|---:|---:|---:|")?;
        for q in &self.queries {
            let measured = q.engine.as_ref().map_or(f64::NAN, |times| times.median_ms);
            let ratio = q.ratio().unwrap_or(f64::NAN);
            let (query, rows, base) = (q.query, q.rows, q.base.median_ms);
            writeln!(text, "| {query} | {rows} | {measured:.1} | {base:.1} | {ratio:.2} |")?;
        }
        let (base, engine) = self.totals();
        let engine = engine.unwrap_or(f64::NAN);
        let ratio = engine / base;
        writeln!(text, "| **sum** | | **{engine:.1}** | **{base:.1}** | **{ratio:.2}** |")
    }

    /// Writes `<date>-<title>-sf<scale>-<commit>.md` and `.json` into `dir`; the Markdown's path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let stem = (self.date.as_str(), self.title.as_str(), self.scale, &self.conditions);
        write_files(dir, stem, &self.markdown(), &serde_json::to_string_pretty(self)?)
    }
}

/// The title, and the conditions as a table.
fn head(
    text: &mut String,
    title: &str,
    scale: f64,
    date: &str,
    conditions: &Conditions,
    setup: Option<Setup>,
) -> std::fmt::Result {
    writeln!(text, "# {title} at scale {scale}\n\n| | |\n|---|---|\n| date | {date} |")?;
    writeln!(text, "| commit | {} ({} build) |", conditions.commit, conditions.profile)?;
    let Conditions { cpu, cores, memory_gib, system, load, .. } = conditions;
    writeln!(
        text,
        "| machine | {cpu}, {cores} cores, {memory_gib} GiB, {system}; load {load} at the start |"
    )?;
    if let Some(Setup { threads, partitions, executors, memory, plan_cache: _ }) = setup {
        write!(text, "| set-up | {threads} threads, {partitions} partitions")?;
        writeln!(text, ", {executors} executors, {memory} of query memory |")?;
    }
    writeln!(text, "| DataFusion | {} |", conditions.datafusion)
}

fn write_files(
    dir: &Path,
    (date, title, scale, conditions): (&str, &str, f64, &Conditions),
    markdown: &str,
    json: &str,
) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let title = title.to_lowercase().replace(' ', "-");
    let commit = conditions.commit.trim_end_matches('+');
    let stem = format!("{date}-{title}-sf{scale}-{commit}");
    let path = dir.join(format!("{stem}.md"));
    for (path, text) in [(&path, markdown), (&dir.join(format!("{stem}.json")), json)] {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests;
