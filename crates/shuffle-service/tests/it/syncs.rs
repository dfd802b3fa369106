//! What an acknowledgement says of safety, and what a failed sync does to that.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_proto::shuffle::{Durability, Push, Pushed};
use dunlin_shuffle_service::{Class, DiskOptions, DiskState};
use futures::future::join_all;

use super::moody::{ALWAYS, Ward};
use super::*;

fn synced(disks: usize, pushes: bool) -> Ward {
    let options = Options { sync: true, sync_pushes: pushes, ..Options::new(ByteCount(1 << 20)) };
    let classes = [Class::Ssd, Class::Hdd];
    let disk = |class| DiskOptions { class, reserve: ByteCount(0), ..DiskOptions::new("moody") };
    Ward::new(options, &classes.map(disk)[..disks])
}

/// The level that a push was acknowledged with.
async fn level(ward: &Ward, blocks: Vec<Block>) -> Durability {
    let stored = bed::soon("a push", ward.worker.store(Push::plain(blocks))).await;
    match stored.expect("fits") {
        Pushed::Stored(ack) => ack.durability,
        refused => panic!("{refused:?}"),
    }
}

#[tokio::test]
async fn blocks_leave_memory_only_after_the_sync_that_covers_them() {
    let ward = synced(1, false);
    let map = attempt(0, 0);
    let first = block(1, map, 0, 1000);
    assert_eq!(level(&ward, vec![first.clone()]).await, Durability::Memory);
    ward.worker.flush().await.expect("the disk works");
    assert_eq!((ward.moods[0].synced.load(SeqCst), ward.used()[0]), (1, 1072));

    ward.moods[0].syncs.fail(ALWAYS);
    let second = block(1, map, 1, 1000);
    assert_eq!(level(&ward, vec![second.clone()]).await, Durability::Memory);
    let before = ward.worker.stats().memory_bytes;
    ward.worker.flush().await.expect_err("no disk is left");
    assert_eq!(ward.moods[0].syncs.fired(), 3);
    let stats = ward.worker.stats();
    assert_eq!((stats.disks[0].state, stats.disks[0].errors), (DiskState::Isolated, 3));
    assert_eq!((stats.memory_bytes, stats.disk_bytes), (before, 1072), "nothing left memory");
    let file = faults::only_file(ward.folders[0].path()).parent().expect("a folder").to_owned();
    let first_extent = std::fs::metadata(file.join("3.0.1.0.blocks")).expect("is there").len();
    assert_eq!(first_extent, 1072, "cut off at the last good sync");
    let blocks = read(&ward.worker, 1, Some(&[map])).await.expect("from file and memory");
    assert!(same(&blocks, &[first, second]));
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_file_whose_sync_failed_is_never_continued() {
    let ward = synced(2, false);
    let map = attempt(0, 0);
    for batch in 0..3 {
        ward.moods[0].syncs.fail(u32::from(batch == 1));
        ward.worker.push(vec![block(1, map, batch, 1000)]).await.expect("fits");
        ward.worker.flush().await.expect("one of them works");
    }
    assert_eq!(ward.moods[0].syncs.fired(), 1);
    assert_eq!(ward.used(), [1072, 2 * 1072], "it goes on where the sync went well");
    assert_eq!(ward.worker.stats().disks[0].state, DiskState::Good);
    let expected: Vec<_> = (0..3).map(|n| block(1, map, n, 1000)).collect();
    let blocks = read(&ward.worker, 1, Some(&[map])).await.expect("all there");
    assert!(same(&blocks, &expected));
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_synced_push_is_acknowledged_as_safe_and_one_that_cannot_be_is_not() {
    let ward = synced(1, true);
    let map = attempt(0, 0);
    let push = || vec![block(1, map, 0, 1000), block(2, map, 0, 1000)];
    assert_eq!(level(&ward, push()).await, Durability::Twice);
    assert_eq!((ward.moods[0].synced.load(SeqCst), ward.used()[0]), (2, 2 * 1072));
    assert_eq!(level(&ward, push()).await, Durability::Twice, "it was safe before");
    assert_eq!(ward.moods[0].synced.load(SeqCst), 2);

    ward.moods[0].syncs.fail(ALWAYS);
    // The least of all its blocks counts.
    let mixed = || vec![block(1, map, 0, 1000), block(2, map, 1, 1000)];
    assert_eq!(level(&ward, mixed()).await, Durability::Memory);
    assert_eq!(ward.moods[0].syncs.fired(), 3);
    let stored = ward.worker.store(Push { last_resort: true, ..Push::plain(mixed()) }).await;
    assert!(matches!(stored, Ok(Pushed::Stored(ack)) if ack.durability == Durability::Memory));
    let again = ward.worker.store(Push { last_resort: true, ..Push::plain(push()) }).await;
    let twice = matches!(again, Ok(Pushed::Stored(ack)) if ack.durability == Durability::Twice);
    assert!(twice, "what the last good sync covers stays safe");
    ward.ends_clean().await;
}

#[tokio::test]
async fn pushes_that_wait_share_a_sync() {
    let ward = synced(1, true);
    let map = attempt(0, 0);
    ward.moods[0].stall(true);
    let mut pushes =
        Box::pin(join_all((0..50).map(|n| level(&ward, vec![block(1, map, n, 1000)]))));
    while ward.moods[0].hung.load(SeqCst) == 0 {
        assert!(futures::poll!(&mut pushes).is_pending(), "nothing is synced yet");
        tokio::task::yield_now().await;
    }
    ward.moods[0].stall(false);
    assert!(pushes.await.into_iter().all(|level| level == Durability::Twice));
    let syncs = ward.moods[0].synced.load(SeqCst);
    assert!((2..=4).contains(&syncs), "{syncs} syncs for 50 pushes");
    ward.ends_clean().await;
}
