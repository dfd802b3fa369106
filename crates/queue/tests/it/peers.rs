//! What members say of themselves while they live, and what others may rely on.

use std::sync::Arc;

use dunlin_base::Kind;
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use dunlin_queue::{Member, Peer, Role, Seat, SeatOptions, Want, Wish};
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

async fn seat(world: &World) -> Seat {
    let store: StoreRef = Arc::new(world.store.clone());
    let card = Card { slots: 1, ..Card::default() };
    let options = SeatOptions { role: Role::Shuffle, card, ttl: TTL };
    Seat::take(store, world.env.clone(), options, |_| ()).await.expect("no faults")
}

async fn workers(world: &World) -> Vec<Peer> {
    let store: StoreRef = Arc::new(world.store.clone());
    Peer::all(&store, Role::Shuffle).await.expect("no faults")
}

#[tokio::test(start_paused = true)]
async fn what_a_seat_says_is_said_by_its_next_life_too_unless_another_has_changed() {
    let world = World::new(1);
    let (one, two) = (seat(&world).await, seat(&world).await);
    let slots = |of: &[Peer], seat: &Seat| {
        let id = seat.member().id();
        of.iter().find(|peer| peer.id == id).map(|peer| peer.card.slots)
    };
    assert!(one.say(|card| card.slots = 5, None).await.expect("no faults"));
    let seen = workers(&world).await;
    assert_eq!((slots(&seen, &one), slots(&seen, &two)), (Some(5), Some(1)));
    let other = seen.iter().find(|peer| peer.id == two.member().id());
    assert!(two.say(|card| card.slots = 6, None).await.expect("no faults"));
    assert!(!one.say(|card| card.slots = 7, other).await.expect("no faults"), "it has changed");
    assert_eq!(slots(&workers(&world).await, &one), Some(5), "and nothing was said");
    let first = one.member();
    first.leave().await.expect("no faults");
    let again = async {
        while one.member().id() == first.id() {
            world.env.sleep(TTL / 10).await;
        }
    };
    world.env.timeout(TTL * 10, again).await.expect("it joins again");
    let now = workers(&world).await;
    assert_eq!(slots(&now, &one), Some(5));
    let own = now.iter().find(|peer| peer.id == one.member().id()).expect("it has a card");
    assert_eq!(own.card.former, [first.id().to_string()]);
    assert_eq!(one.lives(), [first.id().to_string(), one.member().id().to_string()]);
}

#[tokio::test(start_paused = true)]
async fn the_last_wish_for_any_life_of_a_worker_counts_until_it_is_forgotten() {
    let world = World::new(1);
    let store: StoreRef = Arc::new(world.store.clone());
    let (one, two) = (seat(&world).await, seat(&world).await);
    let of = async |seat: &Seat| Wish::of(&store, &seat.lives()).await.expect("no faults");
    let wish = |drain| {
        let want = if drain { Want::Leave } else { Want::Stay };
        Wish { want, since_unix_ms: 7 }
    };
    assert_eq!(of(&one).await, None);
    assert!(wish(true).say(&store, one.member().id()).await.expect("no faults"));
    assert_eq!((of(&one).await, of(&two).await), (Some(wish(true)), None));
    assert!(wish(false).say(&store, one.member().id()).await.expect("no faults"));
    assert_eq!(of(&one).await, Some(wish(false)));
    let gone = two.member().id();
    assert!(wish(true).say(&store, gone).await.expect("no faults"));
    two.leave().await.expect("no faults");
    assert!(!wish(true).say(&store, gone).await.expect("no faults"), "it has gone");
    Wish::forget_others(&store, &one.lives()).await.expect("no faults");
    assert_eq!((of(&one).await, of(&two).await), (Some(wish(false)), None));
    Wish::forget(&store, &one.lives()).await.expect("no faults");
    assert_eq!(of(&one).await, None);
}
