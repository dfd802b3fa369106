//! What short queries ask of the store, and that what they do not ask is still noticed.

use std::time::Duration;

use dunlin_base::{QueryId, StageId};
use dunlin_metadata::sim::Faults;
use dunlin_metadata::{Compare, Durability, Op, Store, Txn, TxnOutcome};
use dunlin_queue::{ClaimedSlices, More, Phase, Published, Queue, ReadyStage, ReadyWatch, Room};

use crate::life::graph;
use crate::world::{Executor, World, inlined, output, taken};

const ROOM: Room = Room { slots: 4, idle: true };

/// A process that waits for ends: its watch is open, and has shown that this query runs.
async fn waiting(world: &World, queue: &Queue, query: QueryId) {
    let wait = queue.wait_ended(query);
    assert!(world.env.timeout(Duration::from_millis(500), wait).await.is_none(), "it runs");
}

/// The stage, as an executor hears of it.
async fn heard(ready: &mut ReadyWatch, query: QueryId, number: u32) -> ReadyStage {
    loop {
        let is_it = |stage: &&std::sync::Arc<ReadyStage>| {
            stage.query == query && stage.stage == StageId(number)
        };
        if let Some(stage) = ready.stages().iter().find(is_it) {
            return ReadyStage::clone(stage);
        }
        ready.changed().await.expect("no faults");
    }
}

async fn put(world: &World, key: &str) {
    let ops = vec![Op::Put(key.to_owned(), "x".into(), None)];
    let txn = Txn { compares: Vec::new(), ops, durability: Durability::Synced };
    let outcome = world.store.txn(txn).await.expect("no faults");
    assert!(matches!(outcome, TxnOutcome::Committed(_)));
}

/// Claims what an executor has heard of and commits it, its rows inside.
async fn run(executor: &Executor, stage: &ReadyStage) {
    let claim = taken(executor.offer(stage, ROOM).await).expect("it is ready");
    let slices = claim.slices.clone();
    let committed = executor.queue.commit(&claim, inlined(output(&claim, slices))).await;
    assert!(committed.expect("it holds it").stage_sealed);
}

#[tokio::test(start_paused = true)]
async fn a_short_query_reads_nothing_from_the_store() {
    let world = World::new(1);
    let executor = world.executor().await;
    let mut ready = executor.queue.watch_ready().await.expect("no faults");
    let (link, queue) = world.process();
    let first = world.new_query(&graph(&[(&[], 1)]));
    let warm = first.id;
    queue.publish(first).await.expect("it is a good query");
    waiting(&world, &queue, warm).await;
    run(&executor, &heard(&mut ready, warm, 0).await).await;
    queue.wait_ended(warm).await.expect("it has ended");

    let before = (link.reads(), executor.link.reads());
    let query = world.new_query(&graph(&[(&[], 1)]));
    let id = query.id;
    assert_eq!(queue.publish(query).await.expect("it is a good query"), Published::Here);
    run(&executor, &heard(&mut ready, id, 0).await).await;
    // The watch has told by now.
    world.env.sleep(Duration::from_millis(100)).await;
    let ended = queue.wait_ended(id).await.expect("it has ended");
    assert_eq!((ended.phase, ended.rows), (Phase::Done, 1));
    let (stage, _, output) = ended.result.expect("it is in the news");
    assert_eq!((stage, output.maps.len()), (StageId(0), 1));
    assert!(queue.is_settled(id) && queue.pushed_nothing(id));
    assert_eq!((link.reads(), executor.link.reads()), before);
}

