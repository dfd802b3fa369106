//! What is on its way is bounded, and who takes nothing holds nobody else up.

use std::time::Duration;

use dunlin_base::ProcessId;
use dunlin_proto::shuffle::{Push, Pushed};
use dunlin_proto::wire::{Ask, Message, RequestId};
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::{Door, DoorOptions, TransitStats};

use super::puppet::Puppet;
use super::raw::Raw;
use crate::bed::{local, me, open, soon, until, workers_at};
use crate::*;

/// Bytes of a body, and how many of them a partition has.
const LENGTH: usize = 50_000;
const BLOCKS: u32 = 200;

/// Readers that read nothing.
const STUCK: usize = 64;

fn reads(worker: &ShuffleWorker) -> TransitStats {
    worker.stats().transit[0]
}

/// A worker with a partition on its disk, and its door.
async fn stored(
    folder: &std::path::Path,
    transit: u64,
    door: DoorOptions,
) -> (Arc<ShuffleWorker>, Door) {
    let limit = ByteCount(1 << 20);
    let options =
        Options { transit: ByteCount(transit), ..Options::in_folder(limit, folder.join("disk")) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("a folder");
    for batch in 0..BLOCKS {
        worker.push(vec![block(0, attempt(0, 0), batch, LENGTH)]).await.expect("flushed");
    }
    worker.flush().await.expect("a disk");
    let on_machine = Some(folder.join("door"));
    let door = open(Arc::clone(&worker) as _, DoorOptions { on_machine, ..door }).await;
    (worker, door)
}

/// Readers on this machine that grant all and read nothing.
async fn stuck(folder: &std::path::Path) -> Vec<Raw> {
    let mut stuck = Vec::new();
    for _ in 0..STUCK {
        let (mut raw, _) = Raw::greeted_on_machine(&folder.join("door")).await;
        let read = Ask::Read(request(0, Some(&[attempt(0, 0)])), 1 << 40);
        raw.say(&Message::Ask(RequestId(1), read)).await.expect("open");
        stuck.push(raw);
    }
    stuck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_their_sockets_hold_little_and_nobody_up() {
    let folder = tempfile::tempdir().expect("a folder");
    // Who is stuck says nothing either, and is not to be taken for dead.
    let patient = DoorOptions { silence_max: Duration::from_secs(300), ..local() };
    let (worker, door) = stored(folder.path(), 48 << 20, patient).await;
    let stuck = stuck(folder.path()).await;
    // More than the sockets take is on its way to each.
    let least = (STUCK * 2 * LENGTH) as u64;
    until("what is stuck", || reads(&worker).used > least / 2 && door.stats().bytes_sent > least)
        .await;
    for _ in 0..3 {
        let workers = workers_at(&door.address().to_string(), TcpOptions::default());
        let api = workers.connect(me()).expect("known");
        let blocks = soon("a read beside them", read(&api, 0, Some(&[attempt(0, 0)]))).await;
        assert_eq!(blocks.expect("whole").len(), BLOCKS as usize);
    }
    let TransitStats { used, peak, limit, .. } = reads(&worker);
    assert!(used > 0 && peak <= limit && limit == 24 << 20, "{used} {peak} {limit}");
    // Counted where frames go out: what the limit has, and what sockets of one machine take.
    let others = 3 * u64::from(BLOCKS) * (LENGTH as u64 + 1000);
    let sent = door.stats().bytes_sent - others;
    assert!(sent < limit + (STUCK as u64) * (1 << 20), "{sent} to who reads nothing");
    assert_eq!(door.stats().requests, STUCK as u64, "they are all there still");
    drop(stuck);
    until("everything to be given back", || reads(&worker).used == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_stuck_have_all_it_comes_back_when_they_are_taken_for_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let (worker, door) = stored(folder.path(), 2 << 20, super::hasty_door()).await;
    let _stuck = stuck(folder.path()).await;
    let workers = workers_at(&door.address().to_string(), super::hasty());
    let api = workers.connect(me()).expect("known");
    let whole = soon("a read", read(&api, 0, Some(&[attempt(0, 0)]))).await.expect("whole");
    assert_eq!(whole.len(), BLOCKS as usize);
    assert!(reads(&worker).peak <= 1 << 20, "{:?}", reads(&worker));
}

#[tokio::test]
async fn a_block_larger_than_all_that_may_be_on_its_way_comes_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (worker, door) = stored(folder.path(), 2 * LENGTH as u64 - 2, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let whole = soon("a read", read(&api, 0, Some(&[attempt(0, 0)]))).await.expect("whole");
    assert_eq!(whole.len(), BLOCKS as usize);
    until("everything to be given back", || reads(&worker).used == 0).await;
    assert!(reads(&worker).peak < 2 * LENGTH as u64, "{:?}", reads(&worker));
}

#[tokio::test]
async fn pushes_that_wait_for_another_worker_leave_room_for_its_copies() {
    let puppet = Puppet::new(0);
    let options = DoorOptions { door_bytes_max: ByteCount(200 << 10), ..local() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let address = door.address().to_string();
    let push =
        |batch, peer| Push { peer, ..Push::plain(vec![block(1, attempt(0, 0), batch, 40_000)]) };
    let clients: Vec<_> = (0..8).map(|_| workers_at(&address, TcpOptions::default())).collect();
    let with_peer = clients.iter().zip(0..).map(|(workers, batch)| {
        let api = workers.connect(me()).expect("known");
        async move { api.store(push(batch, Some(ProcessId::from_u128(5)))).await }
    });
    let mut all = Box::pin(futures::future::try_join_all(with_peer));
    let env = Env::seeded(1);
    while puppet.waiting() < 3 {
        assert!(env.timeout(Duration::from_millis(1), &mut all).await.is_none());
    }
    assert!(env.timeout(Duration::from_millis(100), &mut all).await.is_none());
    assert_eq!(puppet.waiting(), 3, "three quarters of the room");
    let other = workers_at(&address, TcpOptions::default());
    let api = other.connect(me()).expect("known");
    let mut copy = Box::pin(api.store(push(100, None)));
    while puppet.waiting() < 4 {
        assert!(env.timeout(Duration::from_millis(1), &mut copy).await.is_none(), "let in");
    }
    puppet.gate.add_permits(9);
    assert!(matches!(soon("the copy", copy).await, Ok(Pushed::Stored(_))));
    soon("all pushes", all).await.expect("taken in turn");
}
