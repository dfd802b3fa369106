//! Memory and disk together, on real files.

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Push, Pushed};

use super::*;

fn files(directory: &std::path::Path) -> usize {
    let folder = directory.join("dunlin-shuffle");
    std::fs::read_dir(folder).expect("the worker made it").count()
}

#[tokio::test]
async fn more_than_memory_goes_to_disk_and_comes_back() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(200_000, directory.path());
    let map = attempt(0, 0);
    // Ten times the memory: pushes have to wait for the flusher.
    for batch in 0..40 {
        let push = (0..5).map(|partition| block(partition, map, batch, 10_000)).collect();
        worker.push(push).await.expect("waits rather than fails");
        assert!(worker.stats().memory_bytes <= 200_000);
    }
    let stats = worker.stats();
    assert!(stats.flushes > 0 && stats.disk_bytes > 1_500_000, "{stats:?}");
    for partition in 0..5 {
        let expected: Vec<_> = (0..40).map(|n| block(partition, map, n, 10_000)).collect();
        let blocks = read(&worker, partition, Some(&[map])).await.expect("all there");
        assert!(same(&blocks, &expected), "partition {partition}");
    }
    worker.delete_query(shuffle(1).query).await.expect("files can be removed");
    let Stats { memory_bytes, disk_bytes, blocks, .. } = worker.stats();
    assert_eq!((memory_bytes, disk_bytes, blocks), (0, 0, 0));
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_partition_is_read_from_file_and_memory_together() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(1 << 20, directory.path());
    let map = attempt(0, 0);
    for batch in [3, 1] {
        worker.push(vec![block(1, map, batch, 1000)]).await.expect("fits");
    }
    worker.flush().await.expect("the disk works");
    worker.push(vec![block(1, map, 0, 1000)]).await.expect("fits");
    worker.push(vec![block(1, map, 1, 1000)]).await.expect("a repeat of a block on disk");
    worker.flush().await.expect("the file is continued");
    worker.push(vec![block(1, map, 2, 400_000)]).await.expect("fits");
    let blocks = read(&worker, 1, Some(&[map])).await.expect("all there");
    let length = |n| if n == 2 { 400_000 } else { 1000 };
    let expected: Vec<_> = (0..4).map(|n| block(1, map, n, length(n))).collect();
    assert!(same(&blocks, &expected));
    let stats = worker.stats();
    assert_eq!((stats.blocks, stats.duplicates, stats.flushes), (4, 1, 2));
    assert_eq!(stats.disk_bytes, 3 * 1072);
    assert_eq!(stats.memory_bytes, 400_000 + 4 * 128);
}

#[tokio::test]
async fn a_new_life_clears_the_remains_and_a_live_worker_keeps_its_own() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(1 << 20, directory.path());
    worker.push(vec![block(1, attempt(0, 0), 0, 1000)]).await.expect("fits");
    worker.flush().await.expect("the disk works");
    assert_eq!(files(directory.path()), 1);

    let options = Options::in_folder(ByteCount(1), directory.path());
    let refused = ShuffleWorker::new(options, Env::seeded(1));
    assert_eq!(error(refused).kind(), Kind::Invalid, "a live worker's folder is not cleared");
    assert_eq!(files(directory.path()), 1);

    drop(worker);
    let _next = on_disk(1 << 20, directory.path());
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_large_push_makes_room_for_itself_below_the_mark() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(100_000, directory.path());
    let map = attempt(0, 0);
    // 60 % is below the mark, so that nothing is flushed until the second push wants 60 % too.
    for batch in 0..2 {
        let push = worker.push(vec![block(1, map, batch, 60_000)]);
        let pushed = Env::seeded(1).timeout(Duration::from_secs(20), push).await;
        pushed.expect("does not wait in vain").expect("fits");
    }
    assert_eq!(read(&worker, 1, Some(&[map])).await.expect("all there").len(), 2);
}

/// Waits until the flusher has written `disk_bytes`.
async fn until_on_disk(worker: &ShuffleWorker, disk_bytes: u64) {
    let wait = async {
        while worker.stats().disk_bytes != disk_bytes {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    let stats = || worker.stats();
    Env::seeded(1).timeout(limit, wait).await.unwrap_or_else(|| panic!("{:?}", stats()));
}

#[tokio::test]
async fn the_partition_with_most_in_memory_is_flushed_first() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(100_000, directory.path());
    let map = attempt(0, 0);
    worker.push(vec![block(0, map, 0, 10_000)]).await.expect("fits");
    worker.push(vec![block(1, map, 0, 70_000)]).await.expect("fits");
    until_on_disk(&worker, 70_072).await;
    // What partition 1 has on disk does not count any more.
    worker.push(vec![block(1, map, 1, 30_000)]).await.expect("fits");
    worker.push(vec![block(0, map, 1, 40_000)]).await.expect("fits");
    until_on_disk(&worker, 70_072 + 10_072 + 40_072).await;
}

#[tokio::test]
async fn who_fills_the_memory_is_told_to_slow_down_and_others_are_not() {
    let worker = in_memory(10_000);
    let slow = async |blocks| match worker.store(Push::plain(blocks)).await.expect("fits") {
        Pushed::Stored(ack) => ack.slow,
        refused => panic!("{refused:?}"),
    };
    let of_query = |query: u128, batch, length| {
        let block = block(1, attempt(0, 0), batch, length);
        let shuffle = ShuffleId { query: QueryId::from_u128(query), ..block.id.shuffle };
        let id = BlockId { shuffle, ..block.id };
        vec![Block::new(id, block.rows, block.codec, block.body)]
    };
    assert!(!slow(of_query(1, 0, 7000)).await, "below the mark");
    assert!(!slow(of_query(2, 0, 500)).await, "past it, but not by this one");
    assert!(slow(of_query(1, 1, 10)).await);
    worker.delete_query(QueryId::from_u128(1)).await.expect("works");
    assert!(!slow(of_query(2, 1, 10)).await, "there is room");
    assert!(slow(of_query(2, 2, 7500)).await, "who is alone has no excuse");
}