#[tokio::test(start_paused = true)]
async fn settled_queries_go_together_and_into_the_history() {
    let world = World::new(1);
    let executor = world.executor().await;
    let mut ready = executor.queue.watch_ready().await.expect("no faults");
    let (_, queue) = world.process();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let query = world.new_query(&graph(&[(&[], 1)]));
        ids.push(query.id);
        queue.publish(query).await.expect("it is a good query");
        waiting(&world, &queue, ids[ids.len() - 1]).await;
        run(&executor, &heard(&mut ready, ids[ids.len() - 1], 0).await).await;
    }
    let running = world.new_query(&graph(&[(&[], 1)]));
    let runs = running.id;
    queue.publish(running).await.expect("it is a good query");
    world.env.sleep(Duration::from_millis(100)).await;
    let before = world.store.range("none").await.expect("no faults").revision;
    for (_, removed) in queue.remove_all(ids.clone()).await {
        removed.expect("it has ended");
    }
    let after = world.store.range("none").await.expect("no faults").revision;
    assert_eq!(after.0 - before.0, 1, "one transaction");
    let refused = queue.remove_all(vec![runs]).await;
    let [(_, Err(refused))] = &refused[..] else { panic!("{refused:?}") };
    assert!(refused.to_string().contains("still runs"), "{refused}");
    let history = queue.history(10).await.expect("no faults");
    assert_eq!(history.len(), 3);
    for entry in &history {
        assert_eq!((entry.phase, entry.sql.as_str()), (Phase::Done, "SELECT 1"));
        assert_eq!((entry.rows, entry.stages, entry.slices, entry.attempts), (1, 1, 1, 1));
    }
    let runs = runs.to_string();
    let left = world.keys().await;
    assert!(left.iter().all(|key| key.starts_with("hist/") || key.contains(&runs)), "{left:?}");
}

/// A query that has ended, with nothing left of it but its records.
async fn settled(world: &World, executor: &Executor, queue: &Queue) -> QueryId {
    let mut ready = executor.queue.watch_ready().await.expect("no faults");
    let query = world.new_query(&graph(&[(&[], 1)]));
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    waiting(world, queue, id).await;
    run(executor, &heard(&mut ready, id, 0).await).await;
    // The watch has told by now.
    world.env.sleep(Duration::from_millis(100)).await;
    assert!(queue.is_settled(id));
    id
}

