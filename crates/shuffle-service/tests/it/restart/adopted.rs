//! What a worker that is gone with all its folders left in the object store, taken in by another one.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_fuzz::fuzz;
use dunlin_proto::shuffle::Durability;
use dunlin_shuffle_service::{Adopted, Tier, WhenFull};
use object_store::ObjectStoreExt;
use object_store::path::Path as ObjectPath;

use super::super::odd::Odd;
use super::*;

/// A worker of this name that acknowledges at D2.
fn worker(odd: &Odd, life: &str) -> Arc<ShuffleWorker> {
    let mut objects = odd.options();
    objects.worker = life.to_owned();
    let options = Options {
        objects: Some(objects),
        tiers: vec![Tier::Objects],
        sync_pushes: true,
        ..Options::new(ByteCount(ROOMY))
    };
    ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail")
}

async fn push(worker: &Arc<ShuffleWorker>, blocks: Vec<Block>) {
    match worker.store(Push::plain(blocks)).await.expect("fits") {
        Pushed::Stored(ack) => assert_eq!(ack.durability, Durability::Object),
        refused => panic!("{refused:?}"),
    }
}

/// The objects of a worker "x" that was killed with three partitions.
async fn left() -> Odd {
    let odd = Odd::default();
    let x = worker(&odd, "x");
    for partition in 0..3 {
        push(&x, blocks_of(partition)).await;
    }
    odd
}

async fn adopt(worker: &Arc<ShuffleWorker>, folder: &str) -> Adopted {
    worker.adopt(&[folder.to_owned()]).await.expect("the store works")
}

async fn put(odd: &Odd, name: &str, bytes: Vec<u8>) {
    odd.0.store.put(&ObjectPath::from(name), bytes.into()).await.expect("in memory");
}

#[tokio::test]
async fn what_was_acknowledged_at_d2_is_read_at_the_worker_that_adopts_it() {
    let odd = left().await;
    let y = worker(&odd, "y");
    // Of one partition it has some itself, of another all.
    push(&y, blocks_of(2)).await;
    push(&y, vec![block(1, attempt(7, 1), 0, 50)]).await;
    assert_eq!(y.objects_in(&["x".to_owned()]).await.expect("works"), 3);
    assert_eq!(y.objects_in(&["nobody".to_owned()]).await.expect("works"), 0);
    let adopted = adopt(&y, "x").await;
    assert_eq!((adopted.objects, adopted.blocks, adopted.refused), (3, 12, 0));
    for partition in 0..3 {
        assert_whole(&y, partition).await;
    }
    let own = read(&y, 1, Some(&[attempt(7, 1)])).await.expect("there");
    assert!(same(&own, &[block(1, attempt(7, 1), 0, 50)]));
    assert_eq!(error(y.read(request(0, None)).await).kind(), Kind::Lost, "what else was there?");
    assert_eq!(adopt(&y, "x").await.blocks, 0, "it is here");
    push(&y, vec![block(1, attempt(8, 1), 0, 50)]).await;
    assert_whole(&y, 1).await;
    // The next one adopts both.
    drop(y);
    let z = worker(&odd, "z");
    assert_eq!(adopt(&z, "y").await.blocks + adopt(&z, "x").await.blocks, 6 + 1 + 1 + 12);
    for partition in 0..3 {
        assert_whole(&z, partition).await;
    }
    let stats = z.stats();
    assert_eq!((stats.adoptions, stats.adopted_blocks, stats.adoption_refusals), (2, 20, 0));
    let former: Vec<_> = stats.objects.expect("a store").former.into_iter().collect();
    assert_eq!(former, ["x", "y"]);
    z.delete_query(shuffle(1).query).await.expect("works");
    assert!(odd.objects().await.is_empty(), "they go with their query");
    let stats = z.stats();
    assert_eq!((stats.memory_bytes, stats.blocks), (0, 0));
    assert_eq!(stats.objects.expect("a store").used, 0);
}

