//! Times queries: one warm-up run, then runs that count, two engines in turn.

use anyhow::{Context, Result};
use arrow::record_batch::RecordBatch;
use serde::Serialize;

use crate::clock::{Stopwatch, millis};
use crate::compare;
use crate::engine::Engine;

/// The times of some runs, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// The middle one (the mean of the two middle ones of an even number).
    pub median_ms: f64,
    /// The shortest.
    pub min_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Of at least one run.
    pub fn of(mut runs_ms: Vec<f64>) -> Option<Self> {
        runs_ms.sort_by(f64::total_cmp);
        let (min_ms, max_ms) = (*runs_ms.first()?, *runs_ms.last()?);
        let middle = runs_ms.len() / 2;
        let median_ms = if runs_ms.len() % 2 == 1 {
            runs_ms[middle]
        } else {
            f64::midpoint(runs_ms[middle - 1], runs_ms[middle])
        };
        Some(Self { median_ms, min_ms, max_ms })
    }
}

/// One query on one engine, or on two.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The query's number.
    pub query: u8,
    /// Rows of the result.
    pub rows: usize,
    /// Times of the base line.
    pub base: Times,
    /// Times of the engine that is held against it, if there is one.
    pub engine: Option<Times>,
}

impl Measured {
    /// The engine's median over the base line's.
    pub fn ratio(&self) -> Option<f64> {
        self.engine.as_ref().map(|engine| engine.median_ms / self.base.median_ms)
    }
}

/// Times `sql` on `base` and, in turn with it, on `engine`, whose rows must be the same.
pub async fn measure(
    query: u8,
    sql: &str,
    base: &dyn Engine,
    engine: Option<&dyn Engine>,
    runs: u32,
) -> Result<Measured> {
    let (_, expected) = timed(base, query, sql).await?;
    if let Some(engine) = engine {
        let (_, actual) = timed(engine, query, sql).await?;
        compare::same_rows(&expected, &actual)
            .with_context(|| format!("{} answers query {query} differently", engine.name()))?;
    }
    let (mut base_ms, mut engine_ms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        base_ms.push(timed(base, query, sql).await?.0);
        if let Some(engine) = engine {
            engine_ms.push(timed(engine, query, sql).await?.0);
        }
    }
    let rows = expected.iter().map(RecordBatch::num_rows).sum();
    let base = Times::of(base_ms).context("at least one run")?;
    Ok(Measured { query, rows, base, engine: Times::of(engine_ms) })
}

/// One run: its milliseconds and its rows.
pub async fn timed(engine: &dyn Engine, query: u8, sql: &str) -> Result<(f64, Vec<RecordBatch>)> {
    let watch = Stopwatch::start();
    let rows = engine.rows(sql).await;
    let elapsed = millis(watch.elapsed());
    Ok((elapsed, rows.with_context(|| format!("query {query} on {}", engine.name()))?))
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn the_median_is_the_middle_whatever_the_order_of_runs() {
        let odd = Times::of(vec![9.0, 1.0, 4.0]).expect("three runs");
        assert_eq!((odd.min_ms, odd.median_ms, odd.max_ms), (1.0, 4.0, 9.0));
        let even = Times::of(vec![9.0, 1.0, 4.0, 6.0]).expect("four runs");
        assert_eq!((even.min_ms, even.median_ms, even.max_ms), (1.0, 5.0, 9.0));
        assert!(Times::of(Vec::new()).is_none());
    }
}
