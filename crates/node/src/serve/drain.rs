//! How a process ends in good order: each of its roles once the others can do without it.

use std::time::Duration;

use dunlin_gateway::flight::FlightDoor;

use crate::engine::Engine;

/// Of the drain limit, what running tasks have when all else has taken the rest: a quarter, and no
/// more than this.
const TASKS_MAX: Duration = Duration::from_secs(15);

fn tasks_min(engine: &Engine, limit: Duration) -> Duration {
    match engine.executors().is_empty() {
        true => Duration::ZERO,
        false => (limit / 4).min(TASKS_MAX),
    }
}

/// The longest wait for the card of the shuffle worker to say that it drains.
const CARD_MAX: Duration = Duration::from_secs(2);

/// Has the shuffle worker send its writers elsewhere, drivers of Celeborn's clients commit, the door
/// finish its calls, the gateway leave, and the executors finish their tasks, in this order and within
/// the limit. What the clients of the door read may need executors that only this
/// process has, and executors of an old build stay while one of its gateways is alive.
pub(super) async fn drain(engine: &Engine, door: Option<&FlightDoor>, limit: Duration) {
    let (env, tasks_min) = (engine.env(), tasks_min(engine, limit));
    let until = env.now() + limit;
    let left = |keep: Duration| until.saturating_sub(env.now() + keep);
    if env.timeout(CARD_MAX.min(limit / 4), engine.drain_shuffle()).await.is_none() {
        tracing::debug!("the metadata store does not answer: the shuffle worker takes data on");
    }
    // Drivers hear of it by their heartbeats, and commit what they have here.
    env.timeout(left(tasks_min) / 2, engine.celeborn_committed()).await;
    if let Some(door) = door {
        door.shutdown(left(tasks_min)).await;
    }
    // What it has not removed by then is the sweeper's; the end of the process takes it along.
    env.timeout(left(tasks_min), engine.leave_gateway()).await;
    engine.retire_executors(left(Duration::ZERO), tasks_min).await;
}
