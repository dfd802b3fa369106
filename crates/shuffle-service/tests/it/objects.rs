//! The object store as a tier: alone, below disks that are full or ill, and while it misbehaves.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Durability, Push, Pushed};
use dunlin_shuffle_service::{Class, DiskOptions, ObjectOptions, Tier, WhenFull};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::moody::{ALWAYS, Ward, pass, while_time_passes};
use super::odd::Odd;
use super::*;

/// A worker with no disk above the store.
fn stored(limit: u64) -> (Arc<ShuffleWorker>, Odd) {
    let odd = Odd::default();
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(limit)) };
    (ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail"), odd)
}

fn disk(capacity: u64) -> DiskOptions {
    let (reserve, capacity) = (ByteCount(0), Some(ByteCount(capacity)));
    DiskOptions { class: Class::Ssd, reserve, capacity, ..DiskOptions::new("moody") }
}

async fn push(worker: &Arc<ShuffleWorker>, partition: u32, batch: u32, length: usize) {
    let blocks = vec![block(partition, attempt(0, 0), batch, length)];
    worker.push(blocks).await.expect("fits");
}

async fn assert_reads(worker: &Arc<ShuffleWorker>, partition: u32, batches: u32, length: usize) {
    let map = attempt(0, 0);
    let expected: Vec<_> = (0..batches).map(|n| block(partition, map, n, length)).collect();
    let blocks = read(worker, partition, Some(&[map])).await.expect("all there");
    assert!(same(&blocks, &expected), "partition {partition}");
}

async fn assert_ends_clean(worker: &Arc<ShuffleWorker>, odd: &Odd) {
    odd.heal();
    worker.delete_query(shuffle(1).query).await.expect("works");
    let stats = worker.stats();
    assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.blocks), (0, 0, 0));
    assert_eq!(stats.objects.expect("a store").used, 0);
    assert!(odd.objects().await.is_empty(), "objects are left");
}

