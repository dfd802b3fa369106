//! The roles apart, in processes on etcd: TPC-H beside plain DataFusion, and short queries of one and
//! of many clients.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use dunlin_base::Env;
use futures::future::try_join_all;

use crate::cli::ClusterArgs;
use crate::clock::{Stopwatch, millis};
use crate::cluster::{Asked, Cluster, Size};
use crate::commands::compare_engines;
use crate::engine::{Plain, Setup};
use crate::measure::timed;
use crate::report::{Report, Sheet};
use crate::short::{SQL, WARM_UP, percentile};
use crate::suite::{Suite, SuiteName};

/// Two stages of 1,000 rows.
const TWO_STAGES: &str = "SELECT s_nationkey, count(*) FROM supplier WHERE s_suppkey <= 1000 \
                          GROUP BY s_nationkey";

/// Clients at once.
const CLIENTS: [u32; 3] = [8, 32, 64];

/// Times that each number of clients has its turn: what else the machine does changes from minute to
/// minute, by more than the numbers of clients differ.
const ROUNDS: u32 = 5;

/// One gateway, two executors of one slot, one shuffle worker.
const SIZE: Size = Size { gateways: 1, executors: 2, shuffle: 1 };

/// All TPC-H queries, then short ones.
pub async fn run(args: &ClusterArgs) -> Result<(Report, Sheet)> {
    let setup = args.setup.resolve();
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &args.queries)?;
    let plain = Plain::open(&suite.data, setup).await?;
    let cluster = Cluster::start(args.dunlin.as_deref(), &suite.data, SIZE, setup).await?;
    let mut report = compare_engines(&suite, setup, args.runs, &plain, Some(&cluster)).await?;
    report.title = format!("{} on a cluster", report.title);
    Ok((report, short(&cluster, args, setup).await?))
}

async fn short(cluster: &Cluster, args: &ClusterArgs, setup: Setup) -> Result<Sheet> {
    let kept = Setup { plan_cache: true, ..setup };
    let mut sheet = Sheet::new("Short queries on a cluster", args.scale, setup);
    sheet.says(format!(
        "1 gateway, 2 executors of one slot, 1 shuffle worker, etcd, each a process on this \
         machine; every query is durable in etcd before its first row leaves. {} runs of one client \
         that waits for each answer; then clients with connections of their own, {ROUNDS} times {} s \
         for each number of clients, in turn. Their figures are medians of the rounds; of queries a \
         second the least and most, too.",
        args.short_runs, args.seconds
    ));
    sheet.columns(&[
        "query",
        "clients",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99/p50",
        "queries a second",
    ]);
    let stages = cluster.client(setup).await?;
    stages.set("collapse_bytes", "0").await?;
    let alone = [
        ("count(*), planned anew", cluster.client(setup).await?, SQL),
        ("count(*), plans kept", cluster.client(kept).await?, SQL),
        ("group by in two stages, planned anew", stages, TWO_STAGES),
    ];
    for (name, client, sql) in alone {
        let mut times = Vec::new();
        for run in 0..WARM_UP + args.short_runs {
            let (ms, rows) = timed(&client, 0, sql).await?;
            ensure!(!rows.is_empty(), "{name}: no rows");
            if run >= WARM_UP {
                times.push(ms);
            }
        }
        line(&mut sheet, name, 1, &[Round::of(times, None)]);
    }
    let window = Duration::from_secs(args.seconds.into());
    let mut all: [Vec<Round>; CLIENTS.len()] = Default::default();
    for _ in 0..ROUNDS {
        for (rounds, clients) in all.iter_mut().zip(CLIENTS) {
            rounds.push(at_once(cluster, kept, clients, window).await?);
        }
    }
    for (rounds, clients) in all.iter().zip(CLIENTS) {
        line(&mut sheet, "count(*), plans kept", clients, rounds);
    }
    Ok(sheet)
}

/// What one turn of some clients came to.
struct Round {
    /// Milliseconds: half, nine tenths and 99 hundredths of all queries took at most that.
    percentiles: [f64; 3],
    /// Queries a second, where it is counted.
    rate: Option<f64>,
}

impl Round {
    fn of(mut times: Vec<f64>, rate: Option<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { percentiles: [50, 90, 99].map(|percent| percentile(&times, percent)), rate }
    }
}

/// Of each figure the median of all rounds.
fn line(sheet: &mut Sheet, name: &str, clients: u32, rounds: &[Round]) {
    let sorted = |figure: &dyn Fn(&Round) -> Option<f64>| {
        let mut figures: Vec<f64> = rounds.iter().filter_map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let median = |figure: &dyn Fn(&Round) -> Option<f64>| percentile(&sorted(figure), 50);
    let [p50, p90, p99] = [0, 1, 2].map(|i| median(&|round| Some(round.percentiles[i])));
    let spread = median(&|round| Some(round.percentiles[2] / round.percentiles[0]));
    let rates = sorted(&|round| round.rate);
    let rate = match rates[..] {
        [] => String::new(),
        [least, .., most] => format!("{:.0} ({least:.0} to {most:.0})", percentile(&rates, 50)),
        [rate] => format!("{rate:.0}"),
    };
    let figures = [p50, p90, p99, spread].map(|figure| format!("{figure:.2}"));
    let names = [name.to_owned(), clients.to_string()];
    sheet.row(names.into_iter().chain(figures).chain([rate]));
}

/// Latencies of all clients, and queries a second, of `clients` that each ask the next when they
/// have the last answer.
async fn at_once(cluster: &Cluster, setup: Setup, clients: u32, window: Duration) -> Result<Round> {
    let connecting = (0..clients).map(|_| cluster.client(setup));
    let asked: Vec<Arc<Asked>> =
        try_join_all(connecting).await?.into_iter().map(Arc::new).collect();
    for client in &asked {
        timed(client.as_ref(), 0, SQL).await?;
    }
    let env = Env::real(Some(tokio::runtime::Handle::current()));
    let watch = Stopwatch::start();
    let running = asked.into_iter().map(|client| {
        let task = env.spawn("client", async move {
            let mut times = Vec::new();
            while watch.elapsed() < window {
                times.push(timed(client.as_ref(), 0, SQL).await?.0);
            }
            anyhow::Ok(times)
        });
        async { task.join().await.map_err(|panic| anyhow!("a client panicked: {panic}"))? }
    });
    let times: Vec<f64> = try_join_all(running).await?.into_iter().flatten().collect();
    let rate = times.len() as f64 / (millis(watch.elapsed()) / 1e3);
    Ok(Round::of(times, Some(rate)))
}