#[tokio::test]
async fn objects_of_evicted_files_say_what_is_in_them() {
    let odd = Odd::default();
    let folder = tempfile::tempdir().expect("a place to write");
    let disk = DiskOptions {
        reserve: ByteCount(0),
        capacity: Some(ByteCount(1000)),
        ..DiskOptions::new(folder.path())
    };
    let options = Options {
        disks: vec![disk],
        objects: Some(odd.options()),
        when_full: WhenFull::Evict,
        ..Options::new(ByteCount(ROOMY))
    };
    let x = ShuffleWorker::new(options, Env::seeded(1)).expect("the folder is usable");
    for partition in 0..3 {
        x.push(blocks_of(partition)).await.expect("fits");
        if partition == 0 {
            x.push(vec![block(0, attempt(9, 1), 0, 50)]).await.expect("fits");
        }
        x.flush().await.expect("one of them takes it");
        x.discard(shuffle(1), attempt(9, 1)).await.expect("works");
    }
    let there = odd.objects().await.len() as u64;
    assert!(there > 0, "nothing was evicted");
    drop(x);
    let y = worker(&odd, "y");
    let adopted = adopt(&y, "w1").await;
    assert_eq!((adopted.objects, adopted.refused), (there, 0));
    let mut found = 0;
    for partition in 0..3 {
        found += assert_nothing_wrong(&y, partition).await as u64;
    }
    assert!(found > 0 && found == adopted.blocks, "what was discarded is left out: {adopted:?}");
}

#[tokio::test]
async fn a_file_that_is_evicted_in_parts_has_its_index_behind_them() {
    let odd = Odd::default();
    let folder = tempfile::tempdir().expect("a place to write");
    let disk = DiskOptions {
        reserve: ByteCount(0),
        capacity: Some(ByteCount::mib(17)),
        ..DiskOptions::new(folder.path())
    };
    let options = Options {
        disks: vec![disk],
        objects: Some(odd.options()),
        when_full: WhenFull::Evict,
        ..Options::new(ByteCount::mib(64))
    };
    let x = ShuffleWorker::new(options, Env::seeded(1)).expect("the folder is usable");
    // The first ends within the last part, the second a few bytes before a part's end.
    let lengths = [9 << 20, (16 << 20) - 72 - 50];
    for (partition, length) in (0..).zip(lengths) {
        x.push(vec![block(partition, attempt(0, 1), 0, length)]).await.expect("fits");
        x.flush().await.expect("the disk takes it");
    }
    x.push(vec![block(2, attempt(0, 1), 0, 9 << 20)]).await.expect("fits");
    x.flush().await.expect("the disk takes it");
    assert_eq!((odd.objects().await.len(), odd.0.uploads.load(SeqCst)), (2, 2));
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount::mib(64)) };
    let y = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
    assert_eq!(adopt(&y, "w1").await.blocks, 2);
    for (partition, length) in (0..).zip(lengths) {
        let found = read(&y, partition, Some(&[attempt(0, 1)])).await.expect("there");
        assert!(same(&found, &[block(partition, attempt(0, 1), 0, length)]), "{partition}");
    }
}

#[tokio::test]
async fn an_object_that_is_cut_missing_or_another_one_costs_its_blocks_only() {
    let odd = left().await;
    let whole = odd.objects().await;
    let (second, third) = (whole[1].clone(), whole[2].1.to_vec());
    let mut damaged: Vec<(String, Vec<u8>)> = (0..second.1.len())
        .map(|length| (format!("cut to {length}"), second.1[..length].to_vec()))
        .collect();
    damaged.push(("that of another partition".to_owned(), third));
    damaged.push(("longer".to_owned(), [&second.1[..], &[0]].concat()));
    for (what, bytes) in damaged {
        put(&odd, &second.0, bytes).await;
        let y = worker(&odd, "y");
        let adopted = adopt(&y, "x").await;
        assert_eq!((adopted.blocks, adopted.refused), (12, 1), "{what}");
        for partition in [0, 2] {
            assert_whole(&y, partition).await;
        }
        assert_eq!(assert_nothing_wrong(&y, 1).await, 0, "{what}");
    }
    // A block's bytes are looked at by whoever reads them.
    let mut changed = second.1.to_vec();
    changed[100] ^= 1;
    put(&odd, &second.0, changed).await;
    let y = worker(&odd, "y");
    assert_eq!(adopt(&y, "x").await.blocks, 18);
    let lost = error(read(&y, 1, Some(&MAPS)).await);
    assert!(lost.kind() == Kind::Lost && lost.message().contains(&second.0), "{lost}");
    odd.0.store.delete(&ObjectPath::from(second.0.as_str())).await.expect("in memory");
    let lost = error(read(&y, 1, Some(&MAPS)).await);
    assert!(lost.kind() == Kind::Lost && lost.message().contains(&second.0), "{lost}");
    let adopted = adopt(&worker(&odd, "z"), "x").await;
    assert_eq!((adopted.objects, adopted.blocks, adopted.refused), (2, 12, 0));
}

