//! A reader gets what it granted and no more, and holds nobody else up.

use std::time::Duration;

use dunlin_base::Kind;
use dunlin_proto::wire::{Answer, Ask, Message, RequestId, block_size};
use dunlin_shuffle::{TcpOptions, Workers};
use futures::{StreamExt, TryStreamExt};

use super::puppet::{BODY, Puppet};
use super::raw::Raw;
use crate::bed::{Bed, Over, local, me, open, soon, until, workers_at};
use crate::*;

const ONE: RequestId = RequestId(1);
const SIZE: u64 = 72 + BODY as u64;

async fn blocks(raw: &mut Raw) -> usize {
    match soon("an answer", raw.hear()).await.expect("open") {
        Message::Answer(ONE, Answer::Blocks(blocks)) => blocks.len(),
        other => panic!("{other:?}"),
    }
}

async fn wants(raw: &mut Raw) -> u64 {
    match soon("an answer", raw.hear()).await.expect("open") {
        Message::Answer(ONE, Answer::Want(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_grants_nothing_gets_nothing_and_costs_nothing() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let (mut raw, _) = Raw::greeted(&door.address().to_string()).await;
    let read = Ask::Read(request(0, Some(&[attempt(0, 0)])), 0);
    raw.say(&Message::Ask(ONE, read)).await.expect("open");
    let opened = soon("an answer", raw.hear()).await.expect("open");
    assert!(matches!(opened, Message::Answer(ONE, Answer::Opened)));
    assert!(raw.hears_nothing(Duration::from_millis(200)).await);
    assert_eq!((puppet.given(), puppet.reads()), (0, 1), "nothing is even looked up");
}

#[tokio::test]
async fn blocks_come_exactly_as_far_as_the_credit_reaches() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let (mut raw, _) = Raw::greeted(&door.address().to_string()).await;
    let read = Ask::Read(request(0, Some(&[attempt(0, 0)])), 3 * SIZE - 1);
    raw.say(&Message::Ask(ONE, read)).await.expect("open");
    soon("an answer", raw.hear()).await.expect("opened");
    let mut got = 0;
    while got < 2 {
        got += blocks(&mut raw).await;
    }
    assert_eq!(got, 2);
    assert_eq!(wants(&mut raw).await, SIZE, "the third lacks one byte");
    raw.say(&Message::Credit(ONE, 1)).await.expect("open");
    assert_eq!(blocks(&mut raw).await, 1);
    // At zero it does not look further, so it wants nothing.
    raw.say(&Message::Credit(ONE, 1)).await.expect("open");
    assert_eq!(wants(&mut raw).await, SIZE);
    assert!(puppet.given() <= 5, "{} looked up", puppet.given());
    // More than there can be does no harm.
    for _ in 0..2 {
        raw.say(&Message::Credit(ONE, u64::MAX)).await.expect("open");
    }
    assert!(blocks(&mut raw).await > 0);
    raw.say(&Message::Cancel(ONE)).await.expect("open");
    let end = async {
        loop {
            if let Message::Answer(ONE, Answer::Failed(error)) = raw.hear().await.expect("open") {
                break error;
            }
        }
    };
    assert_eq!(soon("the end", end).await.kind(), Kind::Retry);
    until("the end of the read", || puppet.reads() == 0).await;
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_its_window_and_nobody_up() {
    let puppet = Puppet::new(1000);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let options = TcpOptions { read_window: ByteCount(10 * SIZE), ..TcpOptions::default() };
    let workers = workers_at(&door.address().to_string(), options);
    let api = workers.connect(me()).expect("known");
    let mut still = Vec::new();
    for _ in 0..20 {
        still.push(api.read(request(0, Some(&[attempt(0, 0)]))).await.expect("opens"));
    }
    // Each gives its whole window; peeking finds one more.
    until("all windows full", || puppet.given() >= 20 * 10).await;
    for batch in 0..200 {
        let push = api.push(vec![block(1, attempt(0, 0), batch, 10_000)]);
        soon("a push beside reads that stand still", push).await.expect("taken");
    }
    assert!(puppet.given() <= 20 * 11, "{} looked up", puppet.given());
    assert_eq!(workers.connections(), 1);
    // They go on where they stood.
    for stream in &mut still {
        let some: Vec<_> = stream.by_ref().take(35).try_collect().await.expect("goes on");
        let expected: Vec<_> = (0..35).map(|batch| block(0, attempt(0, 0), batch, BODY)).collect();
        assert!(same(&some, &expected));
    }
    assert!(puppet.given() <= 20 * (35 + 11), "{} looked up", puppet.given());
}

#[tokio::test]
async fn blocks_larger_than_the_window_come_one_by_one() {
    let worker = in_memory(64 << 20);
    let door = open(Arc::clone(&worker) as _, local()).await;
    for window in [1, 1000, 40_000, 8 << 20] {
        let options = TcpOptions { read_window: ByteCount(window), ..TcpOptions::default() };
        let workers = workers_at(&door.address().to_string(), options);
        let api = workers.connect(me()).expect("known");
        let map = attempt(0, 0);
        let lengths = [0, 5_000_000, 10, 100_000, 0, 700];
        let all: Vec<_> = (0..).zip(lengths).map(|(n, length)| block(1, map, n, length)).collect();
        assert!(all.iter().map(block_size).sum::<u64>() > 5_000_000);
        api.push(all.clone()).await.expect("fits");
        let read = soon("the read", read(&api, 1, Some(&[map]))).await.expect("whole");
        assert!(same(&read, &all), "window {window}");
    }
}

#[tokio::test]
async fn bodies_arrive_aligned_for_arrow() {
    let bed = Bed::in_memory(Over::Tcp, 1 << 20).await;
    let map = attempt(0, 0);
    let all = (0..20).map(|n| block(1, map, n, 160 + 16 * n as usize)).collect();
    bed.api.push(all).await.expect("fits");
    for block in read(&bed.api, 1, Some(&[map])).await.expect("whole") {
        assert_eq!(block.body.as_ptr().align_offset(16), 0, "{}", block.place());
    }
}
