//! Short queries: what the path through all roles adds to one, and how many there can be a second.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use dunlin_base::Env;
use futures::future::try_join_all;

use crate::cli::ShortArgs;
use crate::clock::{Stopwatch, millis};
use crate::engine::{self, Engine, Plain, Setup};
use crate::measure::timed;
use crate::report::Sheet;
use crate::suite::{Suite, SuiteName};

/// The shortest query that reads a file.
pub const SQL: &str = "SELECT count(*) FROM nation";

/// Runs before those that count.
pub const WARM_UP: u32 = 50;

/// Latency of one client, then the throughput of several, on each engine.
pub async fn run(args: &ShortArgs) -> Result<Sheet> {
    let setup = args.setup.resolve();
    let kept = Setup { plan_cache: true, ..setup };
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &[])?;
    let engines: [Arc<dyn Engine>; 3] = [
        Arc::new(Plain::open(&suite.data, setup).await?),
        Arc::from(engine::open(&suite.data, setup).await?),
        Arc::from(engine::open(&suite.data, kept).await?),
    ];
    let mut sheet = Sheet::new("Short queries", args.scale, setup);
    sheet.says(format!(
        "`{SQL}`. Latency: {} runs of one client, the engines in turn. Throughput: {} clients for \
         {} s. Plain DataFusion plans each query anew, and so does Dunlin in its first row; in the \
         second it uses the plan of a text again, as it does unless told otherwise.",
        args.runs, args.clients, args.seconds
    ));
    sheet.columns(&[
        "engine",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p50 over DataFusion ms",
        "queries a second",
    ]);
    let all_ms = latencies(&engines, args.runs).await?;
    let base = percentile(&all_ms[0], 50);
    for (engine, sorted_ms) in engines.iter().zip(&all_ms) {
        let window = Duration::from_secs(args.seconds.into());
        let rate = throughput(engine, args.clients, window).await?;
        let [p50, p90, p99] = [50, 90, 99].map(|p| percentile(sorted_ms, p));
        let times = [p50, p90, p99, p50 - base].map(|ms| format!("{ms:.2}"));
        let name = [engine.name().to_owned()];
        sheet.row(name.into_iter().chain(times).chain([format!("{rate:.0}")]));
    }
    Ok(sheet)
}

/// Sorted latencies of each engine, in milliseconds.
async fn latencies(engines: &[Arc<dyn Engine>], runs: u32) -> Result<Vec<Vec<f64>>> {
    let mut all_ms = vec![Vec::new(); engines.len()];
    for run in 0..WARM_UP + runs {
        for (engine, times) in engines.iter().zip(&mut all_ms) {
            let (ms, rows) = timed(engine.as_ref(), 0, SQL).await?;
            ensure!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>() == 1, "one row");
            if run >= WARM_UP {
                times.push(ms);
            }
        }
    }
    all_ms.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    Ok(all_ms)
}

/// Queries a second of `clients` that each ask the next when they have the last answer.
async fn throughput(engine: &Arc<dyn Engine>, clients: u32, window: Duration) -> Result<f64> {
    let env = Env::real(Some(tokio::runtime::Handle::current()));
    let watch = Stopwatch::start();
    let client = |_| {
        let engine = Arc::clone(engine);
        let client = env.spawn("client", async move {
            let mut done = 0_u64;
            while watch.elapsed() < window {
                engine.rows(SQL).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
        async { client.join().await.map_err(|panic| anyhow!("a client panicked: {panic}"))? }
    };
    let done = try_join_all((0..clients).map(client)).await?;
    let queries: u64 = done.iter().sum();
    Ok(queries as f64 / (millis(watch.elapsed()) / 1e3))
}

/// The value that so many hundredths are below.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}
