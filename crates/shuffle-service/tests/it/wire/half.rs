//! Pushes whose connection ends in the middle of a frame: nothing of the frame is stored, and the same
//! push over another connection is.

use dunlin_proto::shuffle::Push;
use dunlin_proto::wire::{Ask, Hears, Message, RequestId};
use dunlin_shuffle::{TcpOptions, Workers};

use super::hasty_door;
use super::proxy::{Mishap, Plan, Proxy, Way};
use super::raw::{Raw, bytes_of};
use crate::bed::{local, me, open, soon, until, workers_at};
use crate::*;

const MAP: MapAttempt = MapAttempt { map: 0, attempt: Attempt(0) };

/// One push with blocks of several partitions, one of them empty.
fn blocks() -> Vec<Block> {
    [(1, 300), (2, 0), (3, 40_000), (1, 7)]
        .into_iter()
        .enumerate()
        .map(|(batch, (partition, length))| block(partition, MAP, batch as u32, length))
        .collect()
}

fn frame() -> Vec<u8> {
    bytes_of(&Message::Ask(RequestId(1), Ask::Push(Push::plain(blocks()), Hears::Pushed)))
}

/// Every place in the head and around the ends of the blocks, and some in between.
fn cuts() -> Vec<usize> {
    let length = frame().len();
    let near = [0, 300, 40_300, 40_307].map(|body| length - 40_307 + body);
    let near = near.into_iter().flat_map(|at| at.saturating_sub(2)..=at + 2);
    let mut cuts: Vec<_> = (0..length - 40_307).step_by(7).chain(near).collect();
    cuts.extend((0..length).step_by(5000));
    cuts.retain(|at| *at < length);
    cuts
}

#[tokio::test]
async fn nothing_of_a_frame_that_is_cut_is_stored() {
    let worker = in_memory(1 << 20);
    let door = open(Arc::clone(&worker) as _, hasty_door()).await;
    let address = door.address().to_string();
    let frame = frame();
    for at in cuts() {
        let (mut raw, _) = Raw::greeted(&address).await;
        raw.say_bytes(frame[..at].to_vec()).await.expect("open");
        drop(raw);
        until("the end", || door.stats().connections == 0).await;
        let stats = worker.stats();
        assert_eq!((stats.blocks, stats.memory_bytes, stats.pushes), (0, 0, 0), "cut at {at}");
        assert_eq!((door.stats().bytes_held, door.stats().requests), (0, 0), "cut at {at}");
    }
    // The last byte makes it a push, whether or not anybody waits for the answer.
    let (mut raw, _) = Raw::greeted(&address).await;
    raw.say_bytes(frame).await.expect("open");
    until("the push", || worker.stats().pushes == 1).await;
    drop(raw);
    assert_eq!(worker.stats().blocks, 4);
}

#[tokio::test]
async fn the_same_push_over_the_next_connection_is_stored_once() {
    for at in [150, 300, 700, 20_000, 40_500] {
        let worker = in_memory(1 << 20);
        let door = open(Arc::clone(&worker) as _, hasty_door()).await;
        let plan = Plan { way: Way::ToDoor, at, mishap: Mishap::Cut, connections: 1 };
        let proxy = Proxy::start(&door.address().to_string(), plan).await;
        let workers = workers_at(proxy.address(), TcpOptions::default());
        let api = workers.connect(me()).expect("known");
        soon("the push", api.push(blocks())).await.expect("the second try");
        assert_eq!(proxy.connections(), 2, "cut at {at}");
        let stats = worker.stats();
        assert_eq!((stats.pushes, stats.blocks, stats.duplicates), (1, 4, 0), "cut at {at}");
        for partition in 1..=3 {
            let due: Vec<_> =
                blocks().into_iter().filter(|block| block.id.partition.0 == partition).collect();
            let found = read(&api, partition, Some(&[MAP])).await.expect("all there");
            assert!(same(&found, &due), "cut at {at}: partition {partition}");
        }
    }
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_stored_once() {
    // The greeting arrives, and nothing of the answer.
    let worker = in_memory(1 << 20);
    let door = open(Arc::clone(&worker) as _, local()).await;
    let (_greeted, welcome) = Raw::greeted(&door.address().to_string()).await;
    let at = bytes_of(&Message::Welcome(welcome)).len();
    let plan = Plan { way: Way::ToClient, at, mishap: Mishap::Cut, connections: 1 };
    let proxy = Proxy::start(&door.address().to_string(), plan).await;
    let workers = workers_at(proxy.address(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    soon("the push", api.push(blocks())).await.expect("the second try");
    let stats = worker.stats();
    assert_eq!((stats.pushes, stats.blocks, stats.duplicates), (2, 4, 4));
    let found = read(&api, 3, Some(&[MAP])).await.expect("all there");
    assert!(same(&found, &[blocks()[2].clone()]));
}
