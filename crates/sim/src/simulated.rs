//! `dunlin-chaos --simulated`: worlds of many seeds, one after the other.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use dunlin_base::{Env, Error, Result};
use dunlin_sim::world::{Oracle, Outcome, Tally, simulate};
use tokio::runtime::Builder;

use crate::cli::say;

/// Failures whose traces are shown.
const SHOWN_MAX: usize = 3;

/// Which seeds, and what to show of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    pub(crate) from: u64,
    pub(crate) count: u64,
    /// Each is run twice, and must give the same trace.
    pub(crate) twice: bool,
    /// Last lines of the trace of a seed that fails.
    pub(crate) tail: usize,
}

/// Runs them all, and says what was wrong and what was done. Exit code 1: something was wrong.
pub(crate) fn run(seeds: Seeds) -> Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|e| Error::bug("there is no runtime").with_source(e))?;
    let (env, oracle) = runtime.block_on(async {
        let env = Env::real(None);
        Oracle::compute().await.map(|oracle| (env, Arc::new(oracle)))
    })?;
    let (mut tally, mut failed) = (Tally::default(), BTreeMap::new());
    for seed in seeds.from..seeds.from.saturating_add(seeds.count) {
        let outcome = simulate(seed, &oracle)?;
        tally += outcome.tally;
        let mut wrong = outcome.complaints.clone();
        if seeds.twice {
            wrong.extend(simulate(seed, &oracle)?.differs(&outcome));
        }
        if !wrong.is_empty() {
            if failed.len() < SHOWN_MAX {
                show(&outcome, &wrong, seeds.tail);
            }
            failed.insert(seed, wrong);
        }
        let done = seed - seeds.from + 1;
        if done.is_multiple_of(100) {
            let seconds = env.now().as_secs_f64();
            let speed = done as f64 / seconds;
            say(&format!("{done} seeds, {} failed, {speed:.1} a second", failed.len()));
        }
    }
    for (what, count) in tally.all() {
        say(&format!("{count:>10} {what}"));
    }
    let (count, seconds) = (seeds.count, env.now().as_secs_f64());
    say(&format!("{count} seeds in {seconds:.1} s, {} failed", failed.len()));
    for (seed, wrong) in &failed {
        say(&format!("seed {seed}: {}", wrong.first().map_or("", String::as_str)));
    }
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

fn show(outcome: &Outcome, wrong: &[String], tail: usize) {
    let seed = outcome.seed;
    say(&format!("== seed {seed}, {:.0?} of virtual time", outcome.took));
    outcome.tail(tail).iter().for_each(say);
    wrong.iter().for_each(|wrong| say(&format!("wrong: {wrong}")));
    say(&format!("again: dunlin-chaos --simulated --from {seed} --seeds 1 --tail 100000"));
}
