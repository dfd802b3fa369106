//! What members say of themselves while they live, and what others may rely on.

use std::sync::Arc;

use dunlin_base::Kind;
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use dunlin_queue::{Member, Peer, Role};
use prost::Message;

use crate::world::{TTL, World};

async fn member(world: &World, slots: u32) -> Member {
    let card = Card { slots, ..Card::default() }.encode_to_vec().into();
    let store: StoreRef = Arc::new(world.store.clone());
    let joined = Member::join(store, world.env.clone(), Role::Executor, card, TTL).await;
    joined.expect("no faults")
}

async fn peers(world: &World) -> Vec<Peer> {
    let store: StoreRef = Arc::new(world.store.clone());
    Peer::all(&store, Role::Executor).await.expect("no faults")
}

fn of<'a>(peers: &'a [Peer], member: &Member) -> &'a Peer {
    peers.iter().find(|peer| peer.id == member.id()).expect("it has a card")
}

#[tokio::test(start_paused = true)]
async fn of_two_that_leave_because_the_other_stays_one_is_told_that_it_does_not() {
    let world = World::new(1);
    let (one, two) = (member(&world, 1).await, member(&world, 2).await);
    let seen = peers(&world).await;
    let leaving = |member: &Member| Card { leaving: true, ..of(&seen, member).card.clone() };
    let left = one.rewrite(&leaving(&one), Some(of(&seen, &two))).await;
    assert!(left.expect("no faults"));
    let left = two.rewrite(&leaving(&two), Some(of(&seen, &one))).await;
    assert!(!left.expect("no faults"), "the first one leaves");
    let now = peers(&world).await;
    let said = |member: &Member| of(&now, member).card.clone();
    assert_eq!((said(&one).leaving, said(&one).slots), (true, 1));
    assert_eq!((said(&two).leaving, said(&two).slots), (false, 2));
    // It is the same life as before, and ends as before.
    let key = format!("ex/{}", one.id());
    let entry = dunlin_metadata::Store::get(&world.store, &key).await.expect("no faults");
    let entry = entry.expect("it has a card");
    assert_eq!(entry.created, one.fence());
    assert!(entry.lease.is_some());
    one.leave().await.expect("no faults");
    let left = two.rewrite(&leaving(&two), Some(of(&now, &one))).await;
    assert!(!left.expect("no faults"), "it has gone");
    let error = one.rewrite(&leaving(&one), None).await.expect_err("it has no card");
    assert_eq!(error.kind(), Kind::Fenced, "{error}");
    assert!(two.rewrite(&leaving(&two), None).await.expect("no faults"));
}
