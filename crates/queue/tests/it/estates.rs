//! What shuffle workers leave in the object store: who claims it, who answers for it, and what is left
//! when several want it or go in the middle.

use std::sync::Arc;

use dunlin_base::{Kind, ProcessId};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{Card, ShuffleStorage};
use dunlin_queue::{Estate, LiveSet, Peer, Role, Seat, SeatOptions};

use crate::world::{TTL, World};

fn store(world: &World) -> StoreRef {
    Arc::new(world.store.clone())
}

/// A worker with a folder of its own in the same object store.
async fn worker(world: &World, name: &str, former: &[ProcessId]) -> Seat {
    let storage = ShuffleStorage {
        object_place: Estate::place("s3://bucket"),
        object_folders: vec![name.to_owned()],
        ..ShuffleStorage::default()
    };
    let former = former.iter().map(ToString::to_string).collect();
    let address = name.to_owned();
    let card = Card { address, former, shuffle: Some(storage), ..Card::default() };
    let options = SeatOptions { role: Role::Shuffle, card, ttl: TTL };
    let taken = Seat::take(store(world), world.env.clone(), options, |_| {}).await;
    taken.expect("no faults")
}

async fn killed(world: &World, seat: Seat) -> ProcessId {
    let id = seat.member().id();
    seat.abandon();
    drop(seat);
    world.env.sleep(TTL * 3).await;
    id
}

async fn estates(world: &World) -> Vec<Estate> {
    Estate::all(&world.store).await.expect("no faults")
}

async fn peers(world: &World) -> Vec<Peer> {
    Peer::all(&store(world), Role::Shuffle).await.expect("no faults")
}

async fn estate_of(world: &World, id: ProcessId) -> Estate {
    let all = estates(world).await;
    all.into_iter().find(|estate| estate.id == id).expect("it left one")
}

