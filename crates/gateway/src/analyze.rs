//! `EXPLAIN ANALYZE`: run the query, then show what each stage did.

use std::fmt::Write;
use std::sync::Arc;

use dunlin_base::{ByteCount, Error, Result};
use dunlin_queue::{QueryStatus, Spread, StageStatus};
use futures::TryStreamExt;

use crate::gateway::{Gateway, Prepared};

/// Runs `query`, throws its rows away and reports.
pub(crate) async fn run(gateway: &Gateway, query: Prepared, verbose: bool) -> Result<String> {
    let schema = Arc::clone(&query.schema);
    let id = gateway.publish(query).await?;
    let id = id.ok_or_else(|| Error::bug("a publication without conditions failed"))?;
    let mut rows = gateway.attach(id, schema);
    // The records are there until the last row was taken.
    let ended = gateway.queue().wait_ended(id).await?;
    let status = gateway.queue().status(id).await?;
    while rows.batches.try_next().await?.is_some() {}
    let status = status.ok_or_else(|| Error::lost("the records of the query are gone"))?;
    let mut text = String::new();
    let elapsed = status.ended_unix_ms.saturating_sub(status.created_unix_ms);
    let _ = writeln!(text, "{} rows in {elapsed} ms, {} stages", ended.rows, status.stages.len());
    report(&mut text, &status, verbose);
    Ok(text)
}

fn report(text: &mut String, status: &QueryStatus, verbose: bool) {
    for stage in &status.stages {
        let inputs: Vec<String> = stage.inputs.iter().map(|s| s.to_string()).collect();
        let from = match inputs.is_empty() {
            true => String::new(),
            false => format!(" from stages {}", inputs.join(", ")),
        };
        let _ = writeln!(text, "\nStage {}{from}", stage.stage);
        let _ = writeln!(
            text,
            "  {} slices in {} tasks, {} attempts ({} failed), open {} ms",
            stage.slices_total,
            stage.tasks,
            stage.attempts,
            stage.attempts_failed,
            stage.sealed_unix_ms.saturating_sub(stage.opened_unix_ms),
        );
        let _ = writeln!(
            text,
            "  out {} rows, {}; scanned {}; spilled {}; peak memory of a task {}",
            stage.rows,
            ByteCount(stage.bytes),
            ByteCount(stage.bytes_in),
            ByteCount(stage.spilled_bytes),
            ByteCount(stage.peak_memory_bytes),
        );
        skew(text, stage);
        operators(text, stage, verbose);
    }
}

fn skew(text: &mut String, stage: &StageStatus) {
    let ms = |spread: Spread| {
        let [min, median, max] = [spread.min, spread.median, spread.max].map(|us| us as f64 / 1e3);
        format!("{min:.1} / {median:.1} / {max:.1} ms")
    };
    let plain = |s: Spread| format!("{} / {} / {}", s.min, s.median, s.max);
    let _ = writeln!(
        text,
        "  min / median / max: task time {}; rows a slice {}; bytes a slice {}",
        ms(stage.elapsed_us),
        plain(stage.rows_per_slice),
        plain(stage.bytes_per_slice),
    );
}

fn operators(text: &mut String, stage: &StageStatus, verbose: bool) {
    for operator in &stage.operators {
        if !verbose && operator.name == "CooperativeExec" {
            continue;
        }
        let _ = writeln!(
            text,
            "    {:indent$}{}: {} rows, {:.1} ms",
            "",
            operator.name,
            operator.rows_out,
            operator.elapsed_compute_us as f64 / 1e3,
            indent = 2 * operator.depth as usize,
        );
    }
}
