//! What a door and its clients refuse.

use std::time::Duration;

use dunlin_base::Kind;
use dunlin_proto::shuffle::Push;
use dunlin_proto::wire::{Ask, Hears, Message, RequestId};
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::DoorOptions;

use super::puppet::Puppet;
use super::raw::Raw;
use crate::bed::{LONG, local, me, open, soon, until, workers_at};
use crate::*;

fn push(batch: u32, length: usize) -> Vec<Block> {
    vec![block(1, attempt(0, 0), batch, length)]
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let options = DoorOptions {
        body_max: ByteCount(100_000),
        connection_bytes_max: ByteCount(50_000),
        ..local()
    };
    let door = open(in_memory(1 << 20), options).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    for length in [100_001, 60_000] {
        let refused = error(api.push(push(0, length)).await);
        assert_eq!(refused.kind(), Kind::Exhausted, "{refused}");
    }
    api.push(push(0, 40_000)).await.expect("fits");
    let maps: Vec<_> = (0..200_000).map(|map| attempt(map, 0)).collect();
    assert_eq!(error(read(&api, 1, Some(&maps)).await).kind(), Kind::Exhausted);
    assert_eq!(door.stats().accepted, 1, "nothing of it cost the connection");
}

#[tokio::test]
async fn a_block_that_the_reader_does_not_take_is_an_error_of_its_read() {
    let worker = in_memory(1 << 20);
    worker.push(push(0, 40_000)).await.expect("fits");
    let options = DoorOptions { body_max: ByteCount(10_000), ..local() };
    let door = open(Arc::clone(&worker) as _, options).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let refused = error(read(&api, 1, Some(&[attempt(0, 0)])).await);
    assert_eq!(refused.kind(), Kind::Exhausted, "{refused}");
    api.seal(shuffle(1)).await.expect("the connection stands");
}

#[tokio::test]
async fn pushes_wait_for_their_share_of_the_connection() {
    let puppet = Puppet::new(0);
    let options = DoorOptions { connection_bytes_max: ByteCount(90 * 1024), ..local() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let pushes = (0..50).map(|batch| api.push(push(batch, 20_000)));
    let mut all = Box::pin(futures::future::try_join_all(pushes));
    let env = Env::seeded(1);
    while puppet.waiting() < 4 {
        assert!(env.timeout(Duration::from_millis(1), &mut all).await.is_none());
    }
    assert!(env.timeout(Duration::from_millis(100), &mut all).await.is_none());
    assert_eq!(puppet.waiting(), 4, "the fifth is not even sent");
    assert!(door.stats().bytes_held <= 90 * 1024);
    puppet.gate.add_permits(50);
    soon("all pushes", all).await.expect("taken");
    assert_eq!((door.stats().accepted, door.stats().broken_rules), (1, 0));
}

#[tokio::test]
async fn a_full_door_slows_its_writers_and_stays_alive() {
    let puppet = Puppet::new(0);
    let options = DoorOptions { door_bytes_max: ByteCount(50_000), ..super::hasty_door() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let address = door.address().to_string();
    let clients: Vec<_> = (0..6).map(|_| workers_at(&address, super::hasty())).collect();
    let apis: Vec<_> =
        clients.iter().map(|workers| workers.connect(me()).expect("known")).collect();
    let pushes = apis.iter().map(|api| api.push(push(0, 20_000)));
    let mut all = Box::pin(futures::future::try_join_all(pushes));
    let env = Env::seeded(1);
    // Longer than the silence that either side bears.
    assert!(env.timeout(Duration::from_millis(1500), &mut all).await.is_none());
    assert_eq!(puppet.waiting(), 2, "no room for more");
    assert!(door.stats().bytes_held <= 50_000);
    puppet.gate.add_permits(6);
    soon("all pushes", all).await.expect("taken in turn");
    until("room", || door.stats().bytes_held == 0).await;
    assert_eq!(door.stats().accepted, 6, "nobody was taken for dead");
}

#[tokio::test]
async fn clients_that_exceed_their_terms_lose_the_connection() {
    for reads in [false, true] {
        let puppet = Puppet::new(0);
        let options = DoorOptions { calls_max: 10, reads_max: 10, ..local() };
        let door = open(Arc::clone(&puppet) as _, options).await;
        let (mut raw, welcome) = Raw::greeted(&door.address().to_string()).await;
        assert_eq!((welcome.terms.calls_max, welcome.terms.reads_max), (10, 10));
        for id in 0..30 {
            let ask = match reads {
                true => Ask::Read(request(0, None), 0),
                false => Ask::Push(Push::plain(push(0, 10)), Hears::Pushed),
            };
            // The door may have closed already.
            drop(raw.say(&Message::Ask(RequestId(id), ask)).await);
        }
        soon("the end", raw.last_word()).await;
        until("the end", || door.stats().connections == 0).await;
        assert_eq!((door.stats().broken_rules, door.stats().requests), (1, 0));
        until("all dropped", || puppet.reads() == 0 && puppet.waiting() == 0).await;
    }
}

#[tokio::test]
async fn too_many_connections_are_turned_away_and_silent_ones_end() {
    let options = DoorOptions { connections_max: 3, ..super::hasty_door() };
    let door = open(in_memory(1 << 20), options).await;
    let address = door.address().to_string();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Raw::connect(&address).await);
    }
    until("all three", || door.stats().connections == 3).await;
    let mut fourth = Raw::connect(&address).await;
    assert!(soon("the end", fourth.hear()).await.is_err());
    assert_eq!(door.stats().turned_away, 1);
    until("the silent ones to end", || door.stats().connections == 0).await;
    assert_eq!(door.stats().not_greeted, 3);
    let workers = workers_at(&address, TcpOptions::default());
    workers.connect(me()).expect("known").seal(shuffle(1)).await.expect("room again");
}

#[tokio::test]
async fn a_frame_that_trickles_is_not_waited_for() {
    let door = open(in_memory(1 << 20), super::hasty_door()).await;
    let (mut raw, _) = Raw::greeted(&door.address().to_string()).await;
    let ask = Message::Ask(RequestId(1), Ask::Push(Push::plain(push(0, 60_000)), Hears::Pushed));
    let bytes = super::raw::bytes_of(&ask);
    let env = raw.env.clone();
    let trickle = async {
        for byte in bytes {
            // Never silent for long, and never done.
            if raw.say_bytes(vec![byte]).await.is_err() {
                return;
            }
            env.sleep(Duration::from_millis(100)).await;
        }
    };
    env.timeout(LONG, trickle).await.expect("the door closes it");
    until("room", || door.stats().bytes_held == 0).await;
}
