//! A worker that hands over, and the next one in its folders.

mod adopted;
mod damage;
mod ends;
mod fixture;
mod fuzz;
mod killed;
mod objects;
mod whole;

use std::path::{Path, PathBuf};

use dunlin_base::ProcessId;
use dunlin_proto::shuffle::{Push, Pushed};
use dunlin_shuffle_service::{DiskOptions, HandOver};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// Memory that no test here fills.
const ROOMY: u64 = 1 << 20;

fn options(folders: &[PathBuf]) -> Options {
    let disk = |folder: &PathBuf| DiskOptions { reserve: ByteCount(0), ..DiskOptions::new(folder) };
    Options { disks: folders.iter().map(disk).collect(), ..Options::new(ByteCount(ROOMY)) }
}

fn worker_in(folders: &[PathBuf]) -> Arc<ShuffleWorker> {
    ShuffleWorker::new(options(folders), Env::seeded(1)).expect("the folders are usable")
}

async fn handed_over(worker: Arc<ShuffleWorker>) -> HandOver {
    let done = worker.hand_over(LIMIT).await.expect("the disks work");
    // Its folders are free when all that may still hold them has ended.
    let weak = Arc::downgrade(&worker);
    drop(worker);
    bed::until("the end of the worker", || weak.strong_count() == 0).await;
    done
}

fn process(id: u128) -> ProcessId {
    ProcessId::from_u128(id)
}

/// Two maps with three blocks each, of different lengths, in this partition.
fn blocks_of(partition: u32) -> Vec<Block> {
    let of = |map: u32| {
        let length = move |batch: u32| (partition * 50 + map * 17 + batch * 29) as usize;
        (0..3).map(move |batch| block(partition, attempt(map, 1), batch, length(batch)))
    };
    (0..2).flat_map(of).collect()
}

const MAPS: [MapAttempt; 2] =
    [MapAttempt { map: 0, attempt: Attempt(1) }, MapAttempt { map: 1, attempt: Attempt(1) }];

async fn assert_whole(worker: &Arc<ShuffleWorker>, partition: u32) {
    let blocks = read(worker, partition, Some(&MAPS)).await.expect("all there");
    assert!(same(&blocks, &blocks_of(partition)), "partition {partition}: {}", blocks.len());
}

/// What is read is right, or it is an error, or it is missing; how many blocks there are.
async fn assert_nothing_wrong(worker: &Arc<ShuffleWorker>, partition: u32) -> usize {
    let Ok(found) = read(worker, partition, Some(&MAPS)).await else { return 0 };
    let due = blocks_of(partition);
    for block in &found {
        let twin = due.iter().find(|one| one.id == block.id).expect("a block of this partition");
        assert!(same(std::slice::from_ref(block), std::slice::from_ref(twin)));
    }
    found.len()
}

/// A copy of a folder of a worker, with what tells it from others.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a place to write");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// The files of extents in a folder, in the order of their names.
fn extents(folder: &Path) -> Vec<PathBuf> {
    let root = folder.join("dunlin-shuffle");
    let inside = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten();
    let folders = inside(root).map(|entry| entry.path()).filter(|path| path.is_dir());
    let mut files: Vec<_> = folders.flat_map(inside).map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn table(folder: &Path) -> PathBuf {
    folder.join("dunlin-shuffle").join("table.1")
}

/// A folder that a worker with these partitions handed over.
async fn kept_folder(partitions: std::ops::Range<u32>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a place to write");
    let worker = worker_in(&[folder.path().to_owned()]);
    worker.answers_for(process(5));
    for partition in partitions {
        worker.push(blocks_of(partition)).await.expect("fits");
    }
    let done = handed_over(worker).await;
    assert_eq!((done.tables, done.left), (1, 0));
    folder
}
