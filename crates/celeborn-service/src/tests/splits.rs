//! Locations that are large, or on a worker that goes.

use dunlin_celeborn::location::Location;
use dunlin_celeborn::push::{PushReply, Split};

use super::bed::{Bed, Driver, batch};

const ALL: (i32, i32) = (0, i32::MAX);

async fn driver(bed: &Bed, threshold: i64, hard: bool) -> Driver {
    let driver = Driver::new(bed).await;
    let locations = driver.slots(2, false).await;
    driver.reserve(&locations, threshold, hard).await;
    driver
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_split_stores_and_says_so() {
    let bed = Bed::new(1, 8 << 20).await;
    let driver = driver(&bed, 1000, false).await;
    let push = async |number| driver.push(0, batch(0, number, 800)).await.expect("answered");
    assert_eq!((push(0).await, push(1).await), (PushReply::Stored, PushReply::Stored));
    assert_eq!(push(2).await, PushReply::Split(Split::Soft));
    let merged = [(1, batch(0, 0, 10)), (0, batch(0, 3, 10))];
    let reply = driver.push_merged(&merged).await.expect("answered");
    assert_eq!(reply, PushReply::SplitEntries(vec![(1, Split::Soft)]));
    let next = driver.location(0);
    let mut copy = next.copy.clone();
    copy.partition.epoch += 1;
    driver.reserve(&[Location { copy, peer: None }], 1000, false).await;
    assert_eq!(driver.push(0, batch(0, 4, 10)).await.expect("answered"), PushReply::Stored);
    let worker = driver.location(0).copy.worker;
    let read = async |file| driver.read(&worker, file, ALL).await.expect("here").concat().len();
    assert_eq!((read("0-0-0").await, read("0-1-0").await), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_split_stores_nothing() {
    let bed = Bed::new(1, 8 << 20).await;
    let driver = driver(&bed, 1000, true).await;
    driver.push(0, batch(0, 0, 1200)).await.expect("stored");
    let reply = driver.push(0, batch(0, 1, 10)).await.expect("answered");
    assert_eq!(reply, PushReply::Split(Split::Hard));
    let merged = [(0, batch(0, 2, 10)), (1, batch(0, 0, 10))];
    let reply = driver.push_merged(&merged).await.expect("answered");
    assert_eq!(reply, PushReply::SplitEntries(vec![(0, Split::Hard)]));
    let worker = driver.location(0).copy.worker;
    let read = async |file| driver.read(&worker, file, ALL).await.expect("here").concat().len();
    assert_eq!((read("0-0-0").await, read("1-0-0").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_takes_nothing_and_serves_reads() {
    let bed = Bed::new(1, 8 << 20).await;
    let driver = driver(&bed, 1000, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    bed.workers[0].1.drain();
    let reply = driver.push(0, batch(0, 1, 10)).await.expect("answered");
    assert_eq!(reply, PushReply::Split(Split::Hard));
    let worker = driver.location(0).copy.worker;
    assert_eq!(driver.read(&worker, "0-0-0", ALL).await.expect("here").concat().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_room_says_that_it_cannot_write() {
    let bed = Bed::new(1, 64 << 10).await;
    let driver = driver(&bed, 1 << 30, false).await;
    driver.push(0, batch(0, 0, 40 << 10)).await.expect("stored");
    let failure = driver.push(0, batch(0, 1, 40 << 10)).await.expect_err("no room");
    assert!(failure.starts_with("PUSH_DATA_WRITE_FAIL_PRIMARY"), "{failure}");
}
