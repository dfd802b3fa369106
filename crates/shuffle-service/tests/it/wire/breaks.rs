//! Connections that break, stall or change bytes at any place.

use std::time::Duration;

use dunlin_base::Kind;
use dunlin_shuffle::{TcpOptions, Workers};
use futures::StreamExt;
use futures::stream;

use super::proxy::{Mishap, Plan, Proxy, Way};
use super::puppet::Puppet;
use super::{hasty, hasty_door};
use crate::bed::{local, me, open, soon, until, workers_at};
use crate::*;

const BATCHES: u32 = 4;
const LENGTH: usize = 300;

fn written() -> Vec<Block> {
    (0..BATCHES).map(|batch| block(1, attempt(0, 0), batch, LENGTH)).collect()
}

/// What became of the calls of one client.
#[derive(Debug)]
struct Outcome {
    pushes: Vec<Result<()>>,
    rows: Result<Vec<Block>>,
    connections: usize,
}

/// Pushes, seals and reads through a network with this mishap. Checks what holds whatever happens:
/// no hang, nothing acknowledged is missing, no wrong block, and errors that say what to do.
async fn run(plan: Plan) -> Outcome {
    let worker = in_memory(1 << 20);
    let door = open(Arc::clone(&worker) as _, hasty_door()).await;
    let proxy = Proxy::start(&door.address().to_string(), plan).await;
    let workers = workers_at(proxy.address(), hasty());
    let api = workers.connect(me()).expect("known");
    let place = format!("{plan:?}");
    let mut pushes = Vec::new();
    for block in written() {
        pushes.push(soon(&place, api.push(vec![block])).await);
    }
    pushes.push(soon(&place, api.seal(shuffle(1))).await);
    // Nothing was stored if the worker does not know the shuffle.
    let stored = read(&worker, 1, Some(&[attempt(0, 0)])).await.unwrap_or_default();
    for (push, block) in pushes.iter().zip(written()) {
        let is_there = |b: &Block| same(std::slice::from_ref(b), std::slice::from_ref(&block));
        if push.is_ok() {
            assert!(stored.iter().any(is_there), "{place}: acknowledged and not there");
        }
    }
    let rows = soon(&place, read(&api, 1, Some(&[attempt(0, 0)]))).await;
    let all_written = pushes.iter().all(Result::is_ok);
    match &rows {
        Ok(blocks) if all_written => assert!(same(blocks, &written()), "{place}: wrong rows"),
        Ok(blocks) => assert!(blocks.len() <= written().len(), "{place}"),
        Err(error) => judge(error, &place),
    }
    pushes.iter().filter_map(|push| push.as_ref().err()).for_each(|error| judge(error, &place));
    Outcome { pushes, rows, connections: proxy.connections() }
}

fn judge(error: &Error, place: &str) {
    assert!(
        matches!(error.kind(), Kind::Retry | Kind::Lost),
        "{place}: {:?} {error}",
        error.kind()
    );
    assert!(error.message().contains(&me().to_string()), "{place}: {error}");
}

async fn sweep(plans: Vec<Plan>, check: impl Fn(Plan, Outcome)) {
    let runs = stream::iter(plans).map(|plan| async move { (plan, run(plan).await) });
    let mut runs = runs.buffer_unordered(16);
    while let Some((plan, outcome)) = runs.next().await {
        check(plan, outcome);
    }
}

/// How many bytes travel each way when nothing happens, without the pings: about this many.
const TRAVEL: usize = 2200;

/// The first exchange is over by then.
const GREETED: usize = 120;

fn plans(mishap: Mishap, step: usize, connections: usize) -> Vec<Plan> {
    let at = |way| (0..TRAVEL).step_by(step).map(move |at| Plan { way, at, mishap, connections });
    at(Way::ToDoor).chain(at(Way::ToClient)).collect()
}

#[tokio::test]
async fn a_connection_that_is_cut_once_is_not_noticed_by_calls() {
    sweep(plans(Mishap::Cut, 23, 1), |plan, outcome| {
        if plan.at > GREETED {
            assert!(outcome.pushes.iter().all(Result::is_ok), "{plan:?}: {outcome:?}");
        }
        // Only a read that had begun, or a connection that never stood, may fail.
        if let Err(error) = &outcome.rows {
            assert_eq!(error.kind(), Kind::Retry, "{plan:?}: {error}");
        }
        let hit = plan.way == Way::ToDoor && plan.at < 1200;
        let expected = if hit { 2..=3 } else { 1..=3 };
        assert!(expected.contains(&outcome.connections), "{plan:?}: {outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_always_cut_ends_in_a_clear_error() {
    sweep(plans(Mishap::Cut, 170, usize::MAX), |plan, outcome| {
        let ended = outcome.pushes.iter().any(Result::is_err) || outcome.rows.is_err();
        let reached = plan.at < 400;
        assert!(ended || !reached, "{plan:?}: {outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_stalls_is_given_up_and_made_anew() {
    sweep(plans(Mishap::Stall, 190, 1), |plan, outcome| {
        if plan.at > GREETED {
            assert!(outcome.pushes.iter().all(Result::is_ok), "{plan:?}: {outcome:?}");
        }
        if let Err(error) = &outcome.rows {
            assert_eq!(error.kind(), Kind::Retry, "{plan:?}: {error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_wherever_it_is() {
    sweep(plans(Mishap::Flip, 7, 1), |plan, outcome| {
        // Pushes are repeated whatever was hit; blocks of a read are lost by name.
        if plan.at > GREETED {
            assert!(outcome.pushes.iter().all(Result::is_ok), "{plan:?}: {outcome:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_follower_of_a_silent_network_ends_soon() {
    let worker = in_memory(1 << 20);
    let door = open(Arc::clone(&worker) as _, hasty_door()).await;
    let plan = Plan { way: Way::ToClient, at: 600, mishap: Mishap::Stall, connections: 1 };
    let proxy = Proxy::start(&door.address().to_string(), plan).await;
    let workers = workers_at(proxy.address(), hasty());
    let api = workers.connect(me()).expect("known");
    let mut follower = api.read(request(1, None)).await.expect("opens");
    // Pings keep it alive until the proxy stalls.
    let end = soon("the follower", follower.next()).await.expect("an end");
    assert_eq!(error(end).kind(), Kind::Retry);
    until("the door to notice", || door.stats().connections == 0).await;
    assert_eq!(door.stats().requests, 0);
}

#[tokio::test]
async fn calls_that_get_no_answer_end_at_their_deadline() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let options = TcpOptions { request_max: Duration::from_millis(200), ..TcpOptions::default() };
    let workers = workers_at(&door.address().to_string(), options);
    let api = workers.connect(me()).expect("known");
    let late = error(soon("a push", api.push(vec![block(1, attempt(0, 0), 0, 10)])).await);
    assert_eq!(late.kind(), Kind::Retry);
    assert!(late.message().contains("no answer"), "{late}");
    // The connection is as good as before, and the push still waits its turn.
    api.seal(shuffle(1)).await.expect("answers");
    assert_eq!((puppet.waiting(), workers.connections()), (1, 1));
}
