//! One run: a world, its processes, clients and strikes, and the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Error, Result};
use dunlin_queue::Role;
use dunlin_queue::checker::Checker;
use futures::future::join_all;
use tokio::runtime::Builder;

use super::client::{all_is_well, client};
use super::data::Oracle;
use super::rest::{no_card_is_left, nothing_is_left};
use super::setup::{Place, World};
use super::strikes::{keep, strikes};
use super::tally::Tally;

/// Virtual time in which all clients must have their answers once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(900);

/// Virtual time in which all processes must be up.
const START_MAX: Duration = Duration::from_secs(60);

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was wrong; empty: nothing.
    pub complaints: Vec<String>,
    /// A hash of the trace.
    pub fingerprint: u64,
    /// What was done, and what came of it.
    pub tally: Tally,
    /// Virtual time that it took.
    pub took: Duration,
    trace: Checker,
}

impl Outcome {
    /// The last lines of the trace, at most so many.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        self.trace.tail(lines)
    }

    /// Where another run of the seed went another way; `None`: it did not.
    pub fn differs(&self, other: &Self) -> Option<String> {
        if self.fingerprint == other.fingerprint {
            return None;
        }
        let (one, two) = (self.tail(usize::MAX), other.tail(usize::MAX));
        let lines = one.iter().zip(&two).enumerate().find(|(_, (one, two))| one != two);
        let place = match lines {
            Some((number, (one, two))) => format!("line {number}\n{one}\n{two}"),
            None => format!(
                "after {} lines of {} and {}",
                one.len().min(two.len()),
                one.len(),
                two.len()
            ),
        };
        Some(format!("the same seed gave another trace: {place}"))
    }
}

/// Runs the world of a seed, in the calling thread and in virtual time. Errors are of the harness.
pub fn simulate(seed: u64, oracle: &Arc<Oracle>) -> Result<Outcome> {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|e| Error::bug("there is no runtime").with_source(e))?;
    runtime.block_on(run(seed, Arc::clone(oracle)))
}

async fn run(seed: u64, oracle: Arc<Oracle>) -> Result<Outcome> {
    let world = Arc::new(World::new(seed, oracle).await?);
    let env = &world.env;
    world.calm();
    let keeper = |place| env.spawn("keeper", keep(Arc::clone(&world), place));
    let keepers: Vec<Task<()>> = (0..world.places.len()).map(keeper).collect();
    begin(&world).await?;
    trouble(&world).await;
    all_are_there(&world).await?;
    if world.checker.complaints().is_empty() {
        all_is_well(&world).await;
        nothing_is_left(&world).await;
        end(&world).await;
    }
    keepers.iter().for_each(Task::abort);
    let fired = world.store.fired();
    let broken = world.weather.broken();
    let mut tally = *world.tally.lock();
    tally.store += fired.refused + fired.lost_acknowledgements + fired.late + fired.watch_dropped;
    tally.wire += broken.refused + broken.unanswered;
    tally.flips += broken.flipped;
    tally.reopened += u64::from(world.checker.reopened());
    tally.changes += world.checker.changes();
    Ok(Outcome {
        seed,
        complaints: world.checker.complaints(),
        fingerprint: world.checker.fingerprint(),
        tally,
        took: env.now(),
        trace: world.checker.clone(),
    })
}

/// All processes are up, and none is about to leave: the last strike may have told one to.
async fn all_are_there(world: &World) -> Result<()> {
    let is_up =
        |place: &Place| place.now.lock().as_ref().is_some_and(|process| !process.link.is_dead());
    let up = async {
        while world.leaving.load(Ordering::Relaxed) > 0 || !world.places.iter().all(is_up) {
            world.env.sleep(Duration::from_millis(50)).await;
        }
    };
    let up = world.env.timeout(START_MAX, up).await;
    up.ok_or_else(|| Error::bug("the processes do not start"))
}

/// The processes and the tables are there.
async fn begin(world: &World) -> Result<()> {
    all_are_there(world).await?;
    let gateway = world.any(Role::Gateway).ok_or_else(|| Error::bug("there is no gateway"))?;
    let session = gateway.session("admin")?;
    for create in &world.oracle.tables {
        session.sql(create).await?;
    }
    Ok(())
}

/// Clients ask while processes are struck; then, without faults, all must get their answers.
async fn trouble(world: &Arc<World>) {
    let env = &world.env;
    let clients = 1 + env.random_below(3);
    let clients = (0..clients).map(|number| env.spawn("client", client(Arc::clone(world), number)));
    let mut clients = join_all(clients.map(Task::join));
    world.storm();
    let struck = env.spawn("strikes", strikes(Arc::clone(world)));
    let first = env.timeout(world.millis(4000, 40_000), &mut clients).await;
    struck.abort();
    world.checker.note("world", "calm");
    world.calm();
    let done = match first {
        Some(done) => Some(done),
        None => env.timeout(PATIENCE, clients).await,
    };
    match done {
        None => world.checker.complain(format!("no answer {PATIENCE:?} after the last fault")),
        Some(done) => {
            for panic in done.into_iter().filter_map(std::result::Result::err) {
                world.checker.complain(format!("a client panicked: {panic}"));
            }
        }
    }
}

/// All leave, and take their cards along.
async fn end(world: &Arc<World>) {
    world.over.store(true, Ordering::Relaxed);
    for role in [Role::Executor, Role::Gateway, Role::Shuffle] {
        for process in world.alive(role) {
            process.drain(world).await;
        }
    }
    no_card_is_left(world).await;
}
