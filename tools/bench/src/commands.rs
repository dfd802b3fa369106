//! What each verb does, the demo aside.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cli::{Cli, RunArgs, Verb};
use crate::engine::{self, Engine, Plain, Setup};
use crate::measure::measure;
use crate::report::Report;
use crate::suite::{Suite, SuiteName};
use crate::{apart, celeborn, demo, loss, peers, plans, short, shuffle, tpcds, tpch};

/// Runs a verb. False: it ran, and what it found is bad (the demo's answers differ).
pub fn run(cli: Cli) -> Result<bool> {
    match cli.verb {
        Verb::TpchData(args) => tpch::generate(&args.out, args.scale).map(|()| true),
        Verb::TpcdsData(args) => tpcds::generate(&args.out, args.scale).map(|()| true),
        Verb::Plain(args) => benchmark(&args, false).map(|()| true),
        Verb::Tpch(args) => {
            ensure!(args.suite == SuiteName::Tpch, "`tpch` runs TPC-H only");
            benchmark(&args, true).map(|()| true)
        }
        Verb::Short(args) => {
            let sheet = on_runtime(args.setup.resolve(), short::run(&args))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::Plans(args) => {
            let sheet = on_runtime(args.setup.resolve(), plans::run(&args))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::Cluster(args) => {
            let (report, sheet) = on_runtime(args.setup.resolve(), apart::run(&args))?;
            show(&report.markdown(), args.out.as_deref(), |out| report.write(out))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::Loss(args) => {
            let sheet = on_runtime(args.setup.resolve(), loss::run(&args))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::Peers(args) => {
            let sheet = on_runtime(args.setup.resolve(), peers::run(&args))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::Shuffle(args) => {
            let sheet = on_threads(args.threads(), shuffle::run(&args))?;
            show(&sheet.markdown(), args.out.as_deref(), |out| sheet.write(out))
        }
        Verb::ShuffleWorker(args) => on_threads(1, shuffle::serve(&args)).map(|()| true),
        Verb::CelebornPush(args) => on_threads(2, celeborn::run(&args)),
        Verb::Demo(args) => on_runtime(args.setup.resolve(), demo::run(&args)),
    }
}

fn benchmark(args: &RunArgs, with_engine: bool) -> Result<()> {
    let suite = Suite::open(args.suite, &args.data, args.scale, &args.queries)?;
    let setup = args.setup.resolve();
    let report = on_runtime(setup, async {
        let base = Plain::open(&suite.data, setup).await?;
        let engine = match with_engine {
            true => Some(engine::open(&suite.data, setup).await?),
            false => None,
        };
        compare_engines(&suite, setup, args.runs, &base, engine.as_deref()).await
    })?;
    show(&report.markdown(), args.out.as_deref(), |out| report.write(out)).map(drop)
}

/// Prints a report and, if so told, writes it.
fn show(
    markdown: &str,
    out: Option<&Path>,
    write: impl FnOnce(&Path) -> Result<PathBuf>,
) -> Result<bool> {
    println!("{markdown}");
    if let Some(out) = out {
        println!("written to {}", write(out)?.display());
    }
    Ok(true)
}

/// Every query of the suite on both engines.
pub async fn compare_engines(
    suite: &Suite,
    setup: Setup,
    runs: u32,
    base: &dyn Engine,
    engine: Option<&dyn Engine>,
) -> Result<Report> {
    let mut report = Report::new(suite.name, suite.scale, runs, setup, base.name());
    report.engine = engine.map(Engine::name);
    for (number, sql) in &suite.queries {
        let measured = measure(*number, sql, base, engine, runs).await?;
        eprintln!("query {number}: {:.1} ms", measured.base.median_ms);
        report.queries.push(measured);
    }
    Ok(report)
}

/// Runs on a runtime with as many threads as the set-up has.
fn on_runtime<T>(setup: Setup, work: impl Future<Output = Result<T>>) -> Result<T> {
    on_threads(setup.threads, work)
}

fn on_threads<T>(threads: usize, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}
