//! A worker that ends without a word, and what the next one finds of synced pushes.

use std::fs::{File, OpenOptions};
use std::io::Write;

use dunlin_base::Kind;
use dunlin_proto::shuffle::Durability;

use super::*;
use crate::moody::{ALWAYS, Ward};

fn synced(folders: &[PathBuf]) -> Arc<ShuffleWorker> {
    let options = Options { sync_pushes: true, ..options(folders) };
    ShuffleWorker::new(options, Env::seeded(1)).expect("the folders are usable")
}

async fn killed(worker: Arc<ShuffleWorker>) {
    let weak = Arc::downgrade(&worker);
    drop(worker);
    bed::until("the end of the worker", || weak.strong_count() == 0).await;
}

async fn level(worker: &Arc<ShuffleWorker>, blocks: Vec<Block>) -> Durability {
    match worker.store(Push::plain(blocks)).await.expect("fits") {
        Pushed::Stored(ack) => ack.durability,
        refused => panic!("{refused:?}"),
    }
}

/// Two folders with four partitions that a killed process with number 5 acknowledged.
async fn left() -> (Vec<tempfile::TempDir>, Vec<PathBuf>) {
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().expect("a place")).collect();
    let paths: Vec<_> = folders.iter().map(|folder| folder.path().to_owned()).collect();
    let worker = synced(&paths);
    worker.answers_for(process(5));
    for partition in 0..4 {
        assert_eq!(level(&worker, blocks_of(partition)).await, Durability::Twice);
    }
    killed(worker).await;
    (folders, paths)
}

#[tokio::test]
async fn what_was_acknowledged_as_synced_outlives_kill_after_kill() {
    let (_folders, paths) = left().await;
    for life in 6..9_u128 {
        let worker = synced(&paths);
        let taken = worker.taken_over();
        let lives: Vec<_> = (5..life).map(process).collect();
        assert_eq!((taken.processes.clone(), taken.refused), (lives, 0));
        let partitions = 4 + (life - 6) as u32;
        assert_eq!(taken.blocks, u64::from(partitions) * 6);
        worker.answers_for(process(life));
        for partition in 0..partitions {
            assert_whole(&worker, partition).await;
        }
        assert_eq!(level(&worker, blocks_of(0)).await, Durability::Twice, "it is there already");
        let followed = error(worker.read(request(0, None)).await);
        assert_eq!(followed.kind(), Kind::Lost, "nobody knows what else there was");
        assert_eq!(level(&worker, blocks_of(partitions)).await, Durability::Twice);
        killed(worker).await;
    }
    // A hand-over after a kill, and a kill after that.
    let worker = synced(&paths);
    assert_eq!(handed_over(worker).await.blocks, 7 * 6);
    killed(synced(&paths)).await;
    assert_eq!(synced(&paths).taken_over().blocks, 7 * 6);
}

#[tokio::test]
async fn a_block_that_was_cut_is_not_there_and_those_before_it_are() {
    let (folders, paths) = left().await;
    let mut files = folders.iter().flat_map(|folder| extents(folder.path()));
    let file = files.find(|file| file.ends_with("3.0.3.0.blocks")).expect("of partition 3");
    let length = std::fs::metadata(&file).expect("is there").len();
    let mut tail = OpenOptions::new().append(true).open(&file).expect("ours");
    // The head of a block of this file, and a part of its body.
    let bytes = std::fs::read(&file).expect("ours");
    tail.write_all(&bytes[..80]).expect("room");
    drop(tail);
    let worker = synced(&paths);
    assert_eq!(worker.taken_over().blocks, 4 * 6);
    assert_eq!(std::fs::metadata(&file).expect("is there").len(), length, "cut off");
    killed(worker).await;
    File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_len(length - 1))
        .expect("ours");
    let worker = synced(&paths);
    assert_eq!(worker.taken_over().blocks, 4 * 6 - 1);
    let mut found = 0;
    for partition in 0..4 {
        found += assert_nothing_wrong(&worker, partition).await;
    }
    assert_eq!(found, 4 * 6 - 1);
}

#[tokio::test]
async fn other_folders_and_other_promises_leave_nothing() {
    let (_folders, paths) = left().await;
    let elsewhere = tempfile::tempdir().expect("a place to write");
    copy(&paths[0].join("dunlin-shuffle"), &elsewhere.path().join("dunlin-shuffle"));
    // Another chance, for another number of the folder.
    let options = Options { sync_pushes: true, ..options(&[elsewhere.path().to_owned()]) };
    let worker = ShuffleWorker::new(options, Env::seeded(2)).expect("the folder is usable");
    assert_eq!(worker.taken_over(), &Default::default(), "a copy was acknowledged by nobody");
    assert!(extents(elsewhere.path()).is_empty());
    let worker = worker_in(&paths);
    assert_eq!(worker.taken_over(), &Default::default(), "nothing was promised");
    killed(worker).await;
    assert_eq!(synced(&paths).taken_over(), &Default::default());
}

#[tokio::test]
async fn who_cannot_write_its_name_promises_nothing() {
    let options = Options { sync_pushes: true, ..Options::new(ByteCount(1 << 20)) };
    let disk = DiskOptions { reserve: ByteCount(0), ..DiskOptions::new("moody") };
    let ward = Ward::new(options, &[disk]);
    ward.moods[0].syncs.fail(1);
    ward.worker.answers_for(process(5));
    assert_eq!(level(&ward.worker, blocks_of(0)).await, Durability::Memory);
    ward.worker.answers_for(process(6));
    assert_eq!(level(&ward.worker, blocks_of(1)).await, Durability::Twice);
    ward.moods[0].syncs.fail(ALWAYS);
    assert_eq!(level(&ward.worker, blocks_of(2)).await, Durability::Memory);
}
