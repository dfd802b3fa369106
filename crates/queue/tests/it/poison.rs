//! Slices whose executors die.

use std::time::Duration;

use bytes::Bytes;
use dunlin_base::Kind;
use dunlin_proto::queue::Card;
use dunlin_queue::{LiveSet, Member, Offer, Phase, Role, Room};
use prost::Message;

use crate::life::{graph, published};
use crate::world::{Executor, TTL, World, output};

const IDLE: Room = Room { slots: 8, idle: true };
const BUSY: Room = Room { slots: 7, idle: false };

/// An executor joins, takes what it gets, and dies with it.
async fn one_dies(world: &World) -> Offer {
    let executor = world.executor().await;
    let stage = executor.ready().await.remove(0);
    let offer = executor.offer(&stage, IDLE).await;
    executor.kill();
    world.env.sleep(TTL * 2).await;
    offer
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_ends_three_executors_fails_its_query_and_the_last_ran_it_alone() {
    let mut world = World::new(1);
    world.tuning.segment_slices = 64;
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    for alone in [false, false, true] {
        let Offer::Taken(claim) = one_dies(&world).await else { panic!("it is free again") };
        assert_eq!(claim.alone, alone, "attempt {}", claim.attempt);
    }
    let status = queue.status(id).await.expect("no faults").expect("it is there");
    assert_eq!(status.phase, Phase::Running, "nobody has looked yet");
    let survivor = world.executor().await;
    assert!(survivor.claim(8).await.is_none(), "nobody has to die of it any more");
    let ended = queue.wait_ended(id).await.expect("it is there");
    let error = ended.failure.expect("it has failed");
    assert_eq!((ended.phase, error.kind()), (Phase::Failed, Kind::Exhausted));
    let text = error.to_string();
    assert!(text.contains("stage 0: slice 0 ended 3 executors"), "{text}");
    published(&world, &graph(&[(&[], 1)])).await;
    assert!(survivor.claim(8).await.is_some(), "other queries go on");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_an_idle_executor_and_one_of_the_busy_ones_is_to_become_idle() {
    let world = World::new(1);
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    one_dies(&world).await;
    one_dies(&world).await;
    let executors = [world.executor().await, world.executor().await, world.executor().await];
    for executor in &executors {
        while executor.live.count() < 3 {
            executor.live.changed().await;
        }
    }
    let stage = executors[0].ready().await.remove(0);
    let mut first = Vec::new();
    for (number, executor) in executors.iter().enumerate() {
        let Offer::Alone { first_choice } = executor.offer(&stage, BUSY).await else {
            panic!("it must not run beside others")
        };
        first.extend(first_choice.then_some(number));
    }
    assert_eq!(first.len(), 1, "one of them makes room");
    let Offer::Taken(claim) = executors[first[0]].offer(&stage, IDLE).await else {
        panic!("an idle executor may have it")
    };
    assert!(claim.alone);
    let commit = executors[first[0]].queue.commit(&claim, output(&claim, 0..1)).await;
    commit.expect("it was not the slice's fault");
    assert_eq!(queue.wait_ended(id).await.expect("it is there").phase, Phase::Done);
}

#[tokio::test(start_paused = true)]
async fn the_neighbours_of_a_bad_slice_are_cleared_by_running() {
    let mut world = World::new(1);
    world.tuning.segment_slices = 64;
    let (queue, id) = published(&world, &graph(&[(&[], 8)])).await;
    // Slice 5 ends whoever holds it.
    let mut died = 0;
    while died < 3 {
        let executor = world.executor().await;
        while let Some(claim) = executor.claim(8).await {
            if claim.slices.contains(&5) {
                assert!(died < 1 || claim.slices.len() == 1, "only what was beside it the first time");
                died += 1;
                break;
            }
            let slices = claim.slices.clone();
            executor.queue.commit(&claim, output(&claim, slices)).await.expect("it holds");
        }
        executor.kill();
        world.env.sleep(TTL * 2).await;
    }
    let status = queue.status(id).await.expect("no faults").expect("it is there");
    assert_eq!(status.stages[0].slices_done, 7, "all others are done");
    assert!(world.executor().await.claim(8).await.is_none());
    assert_eq!(queue.wait_ended(id).await.expect("it is there").phase, Phase::Failed);
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_only_lost_its_lease_did_not_die_of_its_slices() {
    let world = World::new(1);
    let (queue, id) = published(&world, &graph(&[(&[], 1)])).await;
    let watcher = world.executor().await;
    let mut former = Vec::new();
    for _ in 0..5 {
        let executor = reborn(&world, &former).await;
        former.push(executor.member.id().to_string());
        let claim = executor.claim(8).await.expect("it is free again");
        assert!(!claim.alone, "after {} lives", former.len());
        executor.kill();
        world.env.sleep(TTL * 2).await;
    }
    let last = reborn(&world, &former).await;
    let claim = last.claim(8).await.expect("it is free again");
    last.queue.commit(&claim, output(&claim, 0..1)).await.expect("it holds");
    assert_eq!(queue.wait_ended(id).await.expect("it is there").phase, Phase::Done);
    drop(watcher);
}

/// The next life of a process that was fenced.
async fn reborn(world: &World, former: &[String]) -> Executor {
    let (link, queue) = world.process();
    let card = Card { former: former.to_vec(), ..Card::default() };
    let card = Bytes::from(card.encode_to_vec());
    let member = Member::join(link.clone(), world.env.clone(), Role::Executor, card, TTL).await;
    let live = LiveSet::follow(link.clone(), &world.env, Role::Executor).await;
    let live = live.expect("a store without faults");
    let member = member.expect("a store without faults");
    while live.fence(member.id()).is_none() {
        world.env.sleep(Duration::from_millis(10)).await;
    }
    Executor { queue, link, member, live }
}
