//! Hand-overs that meet trouble: pushes under way, disks that fail, the end of the process in the
//! middle.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_proto::shuffle::Refusal;
use dunlin_shuffle_service::disk::Disk;

use super::super::moody::{ALWAYS, Mood, Moody};
use super::*;

fn moody(folder: &Path) -> (Arc<ShuffleWorker>, Arc<Mood>) {
    let (disk, mood) = Moody::reopen(folder);
    let disk = Arc::new(disk) as Arc<dyn Disk>;
    let of = DiskOptions { reserve: ByteCount(0), ..DiskOptions::new(folder) };
    let options = Options::new(ByteCount(20_000));
    let worker = ShuffleWorker::on_kept_disks(options, vec![(of, disk)], Env::seeded(1));
    (worker.expect("the folder is usable"), mood)
}

fn taken(folder: &Path) -> Arc<ShuffleWorker> {
    worker_in(&[folder.to_owned()])
}

#[tokio::test]
async fn pushes_under_way_are_waited_for_and_later_ones_go_elsewhere() {
    let folder = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(folder.path());
    mood.stall(true);
    worker.push(vec![block(1, attempt(0, 1), 0, 18_000)]).await.expect("fits");
    // Waits for memory, and so for the disk.
    let mut waiting = Box::pin(worker.store(Push::plain(vec![block(1, attempt(0, 1), 1, 9_000)])));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut ending = Box::pin(worker.hand_over(LIMIT));
    assert!(futures::poll!(&mut ending).is_pending());
    let late = worker.store(Push::plain(vec![block(2, attempt(0, 1), 0, 10)])).await;
    assert!(matches!(late, Ok(Pushed::Refused(Refusal::Draining, all)) if all.is_empty()));
    mood.stall(false);
    let (done, stored) = futures::join!(ending, waiting);
    assert!(matches!(stored, Ok(Pushed::Stored(_))), "{stored:?}");
    assert_eq!(done.expect("works"), HandOver { tables: 1, blocks: 2, left: 0 });
    for change in [
        worker.seal(shuffle(1)).await,
        worker.discard(shuffle(1), attempt(0, 1)).await,
        worker.delete_query(shuffle(1).query).await,
    ] {
        assert_eq!(error(change).kind(), Kind::Retry, "the table says otherwise");
    }
    let maps = [attempt(0, 1)];
    assert_eq!(read(&worker, 1, Some(&maps)).await.expect("reads go on").len(), 2);
    drop(worker);
    let blocks = read(&taken(folder.path()), 1, Some(&maps)).await.expect("all there");
    assert_eq!(blocks.len(), 2);
}

#[tokio::test]
async fn a_push_that_was_not_waited_for_is_not_acknowledged() {
    let folder = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(folder.path());
    mood.stall(true);
    worker.push(vec![block(1, attempt(0, 1), 0, 18_000)]).await.expect("fits");
    let mut waiting = Box::pin(worker.store(Push::plain(vec![block(1, attempt(0, 1), 1, 9_000)])));
    assert!(futures::poll!(&mut waiting).is_pending());
    let done = worker.hand_over(Duration::from_millis(200)).await.expect("no error");
    assert_eq!(done, HandOver::default(), "the disk hangs");
    mood.stall(false);
    let refused = bed::soon("the push", waiting).await;
    assert!(matches!(refused, Ok(Pushed::Refused(Refusal::Draining, _))), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_written_or_synced_is_left_behind() {
    let folder = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(folder.path());
    worker.push(blocks_of(1)).await.expect("fits");
    worker.flush().await.expect("the disk works");
    mood.syncs.fail(ALWAYS);
    let done = worker.hand_over(LIMIT).await.expect("the table is written");
    assert_eq!((done.tables, done.blocks, done.left), (1, 0, 6));
    drop(worker);
    assert_eq!(taken(folder.path()).taken_over().blocks, 0);

    let (worker, mood) = moody(folder.path());
    worker.push(blocks_of(1)).await.expect("fits");
    worker.flush().await.expect("the disk works");
    worker.push(blocks_of(2)).await.expect("fits");
    mood.full.store(true, SeqCst);
    let done = worker.hand_over(LIMIT).await.expect("the table is written");
    assert_eq!((done.tables, done.blocks, done.left), (1, 6, 6));
    drop(worker);
    let worker = taken(folder.path());
    assert_whole(&worker, 1).await;
    assert_eq!(assert_nothing_wrong(&worker, 2).await, 0);
}

#[tokio::test]
async fn half_a_table_is_none() {
    let folder = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(folder.path());
    worker.push(blocks_of(1)).await.expect("fits");
    mood.tables.fail(1);
    let done = worker.hand_over(LIMIT).await.expect("the others would have one");
    assert_eq!((mood.tables.fired(), done.tables), (1, 0));
    drop(worker);
    assert!(folder.path().join("dunlin-shuffle/table.1.new").exists());
    assert_eq!(taken(folder.path()).taken_over().blocks, 0);
    assert!(
        std::fs::read_dir(folder.path().join("dunlin-shuffle")).expect("is there").count() == 0
    );
}

/// The process ends at every point of the hand-over at which it may wait for something.
#[tokio::test]
async fn an_end_in_the_middle_leaves_all_or_nothing() {
    let (mut nothing, mut all) = (0, 0);
    for steps in 0..200 {
        let folder = tempfile::tempdir().expect("a place to write");
        let worker = taken(folder.path());
        for partition in 0..4 {
            worker.push(blocks_of(partition)).await.expect("fits");
        }
        let weak = Arc::downgrade(&worker);
        {
            let mut ending = Box::pin(worker.hand_over(LIMIT));
            for _ in 0..steps {
                if futures::poll!(&mut ending).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
                std::thread::sleep(Duration::from_micros(20));
            }
        }
        drop(worker);
        // A kill does not wait either, but here a thread may still write.
        bed::until("the end of the worker", || weak.strong_count() == 0).await;
        let found = bed::soon("the folder", free(folder.path())).await;
        let blocks = found.taken_over().blocks;
        assert!([0, 24].contains(&blocks), "{blocks} blocks after {steps} steps");
        for partition in 0..4 {
            let due = if blocks == 0 { 0 } else { 6 };
            assert_eq!(assert_nothing_wrong(&found, partition).await, due);
        }
        if blocks == 0 { nothing += 1 } else { all += 1 }
    }
    assert!(nothing > 0 && all > 0, "{nothing} without, {all} with data");
}

/// The worker in a folder that a thread of the former one may hold yet.
async fn free(folder: &Path) -> Arc<ShuffleWorker> {
    loop {
        match ShuffleWorker::new(options(&[folder.to_owned()]), Env::seeded(1)) {
            Ok(worker) => return worker,
            Err(_) => Env::seeded(1).sleep(Duration::from_millis(1)).await,
        }
    }
}
