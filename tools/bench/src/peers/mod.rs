//! TPC-H and a short query on other engines, on plain DataFusion and on ours, in one run.
//!
//! One engine after the other: idle ones of some hundred megabytes each would be no fair company.
//! Since the machine may change its speed meanwhile, plain DataFusion (in this process) runs all
//! queries before each of them, and the ratio is to that pass.

mod alike;
pub mod args;
mod child;
mod figures;

use anyhow::{Context, Result, ensure};

use self::args::PeersArgs;
use self::child::PEERS;
use self::figures::{Expected, Figures};
use crate::cluster::{Cluster, Size};
use crate::engine::{self, Plain, Setup};
use crate::measure::{Times, timed};
use crate::report::Sheet;
use crate::suite::{Suite, SuiteName};

/// One gateway, two executors of one slot, one shuffle worker.
const SIZE: Size = Size { gateways: 1, executors: 2, shuffle: 1 };

/// What a run has at hand.
struct Bench<'a> {
    args: &'a PeersArgs,
    setup: Setup,
    suite: Suite,
    plain: Plain,
    expected: Expected,
    /// Passes of plain DataFusion so far.
    passes: Vec<Figures>,
    sheet: Sheet,
}

/// Runs it.
pub async fn run(args: &PeersArgs) -> Result<Sheet> {
    for name in &args.only {
        ensure!(PEERS.iter().any(|peer| peer.name == name), "there is no peer '{name}'");
    }
    let setup = args.setup.resolve();
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &args.queries)?;
    let plain = Plain::open(&suite.data, setup).await?;
    let mut expected = Expected::new();
    for (number, sql) in &suite.queries {
        expected.insert(*number, timed(&plain, *number, sql).await?.1);
    }
    let sheet = sheet(args, setup, suite.queries.len());
    let mut bench = Bench { args, setup, suite, plain, expected, passes: Vec::new(), sheet };
    bench.own().await?;
    for peer in PEERS {
        if args.only.is_empty() || args.only.iter().any(|name| name == peer.name) {
            bench.pass().await?;
            let with = (bench.suite.data.as_path(), setup.threads);
            let figures = peer.measure(args, with, &bench.expected).await?;
            bench.row(peer.title, &figures)?;
        }
    }
    bench.base()?;
    Ok(bench.sheet)
}

fn sheet(args: &PeersArgs, setup: Setup, queries: usize) -> Sheet {
    let mut sheet = Sheet::new("Peers", args.scale, setup);
    let (runs, short_runs) = (args.runs, args.short_runs);
    sheet.says(format!(
        "{queries} queries of TPC-H over the same Parquet files, which all read in place, with {} \
         threads each: one run of a query to warm up, then {runs} that count. Totals are the sums \
         of medians, and of the shortest runs. Rows are compared with plain DataFusion's before \
         a query counts; a query that fails or has other rows is left out of its engine's total, \
         and of DataFusion's beside it. Then `SELECT count(*) FROM nation`, {short_runs} times.",
        setup.threads
    ));
    sheet.says(
        "One engine after the other. Before each, plain DataFusion (this process, Rust) runs the \
         same: the ratio is to that pass. Dunlin is asked without kept plans, but where it says so. \
         The cluster is 1 gateway, 2 executors of one slot, 1 shuffle worker and etcd, each a \
         process. Peers come from PyPI and are asked in Python, from the text to an Arrow table: \
         Sail and its local cluster (two workers in its process) over Spark Connect, Ballista as a \
         scheduler and an executor in one process, Spark in local mode with 8 GiB of heap and as \
         many shuffle partitions as threads. All other settings are the peers' own."
            .to_owned(),
    );
    sheet.columns(&[
        "engine",
        "queries",
        "total ms",
        "best ms",
        "DataFusion's total ms",
        "its best ms",
        "ratio",
        "ratio of best",
        "count(*) p50 ms",
        "p99 ms",
        "version",
    ]);
    sheet
}

