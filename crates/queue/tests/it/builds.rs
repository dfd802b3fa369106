//! Two builds on one store, as while a cluster is upgraded: each runs its own queries only.

use std::time::Duration;

use dunlin_base::{Kind, QueryId};
use dunlin_queue::{Phase, Queue, Room};

use crate::life::graph;
use crate::world::{Executor, World, output, taken};

const GRAPH: [(&[u32], u32); 2] = [(&[], 1), (&[0], 1)];
const ROOM: Room = Room { slots: 4, idle: true };

/// The same world, seen by processes of a build.
fn of_build(world: &World, build: &str) -> World {
    let mut world = world.clone();
    world.tuning.build = build.to_owned();
    world
}

async fn published(world: &World, deadline_unix_ms: Option<u64>) -> (Queue, QueryId) {
    let (_, queue) = world.process();
    let mut query = world.new_query(&graph(&GRAPH));
    query.deadline_unix_ms = deadline_unix_ms;
    let id = query.id;
    queue.publish(query).await.expect("it is a good query");
    (queue, id)
}

async fn heard(executor: &Executor) -> usize {
    let watch = executor.queue.watch_ready().await.expect("no faults");
    watch.stages().len()
}

async fn run_one(executor: &Executor) -> bool {
    let claim = executor.claim(4).await.expect("a slice is ready");
    let done = executor.queue.commit(&claim, output(&claim, claim.slices.clone())).await;
    done.expect("it holds the claim").query_ended
}

#[tokio::test(start_paused = true)]
async fn a_query_is_run_by_executors_of_its_build_and_no_step_is_taken_by_others() {
    let world = World::new(1);
    let (old, new) = (of_build(&world, "old"), of_build(&world, "new"));
    let (queue, id) = published(&old, None).await;
    let (theirs, ours) = (new.executor().await, old.executor().await);
    assert_eq!((heard(&theirs).await, heard(&ours).await), (0, 1));
    for stage in theirs.ready().await {
        assert_eq!(stage.build, "old");
        assert!(taken(theirs.offer(&stage, ROOM).await).is_none());
    }
    let before = world.keys().await;
    let advanced = theirs.queue.advance(id).await.expect("no faults");
    assert!(!advanced.ended && world.keys().await == before, "it cannot know what is next");
    assert!(!run_one(&ours).await);
    assert_eq!((heard(&theirs).await, heard(&ours).await), (0, 1), "later stages, too");
    while !run_one(&ours).await {}
    // How it ended, and what it gave, anybody can tell.
    assert_eq!(theirs.queue.wait_ended(id).await.expect("it has ended").phase, Phase::Done);
    let rows = graph(&GRAPH).expected_rows();
    assert_eq!(queue.wait_ended(id).await.expect("it has ended").rows, rows);
    theirs.queue.remove(id).await.expect("it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_by_any_build() {
    let world = World::new(1);
    let (old, new) = (of_build(&world, "old"), of_build(&world, "new"));
    let deadline = world.env.unix_ms() + 3000;
    let (_, id) = published(&old, Some(deadline)).await;
    let (_, other) = new.process();
    world.env.sleep(Duration::from_secs(4)).await;
    other.sweep(world.env.unix_ms()).await.expect("no faults");
    let ended = other.wait_ended(id).await.expect("it has ended");
    assert_eq!(ended.phase, Phase::Failed);
    assert_eq!(ended.failure.map(|error| error.kind()), Some(Kind::Exhausted));
}
