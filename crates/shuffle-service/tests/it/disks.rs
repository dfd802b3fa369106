//! A worker on several disks: where data go, and what a sick disk does to whom.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Push, Pushed, Refusal};
use dunlin_shuffle_service::disk::{Disk, LocalDisk};
use dunlin_shuffle_service::{Class, DiskOptions, DiskState};

use super::moody::{ALWAYS, Ward, pass, while_time_passes};
use super::*;

const GIB: u64 = 1 << 30;

pub(crate) fn disk(class: Class) -> DiskOptions {
    DiskOptions { class, reserve: ByteCount(0), ..DiskOptions::new("moody") }
}

/// The first disk is the first choice.
pub(crate) fn fast_and_slow() -> [DiskOptions; 2] {
    [disk(Class::Ssd), disk(Class::Hdd)]
}

pub(crate) fn states(ward: &Ward) -> Vec<DiskState> {
    ward.worker.stats().disks.iter().map(|disk| disk.state).collect()
}

pub(crate) async fn assert_reads(
    ward: &Ward,
    partition: u32,
    batches: std::ops::Range<u32>,
    length: usize,
) {
    let map = attempt(0, 0);
    let expected: Vec<_> = batches.map(|n| block(partition, map, n, length)).collect();
    let blocks = read(&ward.worker, partition, Some(&[map])).await.expect("all there");
    assert!(same(&blocks, &expected), "partition {partition}");
}