#[test]
fn whatever_is_in_an_object_no_other_bytes_are_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let odd = runtime.block_on(left());
    let (name, whole) = runtime.block_on(odd.objects()).remove(1);
    let mut taken = 0;
    fuzz("objects", &[whole.to_vec()], 2_000, |bytes| {
        runtime.block_on(async {
            put(&odd, &name, bytes.to_vec()).await;
            let y = worker(&odd, "y");
            let adopted = adopt(&y, "x").await;
            assert!(adopted.blocks >= 12, "those of the others");
            taken += assert_nothing_wrong(&y, 1).await;
        });
    });
    assert!(taken > 0, "some changes are in what is not asked for");
}

#[tokio::test]
async fn what_has_ended_meanwhile_is_removed_and_not_taken_in() {
    let odd = left().await;
    let y = worker(&odd, "y");
    y.delete_query(shuffle(1).query).await.expect("works");
    let adopted = adopt(&y, "x").await;
    assert_eq!((adopted.objects, adopted.blocks, adopted.refused), (3, 0, 0));
    assert!(odd.objects().await.is_empty(), "objects are left");
    assert_eq!((y.stats().shuffles, y.stats().memory_bytes), (0, 0));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_again_and_loses_nothing() {
    let odd = left().await;
    let y = worker(&odd, "y");
    odd.0.gets.fail(4 * 8);
    let later = y.adopt(&["x".to_owned()]).await.expect_err("no answer");
    assert_eq!(later.kind(), Kind::Retry);
    odd.heal();
    let adopted = adopt(&y, "x").await;
    assert_eq!(adopted.refused, 0);
    for partition in 0..3 {
        assert_whole(&y, partition).await;
    }
    assert_eq!((y.stats().adoptions, y.stats().adoption_failures), (1, 1));
    let folderless = ShuffleWorker::new(Options::new(ByteCount(ROOMY)), Env::seeded(1));
    let error = folderless.expect("in memory").adopt(&["x".to_owned()]).await;
    assert_eq!(error.expect_err("no store").kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_write_that_is_under_way_keeps_its_number() {
    let odd = left().await;
    let y = worker(&odd, "y");
    odd.0.stalled.store(true, SeqCst);
    let own = vec![block(1, attempt(7, 1), 0, 50)];
    let pushed = {
        let (y, own) = (Arc::clone(&y), own.clone());
        Env::seeded(1).spawn("push", async move { y.store(Push::plain(own)).await })
    };
    bed::until("a put that waits", || odd.0.stalls.load(SeqCst) == 1).await;
    assert_eq!(adopt(&y, "x").await.blocks, 18);
    odd.heal();
    pushed.join().await.expect("no panic").expect("fits");
    assert_whole(&y, 1).await;
    assert!(same(&read(&y, 1, Some(&[attempt(7, 1)])).await.expect("there"), &own));
    assert_eq!(y.stats().memory_bytes, 19 * 128, "nothing but the index is in memory");
}

#[tokio::test]
async fn what_was_adopted_goes_on_to_the_next_life_in_good_order() {
    let odd = left().await;
    let folder = tempfile::tempdir().expect("a place to write");
    let in_folder = |life: &str| {
        let mut objects = odd.options();
        objects.worker = life.to_owned();
        let options = Options { objects: Some(objects), ..options(&[folder.path().to_owned()]) };
        ShuffleWorker::new(options, Env::seeded(1)).expect("the folder is usable")
    };
    let y = in_folder("y");
    y.push(vec![block(1, attempt(7, 1), 0, 50)]).await.expect("fits");
    y.flush().await.expect("the disk works");
    assert_eq!(adopt(&y, "x").await.blocks, 18);
    // Not behind the bytes of somebody else.
    y.push(vec![block(1, attempt(8, 1), 0, 50)]).await.expect("fits");
    assert_eq!(handed_over(y).await.blocks, 20);
    let next = in_folder("next");
    assert_eq!((next.taken_over().blocks, next.taken_over().refused), (20, 0));
    for partition in 0..3 {
        assert_whole(&next, partition).await;
    }
    for map in [7, 8] {
        let own = read(&next, 1, Some(&[attempt(map, 1)])).await.expect("there");
        assert!(same(&own, &[block(1, attempt(map, 1), 0, 50)]));
    }
    assert_eq!(adopt(&next, "x").await.blocks, 0, "its table named them");
    next.delete_query(shuffle(1).query).await.expect("works");
    assert!(odd.objects().await.is_empty(), "objects are left");
}