#[tokio::test(start_paused = true)]
async fn a_group_that_the_store_refuses_is_removed_one_by_one() {
    let world = World::new(1);
    let executor = world.executor().await;
    let (_, queue) = world.process();
    let one = settled(&world, &executor, &queue).await;
    let other = settled(&world, &executor, &queue).await;
    // No store takes a transaction that writes a key twice.
    let removed = queue.remove_all(vec![one, other, one]).await;
    assert!(removed.iter().all(|(_, removed)| removed.is_ok()), "{removed:?}");
    let left = world.keys().await;
    assert!(left.iter().all(|key| key.starts_with("hist/")), "{left:?}");
    assert_eq!(queue.history(10).await.expect("no faults").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_was_kept_meanwhile_is_removed_all_the_same() {
    let world = World::new(1);
    let executor = world.executor().await;
    let mut ready = executor.queue.watch_ready().await.expect("no faults");
    let (_, queue) = world.process();
    let query = world.new_query(&graph(&[(&[], 1)]));
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    waiting(&world, &queue, id).await;
    run(&executor, &heard(&mut ready, id, 0).await).await;
    world.env.sleep(Duration::from_millis(100)).await;
    assert!(queue.is_settled(id));
    // Its entry changes; the watch has not told of it yet.
    let (_, other) = world.process();
    other.keep(id).await.expect("it is there");
    let removed = queue.remove_all(vec![id]).await;
    assert!(matches!(removed[..], [(_, Ok(()))]), "{removed:?}");
    let left = world.keys().await;
    assert!(left.iter().all(|key| key.starts_with("hist/")), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_from_what_was_at_hand_notices_what_has_changed() {
    let world = World::new(1);
    let (first, second) = (world.executor().await, world.executor().await);
    let mut ready = first.queue.watch_ready().await.expect("no faults");
    let (_, queue) = world.process();
    let query = world.new_query(&graph(&[(&[], 2)]));
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    let stage = heard(&mut ready, id, 0).await;
    let one = Room { slots: 1, idle: true };
    let held = taken(first.offer(&stage, one).await).expect("it is ready");
    // To the second the segment looks untouched.
    let rest = taken(second.offer(&stage, one).await).expect("a slice is left");
    assert_ne!(held.slices, rest.slices);
    for (executor, claim) in [(&first, &held), (&second, &rest)] {
        let output = inlined(output(claim, claim.slices.clone()));
        executor.queue.commit(claim, output).await.expect("it holds it");
    }
    assert_eq!(queue.wait_ended(id).await.expect("it has ended").phase, Phase::Done);
    assert!(taken(second.offer(&stage, one).await).is_none(), "it is over");
    queue.remove(id).await.expect("it has ended");
    assert!(taken(first.offer(&stage, one).await).is_none(), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_later_stage_comes_with_the_small_outputs_that_it_reads() {
    let world = World::new(1);
    let (first, second) = (world.executor().await, world.executor().await);
    let mut ready = second.queue.watch_ready().await.expect("no faults");
    let (_, queue) = world.process();
    let query = world.new_query(&graph(&[(&[], 1), (&[0], 1)]));
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    run(&first, &heard(&mut ready, id, 0).await).await;
    let stage = heard(&mut ready, id, 1).await;
    let before = second.link.reads();
    let claim = taken(second.offer(&stage, ROOM).await).expect("it is ready");
    assert_eq!(second.link.reads(), before);
    assert_eq!(claim.inputs.len(), 1);
    assert_eq!(claim.inputs[0].output.maps.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publication_whose_conditions_do_not_hold_writes_nothing() {
    let world = World::new(1);
    let (_, queue) = world.process();
    put(&world, "version").await;
    let seen = world.store.range("version").await.expect("no faults").revision;
    let guards =
        vec![Compare::Modified("version".into(), seen), Compare::Unwritten("writes/".into(), seen)];
    for key in ["writes/1", "version"] {
        let mut query = world.new_query(&graph(&[(&[], 1)]));
        query.guards = guards.clone();
        let id = query.id;
        assert_eq!(queue.publish(query.clone()).await.expect("no error"), Published::Here);
        put(&world, key).await;
        // What is there is there, whatever has changed since.
        assert_eq!(queue.publish(query.clone()).await.expect("no error"), Published::Here);
        query.id = QueryId::generate(&world.env);
        assert_eq!(queue.publish(query).await.expect("no error"), Published::Outdated);
        queue.cancel(id).await.expect("it runs");
        queue.remove(id).await.expect("it has ended");
        let others = world.keys().await;
        let mut others = others.iter().filter(|key| !key.starts_with("hist/"));
        assert!(others.all(|key| key == "version" || key == "writes/1"));
        let txn = Txn { ops: vec![Op::Delete("writes/1".into())], ..Txn::default() };
        world.store.txn(txn).await.expect("no faults");
    }
}

/// Commits a claim with room for what follows.
async fn commit_and_follow(executor: &Executor, claim: &ClaimedSlices) -> Option<ClaimedSlices> {
    let room = Room { slots: 2, idle: false };
    let more = More { room, live: &executor.live };
    let output = inlined(output(claim, claim.slices.clone()));
    let done = executor.queue.commit_and_claim(claim, output, Some(more)).await;
    done.expect("it holds it").1
}

#[tokio::test(start_paused = true)]
async fn who_completes_a_stage_begins_with_the_next_one_in_the_same_transaction() {
    let world = World::new(1);
    let (first, second) = (world.executor().await, world.executor().await);
    let mut ready = second.queue.watch_ready().await.expect("no faults");
    // Each hears of the other.
    world.env.sleep(Duration::from_millis(100)).await;
    let query = world.new_query(&graph(&[(&[], 1), (&[0], 4), (&[1], 1)]));
    let id = query.id;
    first.queue.publish(query).await.expect("it is a good query");
    let revision = || async { world.store.range("none").await.expect("no faults").revision.0 };

    let claim = first.claim(2).await.expect("one slice is ready");
    let before = revision().await;
    let next = commit_and_follow(&first, &claim).await.expect("the next stage is open");
    assert_eq!(revision().await - before, 1, "commit, seal, decide, open and claim");
    assert_eq!((next.stage, next.inputs.len()), (StageId(1), 1));
    let slices = next.slices.clone();
    assert!((1..next.slice_count).contains(&slices.end), "others get their share: {slices:?}");

    // Who hears of the stage knows what is taken of it, and need not ask.
    let heard = heard(&mut ready, id, 1).await;
    let (reads, before) = (second.link.reads(), revision().await);
    let rest = taken(second.offer(&heard, ROOM).await).expect("something is left");
    assert!(rest.slices.start >= next.slices.end, "{rest:?} is not {next:?}");
    assert_eq!((second.link.reads() - reads, revision().await - before), (0, 1));

    for (executor, claim) in [(&second, rest), (&first, next)] {
        let mut follows = commit_and_follow(executor, &claim).await;
        while let Some(claim) = follows {
            follows = commit_and_follow(executor, &claim).await;
        }
    }
    assert_eq!(first.queue.wait_ended(id).await.expect("it has ended").phase, Phase::Done);
}

#[tokio::test(start_paused = true)]
async fn a_first_claim_that_was_dropped_is_found_again() {
    let world = World::new(1);
    let executor = world.executor().await;
    let query = world.new_query(&graph(&[(&[], 1), (&[0], 1)]));
    let id = query.id;
    executor.queue.publish(query).await.expect("it is a good query");
    let claim = executor.claim(2).await.expect("one slice is ready");
    drop(commit_and_follow(&executor, &claim).await.expect("the next stage is open"));
    let again = executor.claim(2).await.expect("nobody here holds it any more");
    assert_eq!((again.stage, again.attempt.0), (StageId(1), 1));
    assert!(commit_and_follow(&executor, &again).await.is_none());
    assert_eq!(executor.queue.wait_ended(id).await.expect("it has ended").phase, Phase::Done);
}

#[tokio::test(start_paused = true)]
async fn a_first_claim_whose_answer_was_lost_is_known_all_the_same() {
    let world = World::new(1);
    let executor = world.executor().await;
    let query = world.new_query(&graph(&[(&[], 1), (&[0], 1)]));
    let id = query.id;
    executor.queue.publish(query).await.expect("it is a good query");
    let claim = executor.claim(2).await.expect("one slice is ready");
    world.store.set_faults(Faults { lost_acknowledgement: 1000, ..Faults::default() });
    let heal = async {
        world.env.sleep(Duration::from_millis(1)).await;
        world.store.set_faults(Faults::default());
    };
    let (next, ()) = futures::join!(commit_and_follow(&executor, &claim), heal);
    let next = next.expect("it happened");
    assert!(world.store.fired().lost_acknowledgements > 0);
    assert_eq!((next.stage, next.attempt.0), (StageId(1), 0));
    let strays = executor.member.strays();
    let none = world.env.timeout(Duration::from_millis(1), strays).await;
    assert!(none.is_none(), "nothing was given up");
    assert!(commit_and_follow(&executor, &next).await.is_none());
    assert_eq!(executor.queue.wait_ended(id).await.expect("it has ended").phase, Phase::Done);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_a_claim_that_may_have_happened_is_told_to_look_again() {
    let world = World::new(1);
    let executor = world.executor().await;
    let query = world.new_query(&graph(&[(&[], 1), (&[0], 1)]));
    executor.queue.publish(query).await.expect("it is a good query");
    let claim = executor.claim(2).await.expect("one slice is ready");
    world.store.set_faults(Faults { delay_after_max: Duration::from_secs(5), ..Faults::default() });
    {
        let mut commit = std::pin::pin!(commit_and_follow(&executor, &claim));
        let moment = Duration::from_millis(1);
        assert!(world.env.timeout(moment, commit.as_mut()).await.is_none(), "the answer is slow");
    }
    world.store.set_faults(Faults::default());
    let told = world.env.timeout(Duration::from_millis(1), executor.member.strays()).await;
    assert!(told.is_some(), "it has to look again");
    let again = executor.claim(2).await.expect("nobody here holds it");
    assert_eq!((again.stage, again.attempt.0), (StageId(1), 1));
}
