//! Single stories, on a store without faults unless they are about one.

use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Error, Kind, QueryId};
use dunlin_metadata::blob::Blobs;
use dunlin_metadata::sim::Faults;
use dunlin_metadata::{Op, Store, Txn};
use dunlin_queue::{Ended, NewQuery, Phase, Queue, Room, Tuning};

use crate::toy::Graph;
use crate::world::{Executor, TTL, World, output, taken};

pub(crate) fn graph(stages: &[(&[u32], u32)]) -> Graph {
    let stages = stages.iter().map(|(inputs, slices)| (inputs.to_vec(), *slices)).collect();
    Graph { eager: true, stages, indeterminate: 0 }
}

pub(crate) async fn published(world: &World, graph: &Graph) -> (Queue, QueryId) {
    let query = world.new_query(graph);
    let (_, queue) = world.process();
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    (queue, id)
}

/// Claims and commits until nothing is left to claim; gives the number of claims.
async fn work(executor: &Executor, free_slots: u32) -> usize {
    let mut claims = 0;
    while let Some(claim) = executor.claim(free_slots).await {
        claims += 1;
        let done = executor.queue.commit(&claim, output(&claim, claim.slices.clone())).await;
        done.expect("it holds the claim");
    }
    claims
}

async fn ended(queue: &Queue, id: QueryId) -> Ended {
    queue.wait_ended(id).await.expect("it is there")
}

async fn revision(world: &World) -> i64 {
    world.store.range("none").await.expect("no faults").revision.0
}

#[tokio::test(start_paused = true)]
async fn a_short_query_takes_one_transaction_for_each_act() {
    let world = World::new(1);
    let executor = world.executor().await;
    let before = revision(&world).await;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    let claim = executor.claim(4).await.expect("one slice is ready");
    let committed = executor.queue.commit(&claim, output(&claim, 0..1)).await.expect("it holds it");
    assert!(committed.stage_sealed && committed.query_ended);
    assert_eq!(revision(&world).await - before, 3, "publish, claim, commit");
    let ended = ended(&queue, id).await;
    assert_eq!((ended.phase, ended.rows), (Phase::Done, 1));
    assert_eq!(ended.result.map(|(_, _, output)| output.maps.len()), Some(1));
    queue.remove(id).await.expect("it has ended");
    queue.remove(id).await.expect("twice is once");
    assert_eq!(world.keys().await, [format!("hist/{id}")]);
    let again = queue.wait_ended(id).await.expect("the history knows it");
    assert_eq!((again.phase, again.rows, again.result), (Phase::Done, 1, None));
}

