//! The demo: all TPC-H queries through all roles, an executor crashed in the middle of some, each
//! answer held against plain DataFusion's.

use std::time::Duration;

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use comfy_table::{CellAlignment, Table, presets};
use dunlin_base::Env;

use crate::cli::DemoArgs;
use crate::compare;
use crate::engine::{self, Engine, Plain};
use crate::measure::timed;
use crate::suite::{Suite, SuiteName};

/// An executor is crashed in every query whose number is a multiple of this.
const CRASH_EVERY: u8 = 3;

/// One line of the table at the end.
struct Line {
    query: u8,
    rows: usize,
    engine_ms: f64,
    plain_ms: f64,
    /// `None`: the same rows. Else the first difference.
    difference: Option<String>,
    crashed: bool,
}

/// Runs the demo. True if every answer was right.
pub async fn run(args: &DemoArgs) -> Result<bool> {
    let setup = args.setup.resolve();
    println!("TPC-H data at scale {} under {}", args.scale, args.data.display());
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &[])?;
    let plain = Plain::open(&suite.data, setup).await?;
    let engine = engine::open(&suite.data, setup).await?;
    println!(
        "{} queries with {} threads, {} partitions, {} executors\n",
        suite.queries.len(),
        setup.threads,
        setup.partitions,
        setup.executors
    );
    let lines = run_queries(&suite, &plain, engine.as_ref()).await?;
    println!("\n{}\n", table(&lines));
    print_summary(&lines);
    Ok(lines.iter().all(|line| line.difference.is_none()))
}

async fn run_queries(suite: &Suite, plain: &dyn Engine, engine: &dyn Engine) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, sql) in &suite.queries {
        // Once to warm up both sides: files, footers, code.
        let (_, expected) = timed(plain, *number, sql).await?;
        timed(engine, *number, sql).await?;
        let (plain_ms, _) = timed(plain, *number, sql).await?;
        let crash = number.is_multiple_of(CRASH_EVERY);
        let (engine_ms, actual, crashed) = if crash {
            run_with_crash(engine, *number, sql, plain_ms).await?
        } else {
            let (ms, rows) = timed(engine, *number, sql).await?;
            (ms, rows, false)
        };
        let difference = compare::same_rows(&expected, &actual).err().map(|e| e.to_string());
        let rows = actual.iter().map(RecordBatch::num_rows).sum();
        let mark = if difference.is_none() { "same rows" } else { "DIFFERENT ROWS" };
        println!("query {number:>2}: {rows:>6} rows, {engine_ms:>9.1} ms, {mark}");
        lines.push(Line { query: *number, rows, engine_ms, plain_ms, difference, crashed });
    }
    Ok(lines)
}

/// Runs the query and crashes an executor when about half of it should be done.
async fn run_with_crash(
    engine: &dyn Engine,
    query: u8,
    sql: &str,
    plain_ms: f64,
) -> Result<(f64, Vec<RecordBatch>, bool)> {
    let env = Env::real(None);
    let crash = async {
        env.sleep(Duration::from_secs_f64(plain_ms / 2e3)).await;
        engine.crash_an_executor().await
    };
    let (run, crashed) = tokio::join!(timed(engine, query, sql), crash);
    let (ms, rows) = run?;
    Ok((ms, rows, crashed?))
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["query", "rows", "time", "plain DataFusion", "ratio", "same answer", ""]);
    for line in lines {
        table.add_row([
            line.query.to_string(),
            line.rows.to_string(),
            format!("{:.0} ms", line.engine_ms),
            format!("{:.0} ms", line.plain_ms),
            format!("{:.2}", line.engine_ms / line.plain_ms),
            if line.difference.is_none() { "yes" } else { "NO" }.to_owned(),
            if line.crashed { "executor crashed" } else { "" }.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn print_summary(lines: &[Line]) {
    let calm = || lines.iter().filter(|line| !line.crashed);
    let engine: f64 = calm().map(|line| line.engine_ms).sum();
    let plain: f64 = calm().map(|line| line.plain_ms).sum();
    let crashed = lines.iter().filter(|line| line.crashed).count();
    let right = lines.iter().filter(|line| line.difference.is_none()).count();
    println!("{right} of {} answers are those of plain DataFusion.", lines.len());
    println!("{crashed} queries lost an executor on the way.");
    if plain > 0.0 {
        println!(
            "The others took {engine:.0} ms, plain DataFusion {plain:.0} ms: {:.2} times.",
            engine / plain
        );
    }
    for line in lines {
        if let Some(difference) = &line.difference {
            println!("query {}: {difference}", line.query);
        }
    }
}
