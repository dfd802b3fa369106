//! What was found of one engine.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use arrow::record_batch::RecordBatch;

use crate::compare;
use crate::engine::Engine;
use crate::measure::{Times, timed};
use crate::short::{SQL, WARM_UP, percentile};
use crate::suite::Suite;

/// Times of one engine, and what it could not do.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) version: String,
    /// By the number of the query, those whose rows were right.
    pub(super) queries: BTreeMap<u8, Times>,
    /// Sorted milliseconds of short queries.
    pub(super) short_ms: Vec<f64>,
    /// What failed, for people.
    pub(super) failures: Vec<String>,
}

impl Figures {
    /// Of an engine in this process, or one that it asks. `expected` has each query's rows, unless
    /// the engine itself is what others are held against.
    pub(super) async fn of(
        engine: &dyn Engine,
        suite: &Suite,
        (runs, short_runs): (u32, u32),
        expected: Option<&Expected>,
    ) -> Result<Self> {
        let mut figures = Self::default();
        for (number, sql) in &suite.queries {
            if let Some(expected) = expected.and_then(|expected| expected.get(number)) {
                let (_, rows) = timed(engine, *number, sql).await?;
                compare::same_rows(expected, &rows)
                    .with_context(|| format!("{}: query {number}", engine.name()))?;
            }
            let mut runs_ms = Vec::new();
            for _ in 0..runs {
                runs_ms.push(timed(engine, *number, sql).await?.0);
            }
            figures.queries.insert(*number, Times::of(runs_ms).context("at least one run")?);
        }
        figures.short_ms = short(engine, short_runs).await?;
        Ok(figures)
    }

    /// The sums over the queries that `of` says, medians and shortest runs.
    pub(super) fn totals(&self, of: impl Fn(u8) -> bool) -> (f64, f64) {
        let counted = self.queries.iter().filter(|(number, _)| of(**number));
        counted.fold((0.0, 0.0), |(median, best), (_, times)| {
            (median + times.median_ms, best + times.min_ms)
        })
    }

    /// A percentile of short queries, as a cell.
    pub(super) fn short_cell(&self, percent: usize) -> String {
        match self.short_ms.as_slice() {
            [] => String::new(),
            sorted => format!("{:.2}", percentile(sorted, percent)),
        }
    }
}

/// Rows of plain DataFusion, by the number of the query.
pub(super) type Expected = BTreeMap<u8, Vec<RecordBatch>>;

/// Sorted milliseconds of short queries.
pub(super) async fn short(engine: &dyn Engine, runs: u32) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for run in 0..WARM_UP + runs {
        let (ms, rows) = timed(engine, 0, SQL).await?;
        ensure!(!rows.is_empty(), "{}: no rows", engine.name());
        if run >= WARM_UP {
            times.push(ms);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
