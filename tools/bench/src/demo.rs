//! The demo: all TPC-H queries through all roles, an executor crashed in the middle of some, each
//! answer held against plain DataFusion's. Then once more on a cluster of processes on etcd, with
//! an executor, a shuffle worker and a gateway killed.

use std::time::Duration;

use anyhow::Result;
use arrow::record_batch::RecordBatch;
use comfy_table::{CellAlignment, Table, presets};
use dunlin_base::Env;

use crate::cli::DemoArgs;
use crate::cluster::{Cluster, Size};
use crate::compare;
use crate::engine::{self, Engine, Plain};
use crate::measure::timed;
use crate::suite::{Suite, SuiteName};

/// An executor is crashed in every query whose number is a multiple of this.
const CRASH_EVERY: u8 = 3;

/// What the cluster has.
const SIZE: Size = Size { gateways: 2, executors: 2, shuffle: 2 };

/// Who is killed by SIGKILL in the middle of which query.
const KILLS: [(u8, &str); 3] = [(5, "executor 1"), (9, "shuffle 1"), (18, "gateway 1")];

/// How a query went on the cluster.
struct OnCluster {
    ms: f64,
    killed: Option<&'static str>,
    difference: Option<String>,
}

/// One line of the table at the end.
struct Line {
    query: u8,
    rows: usize,
    engine_ms: f64,
    plain_ms: f64,
    /// `None`: the same rows. Else the first difference.
    difference: Option<String>,
    crashed: bool,
    cluster: Option<OnCluster>,
}

impl Line {
    fn differences(&self) -> impl Iterator<Item = &String> {
        let cluster = self.cluster.as_ref().and_then(|cluster| cluster.difference.as_ref());
        self.difference.iter().chain(cluster)
    }
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
    let mut lines = run_queries(&suite, &plain, engine.as_ref()).await?;
    drop(engine);
    if !args.one_process {
        println!(
            "\nA cluster of processes on etcd: {} gateways, {} executors of one slot, {} shuffle \
             workers",
            SIZE.gateways, SIZE.executors, SIZE.shuffle
        );
        let cluster = Cluster::start(args.dunlin.as_deref(), &suite.data, SIZE, setup).await?;
        run_on_cluster(&suite, &plain, &cluster, &mut lines).await?;
    }
    println!("\n{}\n", table(&lines));
    print_summary(&lines);
    Ok(lines.iter().all(|line| line.differences().next().is_none()))
}

async fn run_on_cluster(
    suite: &Suite,
    plain: &dyn Engine,
    cluster: &Cluster,
    lines: &mut [Line],
) -> Result<()> {
    for ((number, sql), line) in suite.queries.iter().zip(lines) {
        let (_, expected) = timed(plain, *number, sql).await?;
        let (calm_ms, _) = timed(cluster, *number, sql).await?;
        let killed = KILLS.iter().find(|(query, _)| query == number).map(|(_, name)| *name);
        let from = cluster.said();
        let kill = async {
            let Some(name) = killed else { return Ok(()) };
            Env::real(None).sleep(Duration::from_secs_f64(calm_ms / 2e3)).await;
            cluster.kill(name)
        };
        let (run, kill) = tokio::join!(timed(cluster, *number, sql), kill);
        let (ms, actual) = run?;
        kill?;
        let difference = compare::same_rows(&expected, &actual).err().map(|e| e.to_string());
        let mark = if difference.is_none() { "same rows" } else { "DIFFERENT ROWS" };
        let lost = killed.map(|name| format!(", {name} killed")).unwrap_or_default();
        println!("query {number:>2}: {ms:>9.1} ms, {mark}{lost}");
        line.cluster = Some(OnCluster { ms, killed, difference });
        if let Some(name) = killed {
            cluster.ready(name, from).await?;
        }
    }
    Ok(())
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
        let line =
            Line { query: *number, rows, engine_ms, plain_ms, difference, crashed, cluster: None };
        lines.push(line);
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
    table.set_header([
        "query",
        "rows",
        "time",
        "plain DataFusion",
        "ratio",
        "same answer",
        "",
        "cluster",
        "killed",
        "same answer",
    ]);
    let yes =
        |difference: &Option<String>| if difference.is_none() { "yes" } else { "NO" }.to_owned();
    for line in lines {
        table.add_row([
            line.query.to_string(),
            line.rows.to_string(),
            format!("{:.0} ms", line.engine_ms),
            format!("{:.0} ms", line.plain_ms),
            format!("{:.2}", line.engine_ms / line.plain_ms),
            yes(&line.difference),
            if line.crashed { "executor crashed" } else { "" }.to_owned(),
            line.cluster.as_ref().map(|c| format!("{:.0} ms", c.ms)).unwrap_or_default(),
            line.cluster.as_ref().and_then(|c| c.killed).unwrap_or_default().to_owned(),
            line.cluster.as_ref().map(|c| yes(&c.difference)).unwrap_or_default(),
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
    let right = lines.iter().filter(|line| line.differences().next().is_none()).count();
    println!("{right} of {} answers are those of plain DataFusion.", lines.len());
    println!("{crashed} queries lost an executor on the way.");
    if plain > 0.0 {
        println!(
            "The others took {engine:.0} ms, plain DataFusion {plain:.0} ms: {:.2} times.",
            engine / plain
        );
    }
    let on_cluster: Vec<&OnCluster> = lines.iter().filter_map(|l| l.cluster.as_ref()).collect();
    let killed: Vec<&str> = on_cluster.iter().filter_map(|c| c.killed).collect();
    if !on_cluster.is_empty() {
        let all: f64 = on_cluster.iter().map(|c| c.ms).sum();
        println!("On the cluster all took {all:.0} ms; killed on the way: {}.", killed.join(", "));
    }
    for line in lines {
        for difference in line.differences() {
            println!("query {}: {difference}", line.query);
        }
    }
}
