//! What went wrong with other servers of this protocol, each a test of ours. The numbers are those of
//! the issues in the public tracker of Apache Celeborn. 980 (an exchange that is used twice loses its
//! data) is the case `reused-exchange` with Spark, 3725 is `./dev compat` and the chaos of tiers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::ByteCount;
use dunlin_celeborn::batch::BatchHeader;
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::pb;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_celeborn::rpc::endpoint;
use dunlin_celeborn::status::StatusCode;
use dunlin_shuffle_service::{DiskOptions, ObjectOptions, Options, ShuffleWorker, Tier, WhenFull};
use object_store::memory::InMemory;

use super::bed::{APP, Bed, ask, batch};

const ALL: (i32, i32) = (0, i32::MAX);
const SOON: Duration = Duration::from_secs(10);

/// 1948: a split that only the second worker asks for is heard by the client. Its copy was committed
/// already; the first one's is still open.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_of_the_second_copy_is_heard() {
    let bed = Bed::new(2, 8 << 20).await;
    let driver = bed.driver(1, true).await;
    assert_eq!(driver.push(0, batch(0, 0, 200)).await.expect("stored"), PushReply::Stored);
    driver.commit(Mode::Replica, &[0], 1).await;
    let second = driver.push(0, batch(0, 1, 10)).await.expect("answered");
    assert_eq!(second, PushReply::Split(Split::Hard));
}

/// 1233: a worker that crashed and is back on its ports has lost its data. Neither a commit nor a
/// reader may take that for no data.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_data_says_so() {
    let mut bed = Bed::new(0, 0).await;
    let core = || {
        let core = ShuffleWorker::new(Options::new(ByteCount(8 << 20)), bed.env.clone());
        core.expect("no folder to fail")
    };
    let (old, new) = (core(), core());
    let id = bed.add(old, [0; 4]).await;
    let driver = bed.driver(2, false).await;
    for partition in 0..2 {
        driver.push(partition, batch(0, 0, 500)).await.expect("stored");
    }
    driver.commit(Mode::Primary, &[0], 1).await;
    drop(bed.workers.remove(0));
    bed.seen.0.lock().clear();
    let ports = [id.rpc_port, id.push_port, id.fetch_port, id.replicate_port];
    wait_for_ports(&bed, &ports).await;
    assert_eq!(bed.add(new, ports).await, id, "the same worker to clients");
    driver.read(&id, "0-0-0", ALL).await.expect_err("committed, and lost");
    driver.read(&id, "1-0-0", ALL).await.expect_err("stored, and lost");
    let committed = driver.commit(Mode::Primary, &[1], 2).await.remove(0);
    assert_ne!(committed.status, StatusCode::Success.number());
    assert_eq!(committed.failed_primary_ids, ["1-0"]);
    driver.push(1, batch(0, 1, 10)).await.map(|reply| assert_ne!(reply, PushReply::Stored)).ok();
}

async fn wait_for_ports(bed: &Bed, ports: &[u16]) {
    let free = async {
        for port in ports {
            while crate::net::Bound::bind(&bed.env, &format!("127.0.0.1:{port}")).await.is_err() {
                bed.env.sleep(Duration::from_millis(20)).await;
            }
        }
    };
    bed.env.timeout(SOON, free).await.expect("the ports of a server that has gone are free");
}

/// 2460: a shuffle that was unregistered under a reader is an error to it, not a shuffle without rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_shuffle_that_went_is_not_an_empty_one() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(2, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    driver.commit(Mode::Primary, &[0, 1], 1).await;
    let (worker, _) = &bed.workers[0];
    let unregister = pb::UnregisterShuffle { app_id: APP.to_owned(), ..Default::default() };
    ask(&driver.master, endpoint::MASTER, unregister).await.expect("gone");
    worker.clean().await.expect("looked");
    worker.clean().await.expect("looked");
    for file in ["0-0-0", "1-0-0"] {
        driver.read(worker.id(), file, ALL).await.expect_err(file);
    }
    let committed = driver.commit(Mode::Primary, &[1], 2).await.remove(0);
    assert_eq!(committed.status, StatusCode::ShuffleUnregistered.number());
}

/// 2064: a second copy into which nobody wrote is opened at once, and has no chunk to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_second_copy_keeps_no_reader() {
    let bed = Bed::new(2, 1 << 20).await;
    let driver = bed.driver(1, true).await;
    let peer = driver.location(0).peer.expect("two copies").worker;
    let committed = driver.commit(Mode::Replica, &[0], 1).await.remove(0);
    assert_eq!((committed.status, committed.committed_replica_ids.len()), (0, 0));
    let read = bed.env.timeout(SOON, driver.read(&peer, "0-0-1", ALL)).await;
    assert!(read.expect("at once").expect("reserved").is_empty());
}

/// 1496: rows of two attempts of a map lie side by side, each batch with the attempt that it is of, so
/// that readers take those of the one that the driver names.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_do_not_mix() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    for attempt in [0, 1, 0, 1] {
        let header = BatchHeader { map: 3, attempt, batch: 0, len: 4 };
        let body: Bytes = [&header.encode()[..], &attempt.to_le_bytes()].concat().into();
        assert_eq!(driver.push(0, body).await.expect("stored"), PushReply::Stored);
    }
    driver.commit(Mode::Primary, &[0], 1).await;
    let read = driver.read(bed.workers[0].0.id(), "0-0-0", ALL).await.expect("here").concat();
    let attempts: Vec<_> = read.iter().map(|header| (header.map, header.attempt)).collect();
    assert!(attempts.contains(&(3, 0)) && attempts.contains(&(3, 1)), "{attempts:?}");
    assert_eq!(read.len(), 2, "a repeat is stored once");
}

/// 2142: disks and an object store together, and more data than memory and disks have room for.
#[tokio::test(flavor = "multi_thread")]
async fn disks_and_objects_together_lose_nothing() {
    for when_full in [WhenFull::WriteOn, WhenFull::Evict] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bed = Bed::new(0, 0).await;
        let store = Arc::new(InMemory::new());
        let disk = DiskOptions {
            reserve: ByteCount(0),
            capacity: Some(ByteCount(1 << 20)),
            ..DiskOptions::new(folder.path())
        };
        let options = Options {
            disks: vec![disk],
            tiers: vec![Tier::Disks, Tier::Objects],
            when_full,
            objects: Some(ObjectOptions::new(store, "", "one")),
            ..Options::new(ByteCount(1 << 20))
        };
        let core = ShuffleWorker::new(options, bed.env.clone()).expect("a usable folder");
        let id = bed.add(core, [0; 4]).await;
        let driver = bed.driver(1, false).await;
        for number in 0..60 {
            let reply = driver.push(0, batch(number % 3, number, 100_000)).await;
            let stored = [PushReply::Stored, PushReply::StoredButCongested];
            assert!(stored.contains(&reply.expect("there is room")), "{number}");
        }
        driver.commit(Mode::Primary, &[0], 1).await;
        let read = driver.read(&id, "0-0-0", ALL).await.expect("all of it").concat();
        let numbers: Vec<_> = read.iter().map(|header| header.batch).collect();
        assert_eq!(numbers, (0..60).collect::<Vec<_>>(), "{when_full:?}");
    }
}
