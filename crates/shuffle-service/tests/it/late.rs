//! Calls of the object store that begin and do not end, and those whose answers are lost.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Durability, Push, Pushed};
use dunlin_shuffle_service::ObjectOptions;

use super::moody::{ALWAYS, pass};
use super::odd::Odd;
use super::*;

const MAP: MapAttempt = MapAttempt { map: 0, attempt: Attempt(0) };

/// Four tries of a call, with what lies between them.
const TRIES: Duration = Duration::from_secs(4 * 30 + 1);

fn stored(limit: u64) -> (Arc<ShuffleWorker>, Odd) {
    let odd = Odd::default();
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(limit)) };
    (ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail"), odd)
}

fn large() -> Block {
    block(1, MAP, 0, 20 << 20)
}

async fn took<T>(what: impl Future<Output = T>) -> (T, Duration) {
    let env = Env::seeded(1);
    let began = env.now();
    let value = what.await;
    (value, env.now() - began)
}

async fn assert_reads(worker: &Arc<ShuffleWorker>, blocks: &[Block]) {
    let found = read(worker, 1, Some(&[MAP])).await.expect("all there");
    assert!(same(&found, blocks), "{} blocks", found.len());
}

async fn assert_ends_clean(worker: &Arc<ShuffleWorker>, odd: &Odd) {
    odd.heal();
    worker.delete_query(shuffle(1).query).await.expect("works");
    assert!(odd.objects().await.is_empty(), "objects are left");
    assert_eq!(worker.stats().memory_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_in_the_middle_is_asked_for_again_and_then_given_up() {
    let (worker, odd) = stored(1 << 20);
    worker.push(vec![block(1, MAP, 0, 1000)]).await.expect("fits");
    worker.flush().await.expect("the store works");
    for fault in [&odd.0.ends, &odd.0.breaks, &odd.0.hangs] {
        let before = fault.fired();
        fault.fail(3);
        assert_reads(&worker, &[block(1, MAP, 0, 1000)]).await;
        assert_eq!(fault.fired(), before + 3);
        fault.fail(ALWAYS);
        let (late, after) = took(read(&worker, 1, Some(&[MAP]))).await;
        let late = error(late);
        assert_eq!(late.kind(), Kind::Retry, "it may answer later: {late}");
        assert!(late.message().contains("partition 1 ") && after < TRIES, "{after:?}: {late}");
        assert_eq!(fault.fired(), before + 7, "as often as a call is tried");
        fault.fail(0);
        assert_reads(&worker, &[block(1, MAP, 0, 1000)]).await;
    }
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_that_hangs_has_its_upload_made_again_under_the_same_name() {
    let (worker, odd) = stored(64 << 20);
    worker.push(vec![large()]).await.expect("fits");
    odd.0.silent.fail(1);
    let (flushed, after) = took(worker.flush()).await;
    flushed.expect("another try succeeds");
    assert!(after < Duration::from_secs(32), "{after:?}");
    assert_eq!((odd.0.silent.fired(), odd.0.uploads.load(SeqCst)), (1, 2));
    assert_eq!(odd.objects().await.len(), 1);
    assert_reads(&worker, &[large()]).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn parts_that_always_hang_leave_their_blocks_in_memory_in_bounded_time() {
    let (worker, odd) = stored(64 << 20);
    worker.push(vec![large()]).await.expect("fits");
    odd.0.silent.fail(ALWAYS);
    let (flushed, after) = took(worker.flush()).await;
    assert_eq!(flushed.expect_err("no answer").kind(), Kind::Exhausted);
    assert!(after < TRIES, "{after:?}");
    assert_eq!((odd.0.silent.fired(), odd.0.uploads.load(SeqCst)), (4, 4));
    assert!(worker.stats().memory_bytes > 20 << 20 && odd.objects().await.is_empty());
    assert_reads(&worker, &[large()]).await;
    odd.0.silent.fail(0);
    pass(Duration::from_secs(2)).await;
    worker.flush().await.expect("it works again");
    assert_reads(&worker, &[large()]).await;
    assert_ends_clean(&worker, &odd).await;
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_answers_are_lost_is_there_once_with_the_same_bytes() {
    for (length, uploads) in [(1000, 0), (20 << 20, 4)] {
        let odd = Odd::default();
        let options = Options {
            objects: Some(ObjectOptions { uploads: 1, ..odd.options() }),
            sync_pushes: true,
            ..Options::new(ByteCount(64 << 20))
        };
        let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
        let one = block(1, MAP, 0, length);
        odd.0.lost.fail(3);
        let stored = worker.store(Push::plain(vec![one.clone()])).await.expect("fits");
        let safe = matches!(&stored, Pushed::Stored(ack) if ack.durability == Durability::Object);
        assert!(safe, "the fourth answer arrives: {stored:?}");
        assert_eq!((odd.0.lost.fired(), odd.0.uploads.load(SeqCst)), (3, uploads));
        let objects = odd.objects().await;
        assert_eq!(objects.len(), 1, "one name");
        let bytes = [&one.header()[..], &one.body].concat();
        // Behind the block lies an index of one.
        let (blocks, index) = objects[0].1.split_at(bytes.len());
        assert!(blocks == bytes && index.len() == 97, "nothing twice");
        assert_eq!(worker.stats().objects.expect("a store").used, bytes.len() as u64);
        assert_ends_clean(&worker, &odd).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_answers_are_all_lost_counts_for_nothing_and_goes_with_its_query() {
    let (worker, odd) = stored(1 << 20);
    let one = block(1, MAP, 0, 1000);
    worker.push(vec![one.clone()]).await.expect("fits");
    odd.0.lost.fail(4);
    assert_eq!(worker.flush().await.expect_err("no answer").kind(), Kind::Exhausted);
    assert_eq!(odd.objects().await.len(), 1, "it is there, and nobody knows");
    assert!(worker.stats().memory_bytes > 1000, "so the block stays");
    let stats = worker.stats().objects.expect("a store");
    assert_eq!((stats.used, stats.failed_uploads), (0, 1));
    pass(Duration::from_secs(2)).await;
    worker.flush().await.expect("it works again");
    let objects = odd.objects().await;
    assert_eq!(objects.len(), 2, "the name of the first is not used again");
    assert_eq!(objects[0].1, objects[1].1);
    assert_eq!(odd.0.deletes.fired(), 0);
    assert_reads(&worker, &[one]).await;
    assert_ends_clean(&worker, &odd).await;
}
