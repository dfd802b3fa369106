//! Two copies on real files, of which one is not what was written: the other one is read, and rows are
//! right. With both damaged the error says what is missing.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use dunlin_base::{ByteCount, Kind, PartitionId};
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::{Durability, Peers};
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::TryStreamExt;

use super::*;
use crate::{Location, Placement, ReadFault, Workers, read_partition};

const PARTITIONS: u32 = 3;

/// Workers 1 and 2, each with a folder of its own and nothing left in memory.
struct Pair {
    local: Arc<LocalWorkers>,
    workers: Vec<Arc<ShuffleWorker>>,
    folders: Vec<tempfile::TempDir>,
}

struct Known(Arc<LocalWorkers>);

impl Peers for Known {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.0.connect(id)
    }
}

/// Worker 1 takes all, and worker 2 the second copies.
struct Both;

#[async_trait]
impl Placement for Both {
    async fn locate(&self, _: PartitionId, _: u32) -> Result<Location> {
        Ok(Location { worker: process(1), peer: Some(process(2)) })
    }
}

impl Pair {
    fn new() -> Self {
        let (local, env) = (Arc::new(LocalWorkers::new()), Env::seeded(1));
        let (mut workers, mut folders) = (Vec::new(), Vec::new());
        for id in 1..=2 {
            let folder = tempfile::tempdir().expect("a place to write");
            let options = Options::in_folder(ByteCount::mib(8), folder.path());
            let worker = ShuffleWorker::new(options, env.clone()).expect("usable");
            worker.set_peers(Arc::new(Known(Arc::clone(&local))));
            local.insert(process(id), Arc::clone(&worker) as _);
            workers.push(worker);
            folders.push(folder);
        }
        Self { local, workers, folders }
    }

    /// One map with rows in each partition, in blocks of ten rows.
    async fn written(&self) -> Arc<StageOutput> {
        let options = WriterOptions { block_rows: 10, ..options(0, PARTITIONS) };
        let attempt = options.attempt;
        let writer = ShuffleWriter::new(Arc::clone(&self.local) as _, Arc::new(Both), options);
        for partition in 0..PARTITIONS {
            let first = i64::from(partition) * 1000;
            let rows = data::rows(first, first + 40);
            writer.write(PartitionId(partition), rows).await.expect("taken");
        }
        let written = writer.finish().await.expect("taken");
        assert_eq!(written.durability, Some(Durability::Twice));
        for worker in &self.workers {
            worker.flush().await.expect("the disk works");
        }
        let map = written.into_map_output((0, 1), attempt, shuffle().epoch);
        Arc::new(StageOutput { maps: vec![map] })
    }

    async fn read(&self, output: &Arc<StageOutput>, partition: u32) -> Result<Vec<i64>> {
        let (id, output) = (PartitionId(partition), Arc::clone(output));
        let stream = read_partition(self.local.as_ref(), of(), id, output, data::schema());
        Ok(data::numbers(&stream.try_collect::<Vec<_>>().await?))
    }

    /// The file of each partition.
    fn files(&self, nth: usize) -> Vec<PathBuf> {
        let folder = self.folders[nth].path().join("dunlin-shuffle");
        let entries = std::fs::read_dir(folder.join(of().0.to_string())).expect("is there");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("ours").path()).collect();
        files.sort();
        assert_eq!(files.len(), PARTITIONS as usize);
        files
    }
}

fn rows_of(partition: u32) -> Vec<i64> {
    let first = i64::from(partition) * 1000;
    (first..first + 40).collect()
}

type Damage<'a> = (&'a str, &'a dyn Fn(&[PathBuf]));

/// Does something to the bytes of a file.
fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("is there");
    how(&mut bytes);
    std::fs::write(path, bytes).expect("writable");
}

const DAMAGES: [Damage<'_>; 5] = [
    ("a changed byte in the first block", &|files| {
        files.iter().for_each(|file| change(file, |bytes| bytes[100] ^= 1));
    }),
    ("a changed byte in the last block", &|files| {
        files.iter().for_each(|file| change(file, |bytes| *bytes.last_mut().expect("some") ^= 1));
    }),
    ("half of a file", &|files| {
        files.iter().for_each(|file| change(file, |bytes| bytes.truncate(bytes.len() / 2)));
    }),
    ("an empty file", &|files| {
        files.iter().for_each(|file| change(file, Vec::clear));
    }),
    ("files under each other's names", &|files| {
        let all: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("is there")).collect();
        for (file, bytes) in files.iter().cycle().skip(1).zip(all) {
            std::fs::write(file, bytes).expect("writable");
        }
    }),
];

#[tokio::test]
async fn a_copy_that_is_not_what_was_written_is_read_from_the_other() {
    for (what, damage) in DAMAGES {
        for nth in 0..2 {
            let pair = Pair::new();
            let output = pair.written().await;
            damage(&pair.files(nth));
            for partition in 0..PARTITIONS {
                let rows = pair.read(&output, partition).await;
                assert_eq!(rows.expect(what), rows_of(partition), "{what} at {nth}");
            }
            let corrupt = |n: usize| pair.workers[n].stats().corrupt;
            assert_eq!(corrupt(0) > 0, nth == 0, "{what}: the first copy is the one that is read");
            assert_eq!(corrupt(1), 0, "{what} at {nth}");
        }
    }
}

#[tokio::test]
async fn two_copies_that_are_not_what_was_written_are_lost_by_name() {
    for (what, damage) in DAMAGES {
        let pair = Pair::new();
        let output = pair.written().await;
        damage(&pair.files(0));
        damage(&pair.files(1));
        for partition in 0..PARTITIONS {
            let lost = error(pair.read(&output, partition).await);
            assert_eq!(lost.kind(), Kind::Lost, "{what}: {lost}");
            let fault = ReadFault::of(&lost).expect("it says what is missing");
            assert!(!fault.maps.is_empty() && !fault.holders.is_empty(), "{what}");
            let place = format!("partition {partition}");
            assert!(lost.message().contains(&place), "{what}: {lost}");
        }
    }
}

/// Each block is whole in one of the copies. A worker reads a piece of a partition at a time and gives
/// none of it if one block is damaged, so small partitions are not put together from both copies.
#[tokio::test]
async fn small_copies_that_are_damaged_in_different_places_are_lost() {
    let pair = Pair::new();
    let output = pair.written().await;
    let last = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("some") ^= 1;
    pair.files(0).iter().for_each(|file| change(file, last));
    pair.files(1).iter().for_each(|file| change(file, |bytes| bytes[100] ^= 1));
    for partition in 0..PARTITIONS {
        let lost = error(pair.read(&output, partition).await);
        assert_eq!(lost.kind(), Kind::Lost, "{lost}");
    }
}
