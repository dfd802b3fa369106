//! Disks that fail at what is not a write of a block: probes, making, cutting and removing files. The
//! disk is isolated, others go on, and nothing is promised that is not so.

use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::{Kind, ProcessId};
use dunlin_proto::shuffle::{Durability, Push, Pushed, Refusal};
use dunlin_shuffle_service::disk::Disk;
use dunlin_shuffle_service::{Class, DiskOptions, DiskState, WhenFull};

use super::disks::{assert_reads, disk, fast_and_slow, states};
use super::moody::{ALWAYS, Mood, Moody, Ward, pass};
use super::odd::Odd;
use super::*;

const MAP: MapAttempt = MapAttempt { map: 0, attempt: Attempt(0) };

fn one(partition: u32, batch: u32) -> Vec<Block> {
    vec![block(partition, MAP, batch, 1000)]
}

async fn pushed(worker: &Arc<ShuffleWorker>, blocks: Vec<Block>) -> Pushed {
    bed::soon("a push", worker.store(Push::plain(blocks))).await.expect("an answer")
}

fn level(pushed: Pushed) -> Durability {
    match pushed {
        Pushed::Stored(ack) => ack.durability,
        refused => panic!("{refused:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_isolates_its_disk_and_good_ones_bring_it_back() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    ward.worker.push(one(1, 0)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].probes.fail(ALWAYS);
    pass(Duration::from_secs(11)).await;
    assert_eq!(states(&ward), [DiskState::Isolated, DiskState::Good]);
    assert_eq!((ward.moods[0].probes.fired(), ward.worker.stats().disks[0].errors), (1, 1));
    let refused = pushed(&ward.worker, one(1, 1)).await;
    assert_eq!(refused, Pushed::Refused(Refusal::Disk, vec![PartitionId(1)]));
    assert_eq!(level(pushed(&ward.worker, one(2, 0)).await), Durability::Memory);
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(ward.used(), [1072, 1072]);
    assert_reads(&ward, 1, 0..1, 1000).await;
    assert_reads(&ward, 2, 0..1, 1000).await;

    ward.moods[0].probes.fail(0);
    pass(Duration::from_secs(35)).await;
    assert_eq!(states(&ward), [DiskState::Good; 2]);
    ward.worker.push(one(1, 1)).await.expect("fits");
    ward.worker.flush().await.expect("the disks work");
    assert_eq!(ward.used(), [2 * 1072, 1072]);
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_made_is_made_elsewhere_and_isolates_the_disk() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    ward.moods[0].creates.fail(ALWAYS);
    for partition in 0..5 {
        ward.worker.push(one(partition, 0)).await.expect("fits");
    }
    ward.worker.flush().await.expect("the other disk takes it");
    assert!(ward.moods[0].creates.fired() >= 3);
    assert_eq!(states(&ward), [DiskState::Isolated, DiskState::Good]);
    assert_eq!((ward.used(), ward.worker.stats().disks[0].written), (vec![0, 5 * 1072], 0));
    for partition in 0..5 {
        assert_reads(&ward, partition, 0..1, 1000).await;
    }
    ward.ends_clean().await;
}

#[tokio::test]
async fn where_no_file_can_be_made_no_push_counts_as_safe() {
    let options = Options { sync_pushes: true, ..Options::new(ByteCount(1 << 20)) };
    let ward = Ward::new(options, &[disk(Class::Ssd)]);
    ward.moods[0].creates.fail(2);
    // The third file is made.
    assert_eq!(level(pushed(&ward.worker, one(1, 0)).await), Durability::Twice);
    ward.moods[0].creates.fail(ALWAYS);
    for batch in 0..2 {
        let last_resort = Push { last_resort: true, ..Push::plain(one(2, batch)) };
        let stored = bed::soon("a push", ward.worker.store(last_resort)).await.expect("fits");
        assert_eq!(level(stored), Durability::Memory);
    }
    assert_eq!(states(&ward), [DiskState::Isolated]);
    let failed = ward.worker.flush().await.expect_err("nowhere to go");
    assert_eq!(failed.kind(), Kind::Exhausted);
    let place = ward.folders[0].path().display().to_string();
    assert!(failed.message().contains(&place), "{failed}");
    assert_reads(&ward, 1, 0..1, 1000).await;
    assert_reads(&ward, 2, 0..2, 1000).await;
    ward.ends_clean().await;
}

/// The files of extents of partition 1, by number, and their lengths.
fn lengths(ward: &Ward) -> Vec<(String, u64)> {
    let query = shuffle(1).query.to_string();
    let folder = ward.folders[0].path().join("dunlin-shuffle").join(query);
    let entries = std::fs::read_dir(folder).expect("is there").map(|entry| entry.expect("ours"));
    let length = |entry: &std::fs::DirEntry| entry.metadata().expect("is there").len();
    let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().expect("plain");
    let mut all: Vec<_> = entries.map(|entry| (name(&entry), length(&entry))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn remains_that_cannot_be_cut_off_are_neither_read_nor_continued() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &[disk(Class::Ssd)]);
    ward.worker.push(one(1, 0)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].writes.fail(1);
    ward.moods[0].truncates.fail(1);
    ward.worker.push(one(1, 1)).await.expect("fits");
    ward.worker.flush().await.expect("another file takes it");
    assert_eq!((ward.moods[0].writes.fired(), ward.moods[0].truncates.fired()), (1, 1));
    ward.worker.push(one(1, 2)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    let names = ["3.0.1.0.blocks", "3.0.1.1.blocks"].map(str::to_owned);
    assert_eq!(lengths(&ward), names.into_iter().zip([1072 + 536, 2 * 1072]).collect::<Vec<_>>());
    assert_eq!(ward.used(), [3 * 1072], "remains are nobody's");
    assert_reads(&ward, 1, 0..3, 1000).await;
    ward.ends_clean().await;
}

/// Folders whose workers sync pushes, one life after the other.
struct Lives(Vec<tempfile::TempDir>, Vec<DiskOptions>);

impl Lives {
    fn new(classes: &[Class]) -> Self {
        let folder = |_: &Class| tempfile::tempdir().expect("a place to write");
        Self(classes.iter().map(folder).collect(), classes.iter().map(|c| disk(*c)).collect())
    }

    /// What the life before left is taken over.
    fn next(&self, life: u128) -> (Arc<ShuffleWorker>, Vec<Arc<Mood>>) {
        let opened = self.0.iter().map(|folder| Moody::reopen(folder.path()));
        let (disks, moods): (Vec<_>, Vec<_>) = opened.unzip();
        let disks = disks.into_iter().map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        let disks = self.1.iter().cloned().zip(disks).collect();
        let options = Options { sync_pushes: true, ..Options::new(ByteCount(1 << 20)) };
        let worker = ShuffleWorker::on_kept_disks(options, disks, Env::seeded(1)).expect("usable");
        worker.answers_for(ProcessId::from_u128(life));
        (worker, moods)
    }

    async fn kill(worker: Arc<ShuffleWorker>) {
        let weak = Arc::downgrade(&worker);
        drop(worker);
        bed::until("the end of the worker", || weak.strong_count() == 0).await;
    }

    fn file(&self, disk: usize, extent: u32) -> PathBuf {
        let query = shuffle(1).query.to_string();
        let folder = self.0[disk].path().join("dunlin-shuffle").join(query);
        folder.join(format!("3.0.1.{extent}.blocks"))
    }
}

#[tokio::test]
async fn remains_on_a_sick_disk_do_not_hide_what_another_acknowledged_after_a_kill() {
    // Whether or not the remains could be removed.
    for removals in [0, ALWAYS] {
        let lives = Lives::new(&[Class::Hdd, Class::Ssd]);
        let (worker, moods) = lives.next(5);
        moods[1].writes.fail(1);
        moods[1].truncates.fail(1);
        moods[1].removals.fail(removals);
        assert_eq!(level(pushed(&worker, one(1, 0)).await), Durability::Twice);
        assert_eq!((moods[1].writes.fired(), moods[1].truncates.fired()), (1, 1));
        assert_eq!(lives.file(1, 0).exists(), removals > 0);
        Lives::kill(worker).await;
        let (worker, _) = lives.next(6);
        let blocks = read(&worker, 1, Some(&[MAP])).await.expect("acknowledged as synced");
        assert!(same(&blocks, &one(1, 0)), "{} blocks", blocks.len());
    }
}

#[tokio::test]
async fn of_a_block_in_remains_and_in_a_synced_file_the_synced_one_is_read_after_a_kill() {
    let lives = Lives::new(&[Class::Ssd]);
    let (worker, moods) = lives.next(5);
    assert_eq!(level(pushed(&worker, one(1, 0)).await), Durability::Twice);
    moods[0].syncs.fail(1);
    moods[0].truncates.fail(1);
    assert_eq!(level(pushed(&worker, one(1, 1)).await), Durability::Twice, "in another file");
    assert_eq!((moods[0].syncs.fired(), moods[0].truncates.fired()), (1, 1));
    Lives::kill(worker).await;
    // What was not synced came out wrong.
    let mut bytes = std::fs::read(lives.file(0, 0)).expect("is there");
    assert_eq!(bytes.len(), 2 * 1072);
    bytes[1072 + 500] ^= 1;
    std::fs::write(lives.file(0, 0), bytes).expect("written");
    let (worker, _) = lives.next(6);
    assert_eq!(worker.taken_over().blocks, 2);
    let blocks = read(&worker, 1, Some(&[MAP])).await.expect("acknowledged as synced");
    assert!(same(&blocks, &[one(1, 0), one(1, 1)].concat()));
}

#[tokio::test]
async fn what_cannot_be_removed_is_named_and_removed_when_the_sweeper_asks_again() {
    let ward = Ward::new(Options::new(ByteCount(1 << 20)), &fast_and_slow());
    let query = shuffle(1).query;
    // Files on both disks.
    ward.worker.push(one(1, 0)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].full.store(true, SeqCst);
    ward.worker.push(one(2, 0)).await.expect("fits");
    ward.worker.flush().await.expect("the other disk takes it");
    assert_eq!(ward.used(), [1072, 1072]);
    ward.moods[0].full.store(false, SeqCst);

    ward.moods[0].removals.fail(ALWAYS);
    for times in 1..=3 {
        let failed = error(ward.worker.delete_query(query).await);
        assert_eq!(failed.kind(), Kind::Retry);
        assert!(failed.message().contains(&query.to_string()), "{failed}");
        assert_eq!(ward.moods[0].removals.fired(), times);
        let listed = ward.worker.shuffles().await.expect("answers");
        assert_eq!(listed.iter().map(|id| id.query).collect::<Vec<_>>(), [query]);
    }
    assert_eq!(ward.moods[1].removals.fired(), 0);
    let folder = |n: usize| ward.folders[n].path().join("dunlin-shuffle").join(query.to_string());
    assert!(folder(0).exists() && !folder(1).exists(), "the other disk's went at once");
    assert_eq!(states(&ward)[0], DiskState::Isolated);
    assert_eq!(error(ward.worker.push(one(1, 1)).await).kind(), Kind::Fenced);
    assert_eq!(ward.worker.stats().blocks, 0);

    ward.moods[0].removals.fail(0);
    ward.worker.delete_query(query).await.expect("works");
    assert!(!folder(0).exists());
    assert!(ward.worker.shuffles().await.expect("answers").is_empty());
    ward.ends_clean().await;
}

#[tokio::test]
async fn a_file_that_stays_after_it_was_evicted_is_not_read_and_goes_with_its_query() {
    let odd = Odd::default();
    let (when_full, objects) = (WhenFull::Evict, Some(odd.options()));
    let options = Options { when_full, objects, ..Options::new(ByteCount(1 << 20)) };
    let capacity = Some(ByteCount(1072));
    let ward = Ward::new(options, &[DiskOptions { capacity, ..disk(Class::Ssd) }]);
    ward.worker.push(one(1, 0)).await.expect("fits");
    ward.worker.flush().await.expect("the disk works");
    ward.moods[0].removals.fail(1);
    ward.worker.push(one(1, 1)).await.expect("fits");
    ward.worker.flush().await.expect("one of them takes it");
    bed::until("the removal", || ward.moods[0].removals.fired() == 1).await;
    bed::until("its count", || ward.worker.stats().disks[0].errors == 1).await;
    assert!(odd.objects().await[0].0.ends_with("/3.0.1.0"), "the oldest was moved");
    assert_eq!(lengths(&ward)[0], ("3.0.1.0.blocks".to_owned(), 1072), "it is still there");
    ward.moods[0].reads.fail(ALWAYS);
    assert_reads(&ward, 1, 0..2, 1000).await;
    assert_eq!(ward.moods[0].reads.fired(), 0);
    ward.worker.delete_query(shuffle(1).query).await.expect("works");
    assert!(odd.objects().await.is_empty());
    ward.ends_clean().await;
}