#[tokio::test]
async fn more_than_memory_goes_to_the_store_and_comes_back() {
    let (worker, odd) = stored(200_000);
    for batch in 0..40 {
        for partition in 0..5 {
            push(&worker, partition, batch, 10_000).await;
        }
        assert!(worker.stats().memory_bytes <= 200_000);
    }
    worker.flush().await.expect("the store works");
    for partition in 0..5 {
        assert_reads(&worker, partition, 40, 10_000).await;
    }
    let stats = worker.stats().objects.expect("a store");
    assert!(stats.used >= 1_800_000 && stats.written > stats.used, "{stats:?}");
    let names: Vec<_> = odd.objects().await.into_iter().map(|(name, _)| name).collect();
    let folder = format!("some/prefix/shuffle/w1/{}/3.0.", shuffle(1).query);
    assert!(names.iter().all(|name| name.starts_with(&folder)), "{names:?}");
    assert!(names.contains(&format!("{folder}4.0")), "{names:?}");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn a_large_extent_goes_in_parts_and_is_read_in_pieces() {
    let (worker, odd) = stored(64 << 20);
    push(&worker, 1, 0, 9 << 20).await;
    push(&worker, 1, 1, 10_000).await;
    push(&worker, 1, 2, 1 << 20).await;
    odd.0.parts.fail(1);
    odd.0.lost.fail(1);
    worker.flush().await.expect("another try succeeds");
    assert_eq!((odd.0.parts.fired(), odd.0.lost.fired(), odd.0.uploads.load(SeqCst)), (1, 1, 3));
    let objects = odd.objects().await;
    assert_eq!(objects.len(), 1, "the same name each time");
    assert_eq!(objects[0].1.len(), (9 << 20) + 10_000 + (1 << 20) + 3 * 72 + 3 * 41 + 56);
    let map = attempt(0, 0);
    let blocks = read(&worker, 1, Some(&[map])).await.expect("all there");
    let expected = [(0, 9 << 20), (1, 10_000), (2, 1 << 20)];
    assert!(same(&blocks, &expected.map(|(batch, length)| block(1, map, batch, length))));
    assert!(odd.0.largest_get.load(SeqCst) <= 4 << 20);
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn a_busy_store_and_a_lost_answer_are_tried_again_under_the_same_name() {
    let (worker, odd) = stored(1 << 20);
    odd.0.puts.fail(2);
    odd.0.lost.fail(1);
    push(&worker, 1, 0, 1000).await;
    worker.flush().await.expect("the fourth try succeeds");
    assert_eq!((odd.0.puts.fired(), odd.0.lost.fired()), (2, 1));
    assert_eq!(odd.objects().await.len(), 1);
    odd.0.gets.fail(3);
    assert_reads(&worker, 1, 1, 1000).await;
    assert_eq!(odd.0.gets.fired(), 3);
    assert_eq!(worker.stats().objects.expect("a store").errors, 6);
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_keeps_blocks_in_memory_until_that_is_full() {
    let (worker, odd) = stored(100_000);
    odd.0.puts.fail(ALWAYS);
    let mut acknowledged = 0;
    let error = loop {
        let one = vec![block(1, attempt(0, 0), acknowledged, 20_000)];
        match worker.push(one).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((acknowledged, error.kind()), (4, Kind::Exhausted));
    assert!(error.message().contains("503"), "{error}");
    assert_eq!(worker.flush().await.expect_err("it rests").kind(), Kind::Exhausted);
    assert!(odd.0.puts.fired() >= 4);
    assert_reads(&worker, 1, 4, 20_000).await;
    assert!(worker.stats().objects.expect("a store").resting);
    odd.heal();
    pass(Duration::from_secs(2)).await;
    push(&worker, 1, 4, 20_000).await;
    worker.flush().await.expect("it works again");
    assert_reads(&worker, 1, 5, 20_000).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_put_that_arrives_after_it_was_given_up_does_no_harm() {
    let (worker, odd) = stored(1 << 20);
    odd.0.stalled.store(true, SeqCst);
    push(&worker, 1, 0, 1000).await;
    let flushed = while_time_passes(worker.flush()).await;
    assert_eq!(flushed.expect_err("no answer").kind(), Kind::Exhausted);
    assert_eq!(odd.0.stalls.load(SeqCst), 4);
    odd.0.stalled.store(false, SeqCst);
    pass(Duration::from_secs(2)).await;
    push(&worker, 1, 1, 1000).await;
    worker.flush().await.expect("it works again");
    odd.0.resumed.notify_waiters();
    pass(Duration::from_secs(1)).await;
    assert_eq!(odd.objects().await.len(), 2, "the late one has a name of its own");
    assert_reads(&worker, 1, 2, 1000).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_ends_during_an_upload_leaves_no_object() {
    let (worker, odd) = stored(1 << 20);
    odd.0.stalled.store(true, SeqCst);
    push(&worker, 1, 0, 1000).await;
    let mut flush = Box::pin(worker.flush());
    while odd.0.stalls.load(SeqCst) == 0 {
        assert!(futures::poll!(&mut flush).is_pending());
        tokio::task::yield_now().await;
    }
    worker.delete_query(shuffle(1).query).await.expect("does not wait for the upload");
    odd.heal();
    flush.await.expect("nothing left to do");
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn an_object_that_is_not_found_is_lost_for_the_reader_and_never_removed() {
    let (worker, odd) = stored(1 << 20);
    push(&worker, 1, 0, 1000).await;
    worker.flush().await.expect("the store works");
    odd.0.absent.fail(3);
    assert_reads(&worker, 1, 1, 1000).await;
    odd.0.absent.fail(4);
    let lost = error(read(&worker, 1, Some(&[attempt(0, 0)])).await);
    assert_eq!((lost.kind(), odd.0.absent.fired()), (Kind::Lost, 7));
    odd.0.gets.fail(4);
    let later = error(read(&worker, 1, Some(&[attempt(0, 0)])).await);
    assert_eq!((later.kind(), odd.0.gets.fired()), (Kind::Retry, 4), "it may answer later");
    assert_reads(&worker, 1, 1, 1000).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn every_changed_byte_in_an_object_is_noticed_and_named() {
    let (worker, odd) = stored(1 << 20);
    push(&worker, 7, 0, 20).await;
    push(&worker, 7, 1, 20).await;
    worker.flush().await.expect("the store works");
    let (name, whole) = odd.objects().await.remove(0);
    let path = Path::from(name.as_str());
    // Behind the blocks is what nobody needs who knows where they are.
    for at in 0..2 * 92 {
        let mut changed = whole.to_vec();
        changed[at] ^= 4;
        odd.0.store.put(&path, changed.into()).await.expect("in memory");
        let error = error(read(&worker, 7, Some(&[attempt(0, 0)])).await);
        assert_eq!(error.kind(), Kind::Lost, "byte {at}");
        let offset = if at < 92 { "offset 0" } else { "offset 92" };
        for word in ["partition 7", offset, name.as_str()] {
            assert!(error.message().contains(word), "byte {at}: {error}");
        }
    }
    odd.0.store.put(&path, whole.into()).await.expect("in memory");
    assert_reads(&worker, 7, 2, 20).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn what_could_not_be_deleted_is_deleted_by_the_next_call() {
    let (worker, odd) = stored(1 << 20);
    push(&worker, 1, 0, 1000).await;
    worker.flush().await.expect("the store works");
    odd.0.deletes.fail(6);
    let failed = worker.delete_query(shuffle(1).query).await;
    assert_eq!((error(failed).kind(), odd.0.deletes.fired()), (Kind::Retry, 4));
    worker.delete_query(shuffle(1).query).await.expect("the third try succeeds");
    assert_eq!(odd.0.deletes.fired(), 6);
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test]
async fn full_disks_are_written_past_or_emptied_from_the_oldest_on() {
    for when_full in [WhenFull::WriteOn, WhenFull::Evict] {
        let odd = Odd::default();
        let extent_bytes = ByteCount(2 * 1072);
        let objects = Some(odd.options());
        let options =
            Options { when_full, extent_bytes, objects, ..Options::new(ByteCount(1 << 20)) };
        let ward = Ward::new(options, &[disk(4 * 1072)]);
        for batch in 0..10 {
            push(&ward.worker, 1, batch, 1000).await;
            ward.worker.flush().await.expect("one of them takes it");
        }
        let stats = ward.worker.stats();
        let in_store = stats.objects.as_ref().expect("a store").used;
        assert_eq!(stats.disk_bytes + in_store, 10 * 1072, "{when_full:?}");
        assert!(stats.disk_bytes <= 4 * 1072 && in_store >= 6 * 1072, "{stats:?}");
        let first = odd.objects().await.remove(0).0;
        let oldest = first.ends_with("3.0.1.0");
        assert_eq!(oldest, when_full == WhenFull::Evict, "{first}");
        assert_reads(&ward.worker, 1, 10, 1000).await;
        ward.worker.delete_query(shuffle(1).query).await.expect("works");
        assert_ends_clean(&ward.worker, &odd).await;
        ward.ends_clean().await;
    }
}

#[tokio::test]
async fn files_on_their_way_to_a_store_that_hangs_are_bounded_and_all_arrive() {
    let odd = Odd::default();
    let objects = Some(ObjectOptions { uploads: 16, ..odd.options() });
    let options = Options {
        when_full: WhenFull::Evict,
        extent_bytes: ByteCount(1072),
        transit: ByteCount(16 << 10),
        objects,
        ..Options::new(ByteCount(1 << 20))
    };
    let ward = Ward::new(options, &[disk(20 * 1072)]);
    for batch in 0..20 {
        push(&ward.worker, 1, batch, 1000).await;
        ward.worker.flush().await.expect("the disk takes it");
    }
    odd.0.stalled.store(true, SeqCst);
    // As much as all that is there.
    push(&ward.worker, 2, 0, 19_000).await;
    let mut flush = Box::pin(ward.worker.flush());
    let uploads = || ward.worker.stats().transit[1];
    let env = Env::seeded(1);
    while odd.0.stalls.load(SeqCst) < 3 {
        assert!(env.timeout(Duration::from_millis(1), &mut flush).await.is_none());
    }
    assert_eq!((uploads().limit, uploads().used), (4096, 3 * (1072 + 97)));
    // Each with its index. The others wait for these, which the store still has.
    assert!(env.timeout(Duration::from_millis(50), &mut flush).await.is_none());
    assert_eq!(odd.0.stalls.load(SeqCst), 3);
    odd.heal();
    flush.await.expect("there is room");
    assert!(uploads().peak <= 4096, "{:?}", uploads());
    assert_reads(&ward.worker, 1, 20, 1000).await;
    assert_reads(&ward.worker, 2, 1, 19_000).await;
    assert_eq!(uploads().used, 0);
    ward.worker.delete_query(shuffle(1).query).await.expect("works");
    assert_ends_clean(&ward.worker, &odd).await;
    ward.ends_clean().await;
}

/// A worker that has to evict before it can write again.
async fn about_to_evict() -> (Ward, Odd) {
    let odd = Odd::default();
    let mut objects = odd.options();
    objects.tries = 1;
    let (when_full, objects) = (WhenFull::Evict, Some(objects));
    let options = Options { when_full, objects, ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options, &[disk(1072)]);
    push(&ward.worker, 1, 0, 1000).await;
    ward.worker.flush().await.expect("the disk works");
    push(&ward.worker, 1, 1, 1000).await;
    (ward, odd)
}

#[tokio::test]
async fn an_eviction_that_the_store_refuses_leaves_the_extent_where_it_is() {
    let (ward, odd) = about_to_evict().await;
    odd.0.puts.fail(ALWAYS);
    assert_eq!(ward.worker.flush().await.expect_err("no place").kind(), Kind::Exhausted);
    assert!(odd.0.puts.fired() > 0);
    assert_eq!((ward.used(), odd.objects().await.len()), (vec![1072], 0));
    assert_reads(&ward.worker, 1, 2, 1000).await;
    assert_ends_clean(&ward.worker, &odd).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn an_extent_that_cannot_be_read_is_no_reason_to_keep_data_in_memory() {
    let (ward, odd) = about_to_evict().await;
    ward.moods[0].reads.fail(1);
    ward.worker.flush().await.expect("the store takes it");
    assert_eq!((ward.moods[0].reads.fired(), ward.worker.stats().disks[0].errors), (1, 1));
    assert_eq!((ward.used(), odd.objects().await.len()), (vec![1072], 1));
    assert!(!ward.worker.stats().objects.expect("a store").resting, "it is not its fault");
    assert_reads(&ward.worker, 1, 2, 1000).await;
    assert_ends_clean(&ward.worker, &odd).await;
    ward.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_query_that_ends_during_an_eviction_leaves_nothing() {
    let (ward, odd) = about_to_evict().await;
    odd.0.stalled.store(true, SeqCst);
    let mut flush = Box::pin(ward.worker.flush());
    while odd.0.stalls.load(SeqCst) == 0 {
        assert!(futures::poll!(&mut flush).is_pending());
        tokio::task::yield_now().await;
    }
    ward.worker.delete_query(shuffle(1).query).await.expect("does not wait for the upload");
    odd.heal();
    flush.await.expect("nothing left to do");
    pass(Duration::from_secs(1)).await;
    assert_ends_clean(&ward.worker, &odd).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn an_isolated_disk_leaves_the_store_and_the_order_of_tiers_counts() {
    let odd = Odd::default();
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options.clone(), &[disk(1 << 30)]);
    ward.moods[0].writes.fail(ALWAYS);
    push(&ward.worker, 1, 0, 1000).await;
    ward.worker.flush().await.expect("the store takes it");
    assert_eq!(ward.moods[0].writes.fired(), 3);
    assert_eq!((ward.used(), odd.objects().await.len()), (vec![0], 1));
    assert_reads(&ward.worker, 1, 1, 1000).await;
    ward.worker.delete_query(shuffle(1).query).await.expect("works");
    assert_ends_clean(&ward.worker, &odd).await;
    ward.ends_clean().await;

    let options = Options { tiers: vec![Tier::Objects, Tier::Disks], ..options };
    let ward = Ward::new(options, &[disk(1 << 30)]);
    odd.0.puts.fail(4);
    for batch in 0..2 {
        push(&ward.worker, 1, batch, 1000).await;
        ward.worker.flush().await.expect("one of them takes it");
    }
    assert_eq!(odd.0.puts.fired(), 4);
    assert_eq!(ward.used(), [2 * 1072], "while the store rests");
    assert_reads(&ward.worker, 1, 2, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_push_that_waits_for_the_store_outlives_all_workers() {
    let odd = Odd::default();
    let objects = Some(odd.options());
    let options = Options { objects, sync_pushes: true, ..Options::new(ByteCount(1 << 20)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
    let blocks = vec![block(1, attempt(0, 0), 0, 1000)];
    let Pushed::Stored(ack) = worker.store(Push::plain(blocks)).await.expect("fits") else {
        panic!("refused");
    };
    assert_eq!(ack.durability, Durability::Object);
    assert_eq!(odd.objects().await.len(), 1);
    assert_ends_clean(&worker, &odd).await;
}