impl Bench<'_> {
    /// Ours: in one process, and in many.
    async fn own(&mut self) -> Result<()> {
        let kept = Setup { plan_cache: true, ..self.setup };
        self.pass().await?;
        let engine = engine::open(&self.suite.data, self.setup).await?;
        let figures = self.figures(engine.as_ref()).await?;
        drop(engine);
        self.row("Dunlin, one process", &figures)?;
        let engine = engine::open(&self.suite.data, kept).await?;
        let short_ms = figures::short(engine.as_ref(), self.args.short_runs).await?;
        drop(engine);
        self.short_row("Dunlin, one process, plans kept", short_ms);
        self.pass().await?;
        let (dunlin, data) = (self.args.dunlin.as_deref(), self.suite.data.as_path());
        let cluster = Cluster::start(dunlin, data, SIZE, self.setup).await?;
        let figures = self.figures(&cluster).await?;
        self.row("Dunlin, cluster", &figures)?;
        let client = cluster.client(kept).await?;
        let short_ms = figures::short(&client, self.args.short_runs).await?;
        self.short_row("Dunlin, cluster, plans kept", short_ms);
        Ok(())
    }

    async fn figures(&self, engine: &dyn engine::Engine) -> Result<Figures> {
        let runs = (self.args.runs, self.args.short_runs);
        let figures = Figures::of(engine, &self.suite, runs, Some(&self.expected)).await?;
        Ok(Figures { version: env!("CARGO_PKG_VERSION").to_owned(), ..figures })
    }

    /// Plain DataFusion once more.
    async fn pass(&mut self) -> Result<()> {
        let runs = (self.args.runs, self.args.short_runs);
        self.passes.push(Figures::of(&self.plain, &self.suite, runs, None).await?);
        Ok(())
    }

    fn row(&mut self, title: &str, figures: &Figures) -> Result<()> {
        let beside = self.passes.last().context("plain DataFusion was first")?;
        let (median, best) = figures.totals(|_| true);
        let (base, base_best) = beside.totals(|number| figures.queries.contains_key(&number));
        let mut cells = vec![title.to_owned(), figures.queries.len().to_string()];
        if figures.queries.is_empty() {
            cells.extend([""; 6].map(str::to_owned));
        } else {
            cells.extend([median, best, base, base_best].map(|ms| format!("{ms:.0}")));
            cells.extend([median / base, best / base_best].map(|ratio| format!("{ratio:.2}")));
        }
        cells.extend([50, 99].map(|percent| figures.short_cell(percent)));
        cells.push(figures.version.clone());
        self.sheet.row(cells);
        if !figures.failures.is_empty() {
            // A cell ends at a bar, a sentence at a line.
            let said = figures.failures.join("; ").replace(['|', '\n'], " ");
            self.sheet.says(format!("{title}: {said}."));
        }
        Ok(())
    }

    fn short_row(&mut self, title: &str, short_ms: Vec<f64>) {
        let figures = Figures { short_ms, ..Figures::default() };
        let mut cells = vec![title.to_owned()];
        cells.extend([""; 7].map(str::to_owned));
        cells.extend([50, 99].map(|percent| figures.short_cell(percent)));
        cells.push(env!("CARGO_PKG_VERSION").to_owned());
        self.sheet.row(cells);
    }

    /// Plain DataFusion over all its passes: the middle one, and the best.
    fn base(&mut self) -> Result<()> {
        let totals = self.passes.iter().map(|pass| pass.totals(|_| true));
        let (medians, bests): (Vec<f64>, Vec<f64>) = totals.unzip();
        let median = Times::of(medians).context("at least one pass")?;
        let best = Times::of(bests).context("at least one pass")?;
        let mut short_ms: Vec<f64> =
            self.passes.iter().flat_map(|pass| pass.short_ms.iter().copied()).collect();
        short_ms.sort_by(f64::total_cmp);
        let figures = Figures { short_ms, ..Figures::default() };
        let mut cells = vec!["DataFusion (Rust), all passes".to_owned()];
        cells.push(self.suite.queries.len().to_string());
        cells.extend([median.median_ms, best.min_ms].map(|ms| format!("{ms:.0}")));
        cells.extend([""; 4].map(str::to_owned));
        cells.extend([50, 99].map(|percent| figures.short_cell(percent)));
        cells.push(datafusion::DATAFUSION_VERSION.to_owned());
        self.sheet.row(cells);
        let Times { min_ms, max_ms, .. } = median;
        self.sheet.says(format!(
            "Plain DataFusion's {} passes took {min_ms:.0} to {max_ms:.0} ms.",
            self.passes.len()
        ));
        Ok(())
    }
}