#[tokio::test(start_paused = true)]
async fn a_claim_carries_what_its_slices_need() {
    let world = World::new(1);
    let executor = world.executor().await;
    let (_, id) = published(&world, &graph(&[(&[], 4), (&[], 2), (&[0, 1], 3)])).await;
    let mut inputs = None;
    while let Some(claim) = executor.claim(1).await {
        assert_eq!((claim.query, claim.template.as_ref()), (id, &[claim.stage.0 as u8][..]));
        assert_eq!(claim.slice_list, Bytes::from_static(b"slices"));
        if claim.stage.0 == 2 {
            inputs = Some(claim.inputs.clone());
        }
        let done = executor.queue.commit(&claim, output(&claim, claim.slices.clone())).await;
        done.expect("it holds the claim");
    }
    let inputs = inputs.expect("the third stage ran");
    let slices: Vec<(u32, u32)> = inputs
        .iter()
        .map(|i| (i.stage.0, i.output.maps.iter().map(|m| m.slice_count).sum()))
        .collect();
    assert_eq!(slices, [(0, 4), (1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_seal_parallel_stages_at_once_one_opens_the_next() {
    for seed in 0..40 {
        let world = World::new(seed);
        let executor = world.executor().await;
        published(&world, &graph(&[(&[], 1), (&[], 1), (&[0, 1], 1)])).await;
        let claims = [executor.claim(1).await, executor.claim(1).await];
        let [first, second] = claims.map(|claim| claim.expect("two stages are ready"));
        let delay = Duration::from_millis(5);
        let faults =
            Faults { delay_before_max: delay, delay_after_max: delay, ..Faults::default() };
        world.store.set_faults(faults);
        let (one, other) = (world.process().1, world.process().1);
        let commits = futures::join!(
            one.commit(&first, output(&first, 0..1)),
            other.commit(&second, output(&second, 0..1)),
        );
        assert!(commits.0.is_ok() && commits.1.is_ok(), "seed {seed}: {commits:?}");
        let ready: Vec<u32> = executor.ready().await.iter().map(|stage| stage.stage.0).collect();
        assert_eq!(ready, [2], "seed {seed}: nobody opened the stage that reads both");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_stage_is_shared_out_and_every_slice_runs_once() {
    let mut world = World::new(1);
    world.tuning = Tuning::default();
    let executors = [world.executor().await, world.executor().await, world.executor().await];
    for executor in &executors {
        while executor.live.count() < 3 {
            executor.live.changed().await;
        }
    }
    let graph = graph(&[(&[], 1000)]);
    let (queue, id) = published(&world, &graph).await;
    let before = revision(&world).await;
    let works = executors.iter().map(|executor| work(executor, 8));
    let claims: usize = futures::future::join_all(works).await.into_iter().sum();
    let ended = ended(&queue, id).await;
    assert_eq!((ended.phase, ended.rows), (Phase::Done, graph.expected_rows()));
    let changes = (revision(&world).await - before) as usize;
    assert!((35..200).contains(&claims), "{claims} claims of 1000 slices");
    assert!(changes <= 2 * claims + 1, "{changes} transactions for {claims} claims");
}

#[tokio::test(start_paused = true)]
async fn the_slices_of_a_dead_executor_are_claimed_again_under_a_new_attempt() {
    let world = World::new(1);
    let (dies, lives) = (world.executor().await, world.executor().await);
    let (queue, id) = published(&world, &graph(&[(&[], 2)])).await;
    let lost = dies.claim(9).await.expect("it is ready");
    let rest = lives.claim(9).await.expect("one slice is free");
    assert_ne!(lost.slices, rest.slices);
    assert!(lives.claim(9).await.is_none(), "the other is held");
    dies.link.freeze(Duration::from_secs(1000));
    world.env.sleep(TTL + Duration::from_secs(1)).await;
    let again = lives.claim(9).await.expect("the dead one's slice is free");
    assert_eq!(again.slices, lost.slices);
    assert!(again.attempt > lost.attempt);
    let _ = lives.queue.commit(&rest, output(&rest, rest.slices.clone())).await.expect("it holds");
    work(&lives, 1).await;
    let done = lives.queue.commit(&again, output(&again, again.slices.clone())).await;
    assert!(done.expect("it holds").query_ended);
    assert_eq!(ended(&queue, id).await.phase, Phase::Done);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_held_up_past_the_lease_is_fenced_by_the_store() {
    let world = World::new(1);
    let executor = world.executor().await;
    let (_, id) = published(&world, &graph(&[(&[], 1)])).await;
    let claim = executor.claim(1).await.expect("it is ready");
    // The check passes, then the process stands still: only the store can know.
    executor.link.freeze(TTL * 2);
    let answer = executor.queue.commit(&claim, output(&claim, 0..1)).await;
    assert_eq!(answer.map_err(|e| e.kind()), Err(Kind::Fenced));
    let status = executor.queue.status(id).await.expect("no faults").expect("it runs");
    assert_eq!((status.stages[0].slices_done, status.phase), (0, Phase::Running));
    assert!(executor.member.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_live_executor_that_the_live_set_does_not_know_keeps_its_claim() {
    let world = World::new(1);
    let old = world.executor().await;
    let slow = Faults { watch_delay_max: Duration::from_secs(9), ..Faults::default() };
    world.store.set_faults(slow);
    let new = world.executor().await;
    let (_, _) = published(&world, &graph(&[(&[], 1)])).await;
    let claim = new.claim(1).await.expect("it is ready");
    assert_eq!(old.live.fence(new.member.id()), None, "the watch is late");
    assert!(old.claim(1).await.is_none(), "the store knows better");
    new.queue.commit(&claim, output(&claim, 0..1)).await.expect("it holds the claim");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_dropped_is_free_for_its_own_executor() {
    let world = World::new(1);
    let (one, other) = (world.executor().await, world.executor().await);
    published(&world, &graph(&[(&[], 1)])).await;
    let dropped = one.claim(1).await.expect("it is ready").attempt;
    assert!(other.claim(1).await.is_none(), "for others it is held");
    let again = one.claim(1).await.expect("it knows that it dropped it");
    assert!(again.attempt > dropped);
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_and_the_fourth_ends_the_query() {
    let world = World::new(1);
    let executor = world.executor().await;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    let error = Error::lost("block 7 is gone").with_hint("look at disk 3");
    for failure in 1..=4 {
        let claim = executor.claim(1).await.expect("it is ready");
        executor.queue.failed(&claim, &error).await.expect("it holds the claim");
        let running = queue.status(id).await.expect("no faults").expect("there");
        assert_eq!(running.stages[0].attempts_failed, failure);
        assert_eq!(running.phase == Phase::Failed, failure == 4);
    }
    let failure = ended(&queue, id).await.failure.expect("it failed");
    assert_eq!(failure.kind(), Kind::Lost);
    assert_eq!(failure.message(), "slice 0 failed 4 times: block 7 is gone");
    assert_eq!(failure.hint(), Some("look at disk 3"));
    assert!(executor.claim(1).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_query_itself_ends_it_at_once_and_stops_the_others() {
    let world = World::new(1);
    let (one, other) = (world.executor().await, world.executor().await);
    let (queue, id) = published(&world, &graph(&[(&[], 2)])).await;
    let claim = one.claim(1).await.expect("it is ready");
    let running = other.claim(1).await.expect("it is ready");
    one.queue.failed(&claim, &Error::invalid("division by zero")).await.expect("it holds it");
    other.queue.wait_cancelled(id).await;
    let late = other.queue.commit(&running, output(&running, running.slices.clone())).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(Kind::Fenced));
    let end = ended(&queue, id).await;
    assert_eq!(end.failure.map(|e| e.message().to_owned()).as_deref(), Some("division by zero"));
    assert!(queue.ready_stages().await.expect("no faults").is_empty());
}

#[tokio::test(start_paused = true)]
async fn handing_back_wakes_those_who_wait() {
    let mut world = World::new(1);
    world.tuning.segment_slices = 64;
    let (busy, idle) = (world.executor().await, world.executor().await);
    published(&world, &graph(&[(&[], 16)])).await;
    let mut claims = Vec::new();
    while let Some(claim) = busy.claim(16).await {
        claims.push(claim);
    }
    let claim = claims.iter().max_by_key(|claim| claim.slices.len()).expect("it has all");
    assert!(claim.slices.len() > 2, "{:?}", claim.slices);
    let mut ready = idle.queue.watch_ready().await.expect("no faults");
    let before = ready.stages()[0].touched;
    assert!(idle.claim(1).await.is_none());
    let unstarted = claim.slices.start + 1..claim.slices.end;
    let started = claim.slices.start..claim.slices.start + 1;
    for _ in 0..2 {
        let given = busy.queue.hand_back(claim, unstarted.clone()).await;
        given.expect("it holds the claim; twice is once");
    }
    let noticed = world.env.timeout(Duration::from_millis(1), ready.changed()).await;
    noticed.expect("it is woken by the watch").expect("no faults");
    assert!(ready.stages()[0].touched > before);
    let taken = idle.claim(1).await.expect("slices are free again");
    assert!(unstarted.contains(&taken.slices.start));
    busy.queue.commit(claim, output(claim, started)).await.expect("it kept what it had started");
}

#[tokio::test(start_paused = true)]
async fn a_query_nobody_works_on_ends_at_its_deadline() {
    let world = World::new(1);
    let mut query = world.new_query(&graph(&[(&[], 1)]));
    query.deadline_unix_ms = Some(world.env.unix_ms() + 7_300);
    let (_, queue) = world.process();
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    let started = world.env.now();
    let end = ended(&queue, id).await;
    assert_eq!(end.failure.map(|e| e.kind()), Some(Kind::Exhausted));
    let took = world.env.now() - started;
    assert!(took < Duration::from_millis(7_400), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_query_once() {
    let world = World::new(1);
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    assert!(!queue.is_cancelled(id).await.expect("no faults"));
    let error = queue.remove(id).await.expect_err("it runs");
    assert_eq!(error.kind(), Kind::Invalid);
    queue.cancel(id).await.expect("no faults");
    queue.cancel(id).await.expect("twice is once");
    queue.fail(id, &Error::bug("?")).await.expect("it has ended already");
    assert!(queue.is_cancelled(id).await.expect("no faults"));
    assert_eq!(ended(&queue, id).await.phase, Phase::Cancelled);
    let unknown = QueryId::from_u128(1);
    queue.cancel(unknown).await.expect("unknown queries are left as they are");
    assert_eq!(queue.wait_ended(unknown).await.map_err(|e| e.kind()).err(), Some(Kind::Invalid));
}

#[tokio::test(start_paused = true)]
async fn a_refused_plan_leaves_nothing() {
    let world = World::new(1);
    let (_, queue) = world.process();
    let mut query = world.new_query(&graph(&[(&[], 1 << 21)]));
    assert_eq!(queue.publish(query.clone()).await.map_err(|e| e.kind()), Err(Kind::Exhausted));
    query.graph = graph(&[(&[], 1)]).encode();
    assert!(world.keys().await.is_empty());
    queue.publish(query.clone()).await.expect("it is a good query");
    queue.publish(query).await.expect("twice is once");
    assert_eq!(queue.running().await.expect("no faults").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn big_bodies_go_to_blobs_and_come_back() {
    let mut world = World::new(1);
    world.toy = std::sync::Arc::new(crate::toy::Toy::padded(70_000));
    let executor = world.executor().await;
    let (_, queue) = world.process();
    let mut stages: Vec<(Vec<u32>, u32)> = vec![(Vec::new(), 1); 150];
    stages.push(((0..150).collect(), 1));
    let graph = Graph { eager: true, stages, indeterminate: 0 };
    let sql = "x".repeat(1 << 20);
    let query = NewQuery { sql, ..world.new_query(&graph) };
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    assert!(world.blobs.names().iter().all(|name| name.starts_with(&format!("q/{id}/"))));
    assert!(world.blobs.names().len() > 100, "{} blobs", world.blobs.names().len());
    assert_eq!(queue.ready_stages().await.expect("no faults").len(), 150);
    let claim = executor.claim(1).await.expect("they are ready");
    assert_eq!(claim.template.len(), 70_001);
    let mut large = output(&claim, claim.slices.clone());
    large.inline_blocks.push(vec![7; 200_000].into());
    executor.queue.commit(&claim, large.clone()).await.expect("it holds the claim");
    let read = queue.stage_output(id, claim.stage).await.expect("it is sealed");
    assert_eq!(read.maps, [large]);
    work(&executor, 4).await;
    let end = ended(&queue, id).await;
    assert_eq!((end.phase, end.rows), (Phase::Done, graph.expected_rows()));
    queue.remove(id).await.expect("it has ended");
    assert!(world.blobs.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_blob_fails_the_query_instead_of_hanging_it() {
    let mut world = World::new(1);
    world.toy = std::sync::Arc::new(crate::toy::Toy::padded(70_000));
    let executor = world.executor().await;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    world.blobs.delete_prefix("q/").await.expect("memory");
    assert!(executor.claim(1).await.is_none());
    assert_eq!(ended(&queue, id).await.failure.map(|e| e.kind()), Some(Kind::Lost));
}

#[tokio::test(start_paused = true)]
async fn the_status_counts_what_is_done_and_what_runs() {
    let mut world = World::new(1);
    world.tuning.segment_slices = 64;
    let executor = world.executor().await;
    let (queue, id) = published(&world, &graph(&[(&[], 8)])).await;
    let mut watch = queue.watch_query(id).await.expect("no faults");
    let first = watch.next().await.expect("no faults").expect("it runs");
    assert_eq!((first.stages[0].slices_total, first.stages[0].slices_running), (8, 0));
    let claim = executor.claim(1).await.expect("it is ready");
    let next = watch.next().await.expect("no faults").expect("it runs");
    assert_eq!(next.stages[0].slices_running as usize, claim.slices.len());
    executor.queue.commit(&claim, output(&claim, claim.slices.clone())).await.expect("held");
    let stage = queue.status(id).await.expect("no faults").expect("it runs").stages.remove(0);
    assert_eq!((stage.slices_done as usize, stage.slices_running), (claim.slices.len(), 0));
    assert_eq!((stage.tasks, stage.attempts, stage.sealed), (1, 1, false));
    assert_eq!((stage.rows * 8, stage.elapsed_us.median), (stage.bytes, 100));
    work(&executor, 1).await;
    let status = queue.status(id).await.expect("no faults").expect("it is not removed");
    assert_eq!((status.phase, status.rows, status.stages[0].rows), (Phase::Done, 36, 36));
    assert!(status.stages[0].sealed && status.stages[0].rows_per_slice.max >= 8);
    queue.remove(id).await.expect("it has ended");
    while watch.next().await.expect("no faults").is_some() {}
}

#[tokio::test(start_paused = true)]
async fn a_sweep_removes_what_was_held_long_enough_and_nothing_else() {
    let mut world = World::new(1);
    world.toy = std::sync::Arc::new(crate::toy::Toy::padded(70_000));
    let executor = world.executor().await;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    let (_, running) = published(&world, &graph(&[(&[], 1)])).await;
    let stage = executor.ready().await.into_iter().find(|s| s.query == id).expect("it is ready");
    let claim = taken(executor.offer(&stage, Room { slots: 1, idle: true }).await);
    let claim = claim.expect("it is ready");
    executor.queue.commit(&claim, output(&claim, 0..1)).await.expect("it holds it");
    let orphan = QueryId::generate(&world.env);
    world.blobs.put(&format!("q/{orphan}/plan-1"), Bytes::new()).await.expect("memory");
    let swept = queue.sweep(world.env.unix_ms()).await.expect("no faults");
    assert!(swept.queries.is_empty(), "{swept:?}");
    world.env.sleep(world.tuning.hold.max(world.tuning.grace)).await;
    let swept = queue.sweep(world.env.unix_ms()).await.expect("no faults");
    assert_eq!(swept.queries, [id, orphan]);
    let left = queue.running().await.expect("no faults");
    assert_eq!(left.iter().map(|q| q.query).collect::<Vec<_>>(), [running]);
    assert!(world.blobs.names().iter().all(|name| name.contains(&running.to_string())));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_still_read_is_not_swept_away() {
    let world = World::new(1);
    let (queue, id) = published(&world, &graph(&[(&[], 0)])).await;
    for _ in 0..4 {
        world.env.sleep(world.tuning.hold / 2).await;
        queue.keep(id).await.expect("it is there");
        let swept = queue.sweep(world.env.unix_ms()).await.expect("no faults");
        assert!(swept.queries.is_empty(), "{swept:?}");
    }
    world.env.sleep(world.tuning.hold).await;
    let swept = queue.sweep(world.env.unix_ms()).await.expect("no faults");
    assert_eq!(swept.queries, [id]);
    assert_eq!(queue.keep(id).await.expect_err("it is gone").kind(), Kind::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_kept_is_there_even_if_a_sweep_had_begun() {
    let mut kept = 0;
    for seed in 0..200 {
        let world = World::new(seed);
        let (queue, id) = published(&world, &graph(&[(&[], 0)])).await;
        world.env.sleep(world.tuning.hold).await;
        let delay = Duration::from_millis(5);
        world.store.set_faults(Faults {
            delay_before_max: delay,
            delay_after_max: delay,
            ..Faults::default()
        });
        let sweeper = world.process().1;
        // A sweep makes more calls: begun at once, the reader would nearly always be first.
        let late = Duration::from_millis(world.env.random_below(40));
        let keeping = async {
            world.env.sleep(late).await;
            queue.keep(id).await
        };
        let (swept, said) = futures::join!(sweeper.sweep(world.env.unix_ms()), keeping);
        world.store.set_faults(Faults::default());
        let swept = swept.expect("late is no error").queries;
        let there = queue.status(id).await.expect("no faults").is_some();
        match said {
            Ok(()) => assert!(there && swept.is_empty(), "seed {seed}: kept, and removed"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Lost, "seed {seed}: {error}");
                assert!(!there && swept == [id], "seed {seed}: {swept:?}");
            }
        }
        kept += u32::from(there);
    }
    assert!((20..180).contains(&kept), "{kept} of 200 kept: both must happen");
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_record_is_damaged_keeps_no_other_from_being_swept() {
    let world = World::new(1);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(published(&world, &graph(&[(&[], 0)])).await.1);
        world.env.sleep(Duration::from_millis(5)).await;
    }
    let (queue, _) = published(&world, &graph(&[(&[], 1)])).await;
    // The oldest and so the first to be looked at.
    let damaged = Op::Put(format!("q/{}/meta", ids[0]), Bytes::from_static(b"none"), None);
    world.store.txn(Txn { ops: vec![damaged], ..Txn::default() }).await.expect("no faults");
    world.env.sleep(world.tuning.hold).await;
    let swept = queue.sweep(world.env.unix_ms()).await.expect("the others are well");
    assert_eq!(swept.queries, ids[1..]);
}

#[tokio::test(start_paused = true)]
async fn the_history_keeps_the_newest() {
    let mut world = World::new(1);
    world.tuning.history = 3;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (queue, id) = published(&world, &graph(&[(&[], 0)])).await;
        queue.remove(id).await.expect("an empty query ends at once");
        ids.push(id);
        world.env.sleep(Duration::from_millis(5)).await;
    }
    let (_, queue) = world.process();
    queue.sweep(world.env.unix_ms()).await.expect("no faults");
    let history = queue.history(10).await.expect("no faults");
    let kept: Vec<QueryId> = history.iter().map(|entry| entry.query).collect();
    assert_eq!(kept, [ids[4], ids[3], ids[2]]);
    assert_eq!((history[0].phase, history[0].sql.as_str()), (Phase::Done, "SELECT 1"));
    assert_eq!(queue.history(1).await.expect("no faults").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_reach_the_store_fences_itself_before_its_lease_ends() {
    let world = World::new(1);
    let executor = world.executor().await;
    world.env.sleep(TTL * 10).await;
    executor.member.check().expect("its lease is kept");
    let started = world.env.now();
    executor.link.freeze(TTL * 10);
    executor.member.fenced().await;
    let took = world.env.now() - started;
    assert!(took <= TTL.mul_f64(0.61), "{took:?}");
    let card = format!("ex/{}", executor.member.id());
    assert!(world.store.get(&card).await.expect("no faults").is_some(), "it fenced itself first");
    world.env.sleep(TTL).await;
    assert!(world.store.get(&card).await.expect("no faults").is_none());
}

#[tokio::test(start_paused = true)]
async fn leaving_takes_the_card_at_once_and_others_hear_of_it() {
    let world = World::new(1);
    let (leaves, stays) = (world.executor().await, world.executor().await);
    while stays.live.count() < 2 {
        stays.live.changed().await;
    }
    leaves.member.leave().await.expect("no faults");
    let heard = async {
        while stays.live.count() > 1 {
            stays.live.changed().await;
        }
    };
    let limit = Duration::from_millis(10);
    world.env.timeout(limit, heard).await.expect("by the watch, not the safety re-read");
    assert_eq!(leaves.member.check().map_err(|e| e.kind()), Err(Kind::Fenced));
    assert_eq!(stays.live.cards().len(), 1);
}

/// The calls can be made from tasks of any runtime.
#[test]
fn futures_can_move_between_threads() {
    fn check<T: Send>(_: impl Fn(&'static Queue, &'static Executor) -> T) {}
    check(|queue, executor| async move {
        for stage in executor.ready().await {
            let room = Room { slots: 1, idle: true };
            let claim = queue.claim(&executor.member, &stage, room, &executor.live).await;
            let claim = taken(claim.expect("a type check")).expect("a type check");
            let _ = queue.commit(&claim, output(&claim, 0..1)).await;
            let _ = queue.failed(&claim, &Error::bug("?")).await;
            let _ = queue.hand_back(&claim, 0..1).await;
            let _ = queue.wait_ended(claim.query).await;
            let _ = queue.sweep(0).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_output_whose_partitions_are_in_disorder_is_not_committed() {
    let world = World::new(1);
    let executor = world.executor().await;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    let claim = executor.claim(4).await.expect("one slice is ready");
    let of = |partitions: &[u32]| {
        let mut output = output(&claim, 0..1);
        let one = output.partitions[0].clone();
        let with = |partition| dunlin_proto::output::PartitionOutput { partition, ..one.clone() };
        output.partitions = partitions.iter().map(|partition| with(*partition)).collect();
        output
    };
    for wrong in [[1, 0], [2, 2]] {
        let refused = executor.queue.commit(&claim, of(&wrong)).await.expect_err("in disorder");
        assert_eq!(refused.kind(), Kind::Bug, "{refused}");
    }
    executor.queue.commit(&claim, of(&[0, 3])).await.expect("in order");
    assert_eq!(ended(&queue, id).await.phase, Phase::Done);
}
