//! Disks that fill up, fail, stall and change bytes.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;

use super::moody::{Mood, Moody};
use super::*;

fn moody(directory: &Path, push_wait: Duration) -> (Arc<ShuffleWorker>, Arc<Mood>) {
    let (disk, mood) = Moody::open(directory);
    let options = Options { push_wait, ..Options::new(ByteCount(100_000)) };
    (ShuffleWorker::with_disk(options, Some(Arc::new(disk)), Env::seeded(1)), mood)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_full_disk_refuses_by_name_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(directory.path(), LONG);
    let map = attempt(0, 0);
    mood.full.store(true, SeqCst);
    let mut acknowledged = 0;
    let error = loop {
        match worker.push(vec![block(1, map, acknowledged, 20_000)]).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(acknowledged, 4, "the memory limit holds");
    assert_eq!(error.kind(), Kind::Exhausted);
    let place = directory.path().display().to_string();
    assert!(error.message().contains(&place), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--scratch")), "{error:?}");
    let query = directory.path().join("dunlin-shuffle").join(shuffle(1).query.to_string());
    let left = std::fs::read_dir(query).expect("was created").count();
    assert_eq!(left, 0, "a failed write gives its space back");
    let expected = |n| (0..n).map(|n| block(1, map, n, 20_000)).collect::<Vec<_>>();
    let blocks = read(&worker, 1, Some(&[map])).await.expect("acknowledged blocks stay");
    assert!(same(&blocks, &expected(4)));

    // Once there is room again, the next file takes all that is in memory.
    mood.full.store(false, SeqCst);
    let env = Env::seeded(1);
    let bounded = env.timeout(LONG, async {
        while worker.push(vec![block(1, map, 4, 20_000)]).await.is_err() {
            tokio::task::yield_now().await;
        }
        worker.flush().await
    });
    bounded.await.expect("recovers in time").expect("the disk works again");
    let blocks = read(&worker, 1, Some(&[map])).await.expect("all there");
    assert!(same(&blocks, &expected(5)));
}

#[tokio::test]
async fn a_push_waits_for_a_slow_disk_and_not_for_ever() {
    let directory = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(directory.path(), LONG);
    let map = attempt(0, 0);
    mood.stall(true);
    for batch in 0..4 {
        worker.push(vec![block(1, map, batch, 20_000)]).await.expect("fits");
    }
    let mut waiting = Box::pin(worker.push(vec![block(1, map, 4, 20_000)]));
    assert!(futures::poll!(&mut waiting).is_pending(), "over the limit");
    mood.stall(false);
    waiting.await.expect("goes on when memory is free");
    drop(worker);

    let directory = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(directory.path(), Duration::from_millis(20));
    mood.stall(true);
    worker.push(vec![block(1, map, 0, 90_000)]).await.expect("fits");
    let refused = worker.push(vec![block(1, map, 1, 20_000)]).await;
    mood.stall(false);
    assert_eq!(error(refused).kind(), Kind::Exhausted);
}

#[tokio::test]
async fn a_query_that_ends_during_its_flush_leaves_no_file() {
    let directory = tempfile::tempdir().expect("a place to write");
    let (worker, mood) = moody(directory.path(), LONG);
    mood.stall(true);
    worker.push(vec![block(1, attempt(0, 0), 0, 1000)]).await.expect("fits");
    let mut flush = Box::pin(worker.flush());
    assert!(futures::poll!(&mut flush).is_pending());
    tokio::task::yield_now().await;
    worker.delete_query(shuffle(1).query).await.expect("does not wait for the flush");
    mood.stall(false);
    flush.await.expect("nothing left to do");
    let left =
        std::fs::read_dir(directory.path().join("dunlin-shuffle")).expect("is there").count();
    assert_eq!(left, 0);
    let stats = worker.stats();
    assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.blocks), (0, 0, 0));
}

pub(crate) fn only_file(directory: &Path) -> PathBuf {
    let mut at = directory.join("dunlin-shuffle");
    while at.is_dir() {
        let mut entries = std::fs::read_dir(&at).expect("readable");
        at = entries.next().expect("one entry").expect("readable").path();
    }
    at
}

#[tokio::test]
async fn every_changed_byte_on_disk_is_noticed_and_named() {
    let directory = tempfile::tempdir().expect("a place to write");
    let worker = on_disk(1 << 20, directory.path());
    let map = attempt(0, 0);
    worker.push(vec![block(7, map, 0, 20), block(7, map, 1, 20)]).await.expect("fits");
    worker.flush().await.expect("the disk works");
    let path = only_file(directory.path());
    let whole = std::fs::read(&path).expect("written");
    assert_eq!(whole.len(), 2 * 92);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        std::fs::write(&path, &changed).expect("writable");
        let error = error(read(&worker, 7, Some(&[map])).await);
        assert_eq!(error.kind(), Kind::Lost, "byte {at}");
        let offset = if at < 92 { "offset 0" } else { "offset 92" };
        for word in ["partition 7", offset, path.to_str().expect("plain name")] {
            assert!(error.message().contains(word), "byte {at}: {error}");
        }
    }
    std::fs::write(&path, &whole[..100]).expect("writable");
    assert_eq!(error(read(&worker, 7, Some(&[map])).await).kind(), Kind::Lost, "a short file");
    // Two valid blocks in each other's place.
    let swapped = [&whole[92..], &whole[..92]].concat();
    std::fs::write(&path, swapped).expect("writable");
    assert_eq!(error(read(&worker, 7, Some(&[map])).await).kind(), Kind::Lost, "swapped blocks");
}
