//! Short queries: what the path through all roles adds to one, and how many there can be a second.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use dunlin_base::Env;
use futures::future::try_join_all;

use crate::cli::ShortArgs;
use crate::clock::{Stopwatch, millis};
use crate::engine::{self, Engine, Plain};
use crate::measure::timed;
use crate::report::Sheet;
use crate::suite::{Suite, SuiteName};

const SQL: &str = "SELECT count(*) FROM nation";

/// Runs before those that count.
const WARM_UP: u32 = 50;

/// Latency of one client, then the throughput of several, on both engines.
pub async fn run(args: &ShortArgs) -> Result<Sheet> {
    let setup = args.setup.resolve();
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &[])?;
    let plain: Arc<dyn Engine> = Arc::new(Plain::open(&suite.data, setup).await?);
    let engine: Arc<dyn Engine> = Arc::from(engine::open(&suite.data, setup).await?);
    let mut sheet = Sheet::new("Short queries", args.scale, setup);
    sheet.says(format!(
        "`{SQL}`. Latency: {} runs of one client, both engines in turn. Throughput: {} clients for {} s.",
        args.runs, args.clients, args.seconds
    ));
    sheet.columns(&["engine", "p50 ms", "p90 ms", "p99 ms", "queries a second"]);
    let (base_ms, engine_ms) = latencies(plain.as_ref(), engine.as_ref(), args.runs).await?;
    for (engine, sorted_ms) in [(&plain, &base_ms), (&engine, &engine_ms)] {
        let window = Duration::from_secs(args.seconds.into());
        let rate = throughput(engine, args.clients, window).await?;
        let [p50, p90, p99] = [50, 90, 99].map(|p| format!("{:.2}", percentile(sorted_ms, p)));
        sheet.row([engine.name().to_owned(), p50, p90, p99, format!("{rate:.0}")]);
    }
    let added = percentile(&engine_ms, 50) - percentile(&base_ms, 50);
    sheet.says(format!("The path through all roles adds {added:.2} ms to the median."));
    Ok(sheet)
}

/// Sorted latencies of both, in milliseconds.
async fn latencies(
    plain: &dyn Engine,
    engine: &dyn Engine,
    runs: u32,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut base_ms, mut engine_ms) = (Vec::new(), Vec::new());
    for run in 0..WARM_UP + runs {
        for (engine, times) in [(plain, &mut base_ms), (engine, &mut engine_ms)] {
            let (ms, rows) = timed(engine, 0, SQL).await?;
            ensure!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>() == 1, "one row");
            if run >= WARM_UP {
                times.push(ms);
            }
        }
    }
    base_ms.sort_by(f64::total_cmp);
    engine_ms.sort_by(f64::total_cmp);
    Ok((base_ms, engine_ms))
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

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}