#[tokio::test(start_paused = true)]
async fn an_estate_outlives_its_card_and_one_adopts_it() {
    let world = World::new(1);
    let (x, y, z) = (
        worker(&world, "x", &[]).await,
        worker(&world, "y", &[]).await,
        worker(&world, "z", &[]).await,
    );
    let live = LiveSet::follow(store(&world), &world.env, Role::Shuffle).await;
    let live = live.expect("no faults");
    let early = estate_of(&world, x.member().id()).await;
    assert_eq!(early.claim(&y.member()).await.expect("no faults"), None, "it is alive");
    let gone = killed(&world, x).await;
    let left = estate_of(&world, gone).await;
    assert_eq!(left.record.folders, ["x"]);
    let now = peers(&world).await;
    let turns = [&y, &z].map(|seat| left.turn(seat.member().id(), &now));
    assert!(turns == [Some(0), Some(1)] || turns == [Some(1), Some(0)], "{turns:?}");
    // Both saw it; one of them claims it.
    let claimed = left.claim(&y.member()).await.expect("no faults").expect("the first");
    assert_eq!(left.claim(&z.member()).await.expect("no faults"), None);
    let seen = estate_of(&world, gone).await;
    assert_eq!(seen.turn(z.member().id(), &peers(&world).await), None, "it is being adopted");
    assert_eq!(live.card_of(gone), None, "nobody is asked before all is there");
    assert!(y.inherit(&claimed).await.expect("no faults"));
    assert!(y.inherit(&claimed).await.expect("no faults"), "it has, whoever did not hear of it");
    assert!(!z.inherit(&claimed).await.expect("no faults"), "it is adopted");
    while live.card_of(gone).is_none() {
        live.changed().await;
    }
    assert_eq!(live.card_of(gone).expect("known").address, "y");
    let own = estate_of(&world, y.member().id()).await;
    assert!(own.names(&gone.to_string()) && own.record.folders == ["y", "x"], "{own:?}");
    assert_eq!(estates(&world).await.len(), 2);
    // The adopter dies: the next one adopts both.
    let second = killed(&world, y).await;
    assert_eq!(live.card_of(gone), None);
    let left = estate_of(&world, second).await;
    let claimed = left.claim(&z.member()).await.expect("no faults").expect("alone");
    assert!(z.inherit(&claimed).await.expect("no faults"));
    while live.card_of(second).is_none() {
        live.changed().await;
    }
    assert_eq!(live.card_of(gone).expect("known").address, "z");
    assert_eq!(estate_of(&world, z.member().id()).await.record.folders, ["z", "y", "x"]);
    z.renounce().await.expect("no faults");
    z.leave().await.expect("no faults");
    assert_eq!(estates(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_void_when_its_adopter_dies_in_the_middle() {
    let world = World::new(1);
    let (x, y, z) = (
        worker(&world, "x", &[]).await,
        worker(&world, "y", &[]).await,
        worker(&world, "z", &[]).await,
    );
    let gone = killed(&world, x).await;
    let left = estate_of(&world, gone).await;
    let claimed = left.claim(&y.member()).await.expect("no faults").expect("the first");
    let late = y.member();
    y.abandon();
    late.leave().await.expect("no faults");
    let left = estate_of(&world, gone).await;
    assert_eq!(left.turn(z.member().id(), &peers(&world).await), Some(0));
    let error = claimed.claim(&late).await.expect_err("its card is gone");
    assert_eq!(error.kind(), Kind::Fenced);
    let claimed = left.claim(&z.member()).await.expect("no faults").expect("alone");
    assert!(z.inherit(&claimed).await.expect("no faults"));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_asked_first_and_ends_an_adoption() {
    let world = World::new(1);
    let (x, y) = (worker(&world, "x", &[]).await, worker(&world, "y", &[]).await);
    let gone = killed(&world, x).await;
    let left = estate_of(&world, gone).await;
    let claimed = left.claim(&y.member()).await.expect("no faults").expect("the first");
    let again = worker(&world, "x2", &[gone]).await;
    assert!(!y.inherit(&claimed).await.expect("no faults"), "it is there again");
    assert_eq!(peers(&world).await.iter().filter(|p| !p.card.adopted.is_empty()).count(), 0);
    let own = estate_of(&world, again.member().id()).await;
    assert!(own.names(&gone.to_string()));
    assert_eq!(estates(&world).await.len(), 2, "the old one went with the join");
    // One that was adopted, and comes back after all.
    let second = killed(&world, again).await;
    let left = estate_of(&world, second).await;
    let claimed = left.claim(&y.member()).await.expect("no faults").expect("the first");
    assert!(y.inherit(&claimed).await.expect("no faults"));
    let live = LiveSet::follow(store(&world), &world.env, Role::Shuffle).await;
    let live = live.expect("no faults");
    assert_eq!(live.card_of(second).expect("known").address, "y");
    let third = worker(&world, "x3", &[gone, second]).await;
    while live.card_of(second).is_some_and(|card| card.address == "y") {
        live.changed().await;
    }
    assert_eq!(live.card_of(gone).expect("known").address, "x3", "it has more than the adopter");
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_store_that_others_reach_leaves_no_estate() {
    let world = World::new(1);
    let options = SeatOptions { role: Role::Shuffle, card: Card::default(), ttl: TTL };
    let taken = Seat::take(store(&world), world.env.clone(), options, |_| {}).await;
    assert_eq!(estates(&world).await, []);
    drop(taken);
    let x = worker(&world, "x", &[]).await;
    let gone = killed(&world, x).await;
    let left = estate_of(&world, gone).await;
    let seen = Estate { modified: dunlin_base::Revision(1), ..left.clone() };
    seen.forget(&store(&world)).await.expect("no faults");
    assert_eq!(estates(&world).await.len(), 1, "it has changed since");
    left.forget(&store(&world)).await.expect("no faults");
    assert_eq!(estates(&world).await, []);
}
