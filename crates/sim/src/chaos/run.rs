//! A run: a cluster, clients, strikes, and then the demand that all is as if nothing had been.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dunlin_base::{Env, Error, Kind, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;

use super::expected::Expected;
use super::faults::Fault;
use super::load::Load;
use super::plan::{Strike, plan};
use super::report::Report;
use super::strike::strike;
use super::verdict::Verdict;
use super::writes::Written;
use crate::processes::{Cluster, Shape, claims, leftovers};

/// A client that waits for longer than this for an answer hangs: far beyond the longest fault, the
/// waits of all who notice it, and a query on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(150);

/// Strikes that do not fire are tried again, but not without end.
const TRIES: usize = 3;

/// What a run is.
pub struct Options {
    /// `dunlin`, with first arguments where it is part of another program.
    pub program: Vec<OsString>,
    /// Folder of the tables.
    pub data: PathBuf,
    /// Folder for the processes' files and logs; it must not have been used.
    pub folder: PathBuf,
    /// How many processes.
    pub shape: Shape,
    /// What is done.
    pub faults: Vec<&'static Fault>,
    /// How many strikes must have fired.
    pub strikes: usize,
    /// What the order of strikes, their targets and times come from.
    pub seed: u64,
    /// Clients that ask at once.
    pub clients: usize,
    /// Copies of each shuffled block, 1 or 2.
    pub copies: u8,
    /// Strikes at once.
    pub at_once: usize,
    /// No strike begins after this.
    pub time_max: Duration,
}

/// Runs it. Errors are of the harness and of the machine; what is wrong with Dunlin is in the
/// report. `note` is told what happens.
pub async fn run(
    env: &Env,
    options: &Options,
    expected: Arc<Expected>,
    note: &(impl Fn(&str) + Sync),
) -> Result<Report> {
    let began = env.now();
    let Options { shape, program, folder, data, .. } = options;
    let cluster = Arc::new(Cluster::start(env, *shape, program, folder, data).await?);
    let load = Arc::new(load(options, &cluster, expected));
    let mut report = Report::of(options.seed, folder);
    load.progress().await;
    // The history has a query once its remains are gone.
    report.left = left(&cluster).await?;
    let calm = claims(&cluster).await?;
    note(&format!("{} queries answered in calm; faults from now on", load.expected.queries.len()));
    let clients = (0..options.clients).map(|number| {
        let chance = Env::seeded(options.seed ^ (1 << 32) ^ number as u64);
        env.spawn("client", Arc::clone(&load).client(chance))
    });
    let mut clients: Vec<_> = clients.collect();
    clients.push(env.spawn("writer", Arc::clone(&load).writer()));
    strikes(options, &load, &mut report, note).await;
    note("healing");
    let healed = cluster.heal().await;
    load.stop.store(true, Ordering::Release);
    for client in clients {
        client.join().await.map_err(Error::bug)?;
    }
    healed?;
    note("no more faults: each query once");
    load.progress().await;
    load.look_at_all().await;
    // Beside what strikes found.
    report.judged(std::mem::take(&mut *load.verdict.lock()));
    report.left.extend(left(&cluster).await?);
    report.redone(&calm, &claims(&cluster).await?);
    if let Err(error) = cluster.drain().await {
        report.verdict.defects.push(format!("the end: {error}"));
    }
    report.took = env.now().saturating_sub(began);
    report.write_answers()?;
    Ok(report)
}

fn load(options: &Options, cluster: &Arc<Cluster>, expected: Arc<Expected>) -> Load {
    let kinds = [Kind::Retry, Kind::Fenced, Kind::Invalid, Kind::Exhausted, Kind::Lost, Kind::Bug];
    let may = |kind: &Kind| options.faults.iter().any(|fault| fault.allows(*kind));
    Load {
        cluster: Arc::clone(cluster),
        expected,
        verdict: Mutex::new(Verdict::default()),
        allowed: kinds.into_iter().filter(may).collect(),
        copies: options.copies,
        answer_max: ANSWER_MAX,
        stop: AtomicBool::new(false),
        written: Written::default(),
        writing: tokio::sync::Mutex::new(()),
    }
}

/// Strikes until as many have fired as there should, some at once.
async fn strikes(
    options: &Options,
    load: &Load,
    report: &mut Report,
    note: &(impl Fn(&str) + Sync),
) {
    let env = load.cluster.env();
    let began = env.now();
    let planned = plan(options.seed, options.strikes * TRIES, &options.faults);
    let mut planned = planned.into_iter();
    let mut running = FuturesUnordered::new();
    let mut fired = 0;
    loop {
        let wanted = options.strikes.saturating_sub(fired);
        let time_is_up = env.now().saturating_sub(began) >= options.time_max;
        if running.len() < options.at_once.min(wanted)
            && !time_is_up
            && let Some(next) = planned.next()
        {
            env.sleep(next.after).await;
            note(&format!(
                "{:>4}s {:>4}. {} for {} ms",
                env.now().as_secs(),
                next.number,
                next.fault.name,
                next.time.as_millis()
            ));
            running.push(done(load, next));
            continue;
        }
        let Some((strike, outcome)) = running.next().await else { break };
        fired += usize::from(matches!(outcome, Ok(true)));
        report.struck(&strike, outcome);
    }
    drop(running);
    if fired < options.strikes {
        report.missing = options.strikes - fired;
    }
}

async fn done(load: &Load, next: Strike) -> (Strike, Result<bool>) {
    let outcome = strike(load, &next).await;
    (next, outcome)
}

/// What is left once the sweepers have had their time.
async fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let env = cluster.env();
    let until = env.now() + Cluster::REMAINS_MAX;
    loop {
        let found = leftovers(cluster).await?;
        if found.is_empty() || env.now() >= until {
            return Ok(found);
        }
        env.sleep(Duration::from_millis(250)).await;
    }
}
