//! The place of a role when one process leaves it to the next.

use std::sync::Arc;

use dunlin_base::ProcessId;
use dunlin_metadata::{Op, Store, StoreRef, Txn};
use dunlin_proto::queue::Card;
use dunlin_queue::{LiveSet, Peer, Role, Seat, SeatOptions};
use prost::Message;

use crate::world::{TTL, World};

fn store(world: &World) -> StoreRef {
    Arc::new(world.store.clone())
}

async fn seat(world: &World, address: &str, former: &[ProcessId]) -> Seat {
    let former = former.iter().map(ToString::to_string).collect();
    let card = Card { address: address.to_owned(), former, ..Card::default() };
    let options = SeatOptions { role: Role::Shuffle, card, ttl: TTL };
    let taken = Seat::take(store(world), world.env.clone(), options, |_| {}).await;
    taken.expect("no faults")
}

async fn cards(world: &World) -> Vec<Peer> {
    Peer::all(&store(world), Role::Shuffle).await.expect("no faults")
}

#[tokio::test(start_paused = true)]
async fn a_card_that_is_left_behind_goes_the_moment_that_the_next_process_comes() {
    let world = World::new(1);
    let old = seat(&world, "old:1", &[]).await;
    let id = old.member().id();
    world.env.sleep(TTL / 4).await;
    old.leave_behind().await.expect("no faults");
    drop(old);
    world.env.sleep(TTL.mul_f64(0.9)).await;
    assert_eq!(cards(&world).await.len(), 1, "it stays for a whole lease from its end on");
    let live = LiveSet::follow(store(&world), &world.env, Role::Shuffle).await;
    let live = live.expect("no faults");
    assert_eq!(live.card_of(id).map(|card| card.address).as_deref(), Some("old:1"));

    let new = seat(&world, "new:1", &[id]).await;
    let now = cards(&world).await;
    assert_eq!(now.iter().map(|peer| peer.id).collect::<Vec<_>>(), [new.member().id()]);
    live.changed().await;
    while live.card_of(id).is_none_or(|card| card.address != "new:1") {
        live.changed().await;
    }
    world.env.sleep(TTL * 3).await;
    assert_eq!(cards(&world).await.len(), 1, "the end of the old lease takes nothing along");
}

#[tokio::test(start_paused = true)]
async fn who_answers_for_a_former_life_is_asked_before_what_that_life_left() {
    let world = World::new(1);
    let old = seat(&world, "old:1", &[]).await;
    let id = old.member().id();
    // As of a process that could not remove the other card.
    let card =
        Card { address: "new:1".to_owned(), former: vec![id.to_string()], ..Card::default() };
    let heir = ProcessId::from_u128(1);
    let ops = vec![Op::Put(format!("sh/{heir}"), card.encode_to_vec().into(), None)];
    world.store.txn(Txn { ops, ..Txn::default() }).await.expect("no faults");
    let live = LiveSet::follow(store(&world), &world.env, Role::Shuffle).await;
    let live = live.expect("no faults");
    let address = |id| live.card_of(id).map(|card| card.address);
    assert_eq!(live.count(), 2);
    assert_eq!((address(id).as_deref(), address(heir).as_deref()), (Some("new:1"), Some("new:1")));
    assert_eq!(address(ProcessId::from_u128(2)), None);
    old.leave().await.expect("no faults");
}