#[tokio::test(start_paused = true)]
async fn the_faster_class_takes_data_first_then_the_emptier_disk() {
    let disks = [disk(Class::Hdd), disk(Class::Ssd), disk(Class::Ssd)];
    let ward = Ward::with_moods(Options::new(ByteCount(4 << 20)), &disks, |index, mood| {
        mood.free.store([900 * GIB, GIB, 3 * GIB][index], SeqCst);
    });
    let map = attempt(0, 0);
    for partition in 0..200 {
        ward.worker.push(vec![block(partition, map, 0, 1000)]).await.expect("fits");
        ward.worker.flush().await.expect("the disks work");
    }
    let used = ward.used();
    let third = 200 * 1072 / 4;
    assert_eq!(used[0], 0, "the slow one is for need");
    assert!((third / 2..third * 3 / 2).contains(&used[1]), "{used:?}");
    assert_eq!(used[1] + used[2], 200 * 1072);

    // Both fast ones are full, which the next probe finds.
    ward.moods.iter().skip(1).for_each(|mood| mood.free.store(1, SeqCst));
    pass(Duration::from_secs(11)).await;
    ward.worker.push(vec![block(0, map, 1, 1000), block(1, map, 1, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the slow one takes it");
    for partition in 0..2 {
        assert_reads(&ward, partition, 0..2, 1000).await;
    }
    assert_eq!(ward.used()[0], 2 * 1072);
    ward.ends_clean().await;
}

/// In real time, since that is what is measured.
#[tokio::test]
async fn a_slow_disk_gets_less_than_a_fast_one_of_its_class() {
    let ward = Ward::with_moods(
        Options::new(ByteCount(4 << 20)),
        &[disk(Class::Ssd), disk(Class::Ssd)],
        |index, mood| {
            // More room does not make up for what it is slower.
            mood.free.store([3 * GIB, GIB][index], SeqCst);
            mood.slow_ms.store([100, 0][index], SeqCst);
        },
    );
    let map = attempt(0, 0);
    for partition in 0..60 {
        ward.worker.push(vec![block(partition, map, 0, 100_000)]).await.expect("fits");
        ward.worker.flush().await.expect("the disks work");
    }
    let used = ward.used();
    assert_eq!(used[0] + used[1], 60 * 100_072);
    assert!(used[0] > 0, "the emptier one is chosen before anything was measured: {used:?}");
    assert!(used[0] * 2 < used[1], "{used:?}");
    let speeds: Vec<_> = ward.worker.stats().disks.iter().map(|disk| disk.speed).collect();
    assert!(0 < speeds[0] && speeds[0] < 1_000_000 && speeds[1] > speeds[0], "{speeds:?}");
    ward.ends_clean().await;
}

#[tokio::test]
async fn an_extent_ends_at_its_size_and_at_the_capacity_of_its_disk() {
    let [mut fast, slow] = fast_and_slow();
    fast.capacity = Some(ByteCount(5 * 1072));
    let options = Options { extent_bytes: ByteCount(2 * 1072), ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options, &[fast, slow]);
    let map = attempt(0, 0);
    let blocks = (0..9).map(|n| block(1, map, n, 1000)).collect();
    ward.worker.push(blocks).await.expect("fits");
    ward.worker.flush().await.expect("the disks take it");
    let files = |index: usize| {
        let query = shuffle(1).query.to_string();
        let folder = ward.folders[index].path().join("dunlin-shuffle").join(query);
        std::fs::read_dir(folder).expect("is there").count()
    };
    assert_eq!((files(0), files(1)), (3, 2), "2 + 2 + 1 and 2 + 2 blocks");
    assert_eq!(ward.used(), [5 * 1072, 4 * 1072]);
    assert_reads(&ward, 1, 0..9, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn the_limit_of_all_disks_together_holds() {
    let options = Options { disk_limit: ByteCount(3 * 1072), ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options, &fast_and_slow());
    let mut outcomes = Vec::new();
    for batch in 0..4 {
        ward.worker.push(vec![block(1, attempt(0, 0), batch, 1000)]).await.expect("fits");
        outcomes.push(ward.worker.flush().await);
    }
    let refused = outcomes.pop().expect("four").expect_err("the limit");
    assert_eq!(refused.kind(), Kind::Exhausted);
    assert!(refused.message().contains("disk limit"), "{refused}");
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(ward.worker.stats().disk_bytes, 3 * 1072);
    assert_reads(&ward, 1, 0..4, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_failed_write_moves_on_to_the_next_disk_and_leaves_no_bytes() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push(vec![block(1, map, 0, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].writes.fail(1);
    ward.worker.push(vec![block(1, map, 1, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(ward.moods[0].writes.fired(), 1);
    assert_eq!(ward.used(), [1072, 1072]);
    let left = std::fs::metadata(faults::only_file(ward.folders[0].path())).expect("is there");
    assert_eq!(left.len(), 1072, "what the failed write left was cut off");
    assert_eq!(states(&ward), [DiskState::Good; 2], "one error is no illness");
    assert_eq!(ward.worker.stats().disks[0].errors, 1);
    assert_reads(&ward, 1, 0..2, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_full_disk_hands_over_to_the_next_and_is_not_ill() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push(vec![block(1, map, 0, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].full.store(true, SeqCst);
    ward.worker.push((1..5).map(|n| block(1, map, n, 1000)).collect()).await.expect("fits");
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(states(&ward), [DiskState::Full, DiskState::Good]);
    assert_eq!((ward.used(), ward.worker.stats().disks[0].errors), (vec![1072, 4 * 1072], 0));
    assert_reads(&ward, 1, 0..5, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn errors_isolate_a_disk_whose_partitions_go_elsewhere_and_probes_bring_it_back() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push((0..4).map(|n| block(n, map, 0, 1000)).collect()).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    assert_eq!(ward.used(), [4 * 1072, 0], "the slow one does not help out");
    ward.moods[0].writes.fail(ALWAYS);
    for partition in 0..3 {
        ward.worker.push(vec![block(partition, map, 1, 1000)]).await.expect("fits");
    }
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(ward.moods[0].writes.fired(), 3);
    assert_eq!(states(&ward), [DiskState::Isolated, DiskState::Good]);
    assert_eq!(ward.used(), [4 * 1072, 3 * 1072]);

    // Partition 3 has its open extent there: others are welcome.
    let store = |partition, batch, last_resort| {
        let blocks = vec![block(partition, map, batch, 1000), block(0, map, batch, 1000)];
        ward.worker.store(Push { last_resort, ..Push::plain(blocks) })
    };
    let refused = store(3, 5, false).await.expect("an answer");
    assert_eq!(refused, Pushed::Refused(Refusal::Disk, vec![PartitionId(3)]));
    assert!(matches!(store(2, 2, false).await, Ok(Pushed::Stored(_))));
    assert!(matches!(store(3, 1, true).await, Ok(Pushed::Stored(_))));
    for partition in 0..4 {
        let blocks = read(&ward.worker, partition, Some(&[map])).await;
        assert!(blocks.expect("an isolated disk is still read").len() >= 2);
    }
    ward.worker.flush().await.expect("the other disk takes it");
    assert!(matches!(store(3, 2, false).await, Ok(Pushed::Stored(_))), "it has moved");
    assert_eq!(ward.moods[0].writes.fired(), 3, "nothing is written to an isolated disk");

    pass(Duration::from_secs(25)).await;
    assert_eq!(states(&ward)[0], DiskState::Isolated, "two probes are not enough");
    pass(Duration::from_secs(10)).await;
    assert_eq!(states(&ward), [DiskState::Good; 2]);
    ward.moods[0].writes.fail(0);
    ward.worker.push(vec![block(9, map, 0, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disks work");
    assert!(ward.used()[0] > 4 * 1072, "the first choice again");
    ward.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_delays_only_what_lies_on_it() {
    let ward = Ward::new(Options::new(ByteCount(300_000)), &fast_and_slow());
    let map = attempt(0, 0);
    let of_first = |batch| (0..2).map(|p| block(p, map, batch, 10_000)).collect::<Vec<_>>();
    ward.worker.push(of_first(0)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].stall(true);
    ward.worker.push(of_first(1)).await.expect("fits");
    let mut flush = Box::pin(ward.worker.flush());
    while ward.moods[0].hung.load(SeqCst) < 2 {
        assert!(futures::poll!(&mut flush).is_pending(), "both partitions hang");
        tokio::task::yield_now().await;
    }
    let started = Env::seeded(1);
    let reading = async {
        // More than may be under way; none of them is to come back.
        let maps = [map];
        let reads = (0..40).map(|_| Box::pin(read(&ward.worker, 0, Some(&maps))));
        futures::future::select_all(reads).await.0
    };
    let pushing = async {
        // Ten times the memory.
        for batch in 0..30 {
            let blocks = (2..12).map(|partition| block(partition, map, batch, 10_000)).collect();
            ward.worker.push(blocks).await.expect("does not wait for the disk that hangs");
        }
    };
    let pushed = async {
        tokio::select! {
            () = pushing => {}
            flushed = flush => panic!("a disk that hangs was written: {:?}", flushed.err()),
            read = reading => panic!("a disk that hangs was read: {:?}", read.err()),
        }
    };
    while_time_passes(pushed).await;
    let hangs = ward.moods[0].hung.load(SeqCst);
    assert!(hangs > 2, "two writes and some reads hang: {hangs}");
    assert!(started.now() < Duration::from_secs(15), "before anybody knows that it is ill");
    let rest = Duration::from_secs(30).saturating_sub(started.now());
    while_time_passes(pass(rest)).await;
    assert_eq!(states(&ward), [DiskState::Isolated, DiskState::Good], "the probe hangs, too");
    assert!(ward.used()[1] > 2_000_000, "{:?}", ward.used());
    let late = while_time_passes(read(&ward.worker, 0, Some(&[map]))).await;
    assert_eq!(error(late).kind(), Kind::Retry, "a reader does not wait for ever");

    // What hung there was given up, and goes elsewhere without the disk.
    for batch in 2..40 {
        let pushed = while_time_passes(ward.worker.push(of_first(batch))).await;
        pushed.expect("does not wait for the disk that hangs");
    }
    let nothing_left = |stats: Stats| stats.memory_bytes == stats.blocks * 128;
    while !nothing_left(ward.worker.stats()) {
        while_time_passes(ward.worker.flush()).await.expect("goes to the other disk");
    }
    ward.moods[0].stall(false);
    pass(Duration::from_secs(45)).await;
    assert_eq!(states(&ward), [DiskState::Good; 2]);
    for partition in 0..12 {
        let batches = if partition < 2 { 40 } else { 30 };
        assert_reads(&ward, partition, 0..batches, 10_000).await;
    }
    ward.ends_clean().await;
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_removed_isolates_its_disk() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push(vec![block(1, map, 0, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    std::fs::remove_dir_all(ward.folders[0].path().join("dunlin-shuffle")).expect("removable");
    pass(Duration::from_secs(11)).await;
    assert_eq!(states(&ward), [DiskState::Isolated, DiskState::Good]);
    ward.worker.push(vec![block(1, map, 1, 1000)]).await.expect("the last resort");
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(ward.used(), [1072, 1072]);
    assert_reads(&ward, 1, 0..2, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_read_that_fails_is_lost_with_its_place_and_counts_against_the_disk() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push(vec![block(1, map, 0, 1000), block(2, map, 0, 1000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    for (fault, word) in [(&ward.moods[0].reads, "os error 5"), (&ward.moods[0].flips, "corrupt")] {
        fault.fail(1);
        let error = error(read(&ward.worker, 1, Some(&[map])).await);
        assert_eq!((error.kind(), fault.fired()), (Kind::Lost, 1));
        for word in [word, "partition 1 ", "offset 0", ward.folders[0].path().to_str().expect("")] {
            assert!(error.message().contains(word), "{error}");
        }
    }
    assert_eq!(ward.worker.stats().disks[0].errors, 2);
    assert_reads(&ward, 1, 0..1, 1000).await;

    // Each file is whole, and belongs to the other partition.
    let folder = faults::only_file(ward.folders[0].path()).parent().expect("a folder").to_owned();
    let [one, two] = [1, 2].map(|n| folder.join(format!("3.0.{n}.0.blocks")));
    let bytes = [&one, &two].map(|path| std::fs::read(path).expect("is there"));
    std::fs::write(&one, &bytes[1]).expect("writable");
    std::fs::write(&two, &bytes[0]).expect("writable");
    for partition in [1, 2] {
        let swapped = error(read(&ward.worker, partition, Some(&[map])).await);
        assert_eq!(swapped.kind(), Kind::Lost);
    }
    std::fs::write(&one, &bytes[0]).expect("writable");
    assert_reads(&ward, 1, 0..1, 1000).await;
    ward.ends_clean().await;
}

#[tokio::test]
async fn what_was_flushed_once_goes_on_in_pieces() {
    let options = Options { flush_bytes: ByteCount(20_000), ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options, &fast_and_slow());
    let map = attempt(0, 0);
    ward.worker.push(vec![block(1, map, 0, 10_000)]).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    for batch in 1..4 {
        ward.worker
            .push(vec![block(1, map, batch, 10_000), block(2, map, batch, 30_000)])
            .await
            .expect("fits");
    }
    bed::until("the piece", || ward.used() == [3 * 10_072, 0]).await;
    assert_eq!(ward.worker.stats().memory_bytes, 10_000 + 3 * 30_000 + 7 * 128);
    assert_reads(&ward, 1, 0..4, 10_000).await;
    ward.ends_clean().await;
}

#[test]
fn a_probe_of_a_real_folder_finds_that_it_is_gone() {
    let folder = tempfile::tempdir().expect("a place to write");
    let disk = LocalDisk::open(folder.path()).expect("usable");
    disk.probe().expect("works");
    let left = std::fs::read_dir(disk.directory()).expect("readable").count();
    assert_eq!(left, 0, "a probe leaves nothing");
    let space = disk.space().expect("works");
    assert!(space.free > 0 && space.free <= space.total, "{space:?}");
    std::fs::remove_dir_all(disk.directory()).expect("removable");
    disk.probe().expect_err("the folder is gone");
    disk.space().expect_err("the folder is gone");
}

#[tokio::test(start_paused = true)]
async fn the_probe_ends_with_the_worker_also_while_it_hangs() {
    let mut ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    ward.moods[0].stall(true);
    while_time_passes(pass(Duration::from_secs(60))).await;
    assert_eq!(ward.moods[0].hung.load(SeqCst), 1, "one probe hangs, no second one is begun");
    let folders = std::mem::take(&mut ward.folders);
    let moods = ward.moods.clone();
    ward.moods.remove(0);
    drop(ward);
    tokio::task::yield_now().await;
    // Nobody holds the worker's disks any more but the thread that hangs.
    LocalDisk::open(folders[1].path()).expect("nobody uses it");
    assert!(LocalDisk::open(folders[0].path()).is_err());
    moods[0].stall(false);
    bed::until("the end of the probe", || LocalDisk::open(folders[0].path()).is_ok()).await;
}
