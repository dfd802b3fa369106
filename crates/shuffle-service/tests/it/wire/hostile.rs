//! Clients that send anything: the door closes their connections and serves the others.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use dunlin_base::Kind;
use dunlin_proto::shuffle::Push;
use dunlin_proto::wire::{Answer, Ask, HEADER_LEN_MAX, Hears, Message, Preamble, RequestId};
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::{Door, DoorOptions};
use futures::{StreamExt, stream};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::raw::{Raw, bytes_of, hello};
use crate::bed::{local, me, open, soon, until, workers_at};
use crate::*;

const SEEDS: u64 = 3000;

fn random_bytes(random: &mut SmallRng, max: usize) -> Vec<u8> {
    let length = random.random_range(0..=max);
    (0..length).map(|_| random.random()).collect()
}

/// A frame that a client may send, with small numbers for ids so that they meet.
fn frame(random: &mut SmallRng) -> Vec<u8> {
    let id = RequestId(random.random_range(0..4));
    let of = attempt(random.random_range(0..3), 0);
    let maps = [of, attempt(1, 1)];
    let message = match random.random_range(0..9) {
        0 => Message::Ask(
            id,
            Ask::Push(
                Push::plain(vec![block(9, of, random.random_range(0..5), 40)]),
                Hears::Pushed,
            ),
        ),
        1 => Message::Ask(id, Ask::Read(request(9, Some(&maps)), random.random_range(0..2000))),
        2 => Message::Ask(id, Ask::Read(request(9, None), u64::MAX)),
        3 => Message::Credit(id, random.random()),
        4 => Message::Cancel(id),
        5 => Message::Ask(id, Ask::Shuffles),
        6 => Message::Ask(id, Ask::Seal(shuffle(u128::from(random.random_range(50..60_u32))))),
        7 => Message::Ask(id, Ask::Discard(shuffle(3), of)),
        _ => Message::Ping,
    };
    bytes_of(&message)
}

/// What a hostile client sends, by seed.
fn attack(seed: u64) -> Vec<u8> {
    let random = &mut SmallRng::seed_from_u64(seed);
    let mut bytes = if seed.is_multiple_of(4) { Vec::new() } else { bytes_of(&hello(me())) };
    match seed % 7 {
        // Anything.
        0 => bytes.extend(random_bytes(random, 300)),
        // A head that promises a lot.
        1 => {
            let kind = random.random_range(60..105);
            let (header_len, body_len) = (random.random::<u32>(), random.random::<u32>());
            let shift = random.random_range(0..32);
            let head =
                Preamble { header_len: header_len >> shift, kind, body_len: body_len >> shift };
            bytes.extend(head.encode());
            bytes.extend(random_bytes(random, 300));
        }
        // Good frames, then one that is cut.
        2 => {
            (0..random.random_range(0..6)).for_each(|_| bytes.extend(frame(random)));
            let last = frame(random);
            bytes.extend(&last[..random.random_range(0..last.len())]);
        }
        // Good frames with a few changed bytes.
        3 | 4 => {
            (0..random.random_range(1..6)).for_each(|_| bytes.extend(frame(random)));
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
        }
        // Frames of the other side, or at the wrong time.
        5 => {
            let wrong = [
                Message::Answer(RequestId(1), Answer::Done),
                Message::Answer(RequestId(1), Answer::Blocks(vec![block(1, attempt(0, 0), 0, 9)])),
                Message::Goodbye(Error::bug("you")),
                hello(me()),
            ];
            (0..random.random_range(0..3)).for_each(|_| bytes.extend(frame(random)));
            bytes.extend(bytes_of(&wrong[random.random_range(0..wrong.len())]));
            bytes.extend(frame(random));
        }
        // Only good frames, but ids meet, and nobody reads the answers.
        _ => (0..random.random_range(1..40)).for_each(|_| bytes.extend(frame(random))),
    }
    bytes
}

async fn attack_with(address: &str, seed: u64) {
    let mut raw = Raw::connect(address).await;
    // The door may close in the middle of it.
    drop(raw.say_bytes(attack(seed)).await);
    if seed.is_multiple_of(2) {
        raw.writer.shutdown().await;
        soon(&format!("seed {seed}"), raw.last_word()).await;
    }
}

/// A client that behaves, all the while.
async fn serve_one(door: &Door, stop: &AtomicBool) -> usize {
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let (map, mut batch) = (attempt(7, 0), 0);
    while !stop.load(SeqCst) {
        let push = api.push(vec![block(1, map, batch, 1000)]);
        soon("a good push", push).await.expect("served");
        batch += 1;
        if batch.is_multiple_of(10) {
            let rows = soon("a good read", read(&api, 1, Some(&[map]))).await.expect("served");
            assert_eq!(rows.len(), batch as usize);
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(workers.connections(), 1);
    batch as usize
}

#[tokio::test]
async fn thousands_of_hostile_clients_hurt_only_themselves() {
    let options = DoorOptions { connection_bytes_max: ByteCount::mib(1), ..local() };
    let door = open(in_memory(64 << 20), options).await;
    let address = door.address().to_string();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let attacks = async {
        let attacks = stream::iter(0..SEEDS).map(|seed| attack_with(&address, seed));
        let mut attacks = attacks.buffer_unordered(32);
        while attacks.next().await.is_some() {
            done.fetch_add(1, SeqCst);
        }
        until("the end of the hostile ones", || door.stats().connections <= 1).await;
        stop.store(true, SeqCst);
    };
    let (good, ()) = tokio::join!(serve_one(&door, &stop), attacks);
    assert!(good > 10, "{good} good pushes");
    assert_eq!(done.load(SeqCst), SEEDS as usize);
    until("nobody", || door.stats().connections == 0).await;
    let stats = door.stats();
    assert_eq!((stats.requests, stats.bytes_held), (0, 0), "{stats:?}");
    assert!(stats.broken_rules > 300 && stats.not_greeted > 300, "{stats:?}");
}

#[tokio::test]
async fn lengths_are_not_believed() {
    let door = open(in_memory(1 << 20), local()).await;
    let address = door.address().to_string();
    let heads = [
        (u32::MAX, 80, 0),
        (HEADER_LEN_MAX as u32 + 1, 80, 0),
        (7, 80, 0),
        (100, 80, u32::MAX),
        (100, 82, 1),
        (100, 3, 0),
        (100, 255, 0),
    ];
    for (header_len, kind, body_len) in heads {
        let (mut raw, _) = Raw::greeted(&address).await;
        let head = Preamble { header_len, kind, body_len };
        raw.say_bytes(head.encode().to_vec()).await.expect("open");
        match soon("the end", raw.last_word()).await {
            Some(Message::Goodbye(error)) => assert_eq!(error.kind(), Kind::Invalid, "{error}"),
            other => panic!("{head:?}: {other:?}"),
        }
    }
    until("the count", || door.stats().broken_rules == heads.len() as u64).await;
    assert_eq!(door.stats().bytes_received, 0);
}

#[tokio::test]
async fn who_asks_and_never_reads_is_let_go() {
    let door = open(super::puppet::Puppet::new(0), local()).await;
    let (mut raw, _) = Raw::greeted(&door.address().to_string()).await;
    let asking = async {
        for id in 0.. {
            // Each list is 240 KB.
            if raw.say(&Message::Ask(RequestId(id), Ask::Shuffles)).await.is_err() {
                break;
            }
        }
    };
    soon("the door's patience", asking).await;
    until("the end", || door.stats().connections == 0).await;
    assert_eq!(door.stats().requests, 0);
}
