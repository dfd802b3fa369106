//! Pushes that wait, for memory or for a store, while what they wait for goes away: each is answered.

use std::sync::atomic::Ordering::SeqCst;

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Push, Pushed, Refusal};
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::{Class, Tier};
use futures::future::BoxFuture;

use super::bed::{local, me, open, soon, until, workers_at};
use super::disks::disk;
use super::moody::{Ward, pass, while_time_passes};
use super::odd::Odd;
use super::*;

const MAP: MapAttempt = MapAttempt { map: 0, attempt: Attempt(0) };
pub(crate) const LIMIT: u64 = 100_000;

/// A block of any query.
pub(crate) fn of_query(query: u128, batch: u32, length: usize) -> Vec<Block> {
    let block = block(1, MAP, batch, length);
    let shuffle = ShuffleId { query: QueryId::from_u128(query), ..block.id.shuffle };
    let id = BlockId { shuffle, ..block.id };
    vec![Block::new(id, block.rows, block.codec, block.body)]
}

fn store(worker: &Arc<ShuffleWorker>, blocks: Vec<Block>) -> BoxFuture<'static, Result<Pushed>> {
    let worker = Arc::clone(worker);
    Box::pin(async move { worker.store(Push::plain(blocks)).await })
}

/// A worker above a store that does not answer, and the pushes that fill its memory.
async fn above_a_silent_store(query: u128) -> (Arc<ShuffleWorker>, Odd) {
    let odd = Odd::default();
    odd.0.stalled.store(true, SeqCst);
    let options = Options { objects: Some(odd.options()), ..Options::new(ByteCount(LIMIT)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no folder to fail");
    worker.push(of_query(query, 0, 90_000)).await.expect("fits");
    (worker, odd)
}

/// The same above a disk that hangs.
pub(crate) async fn above_a_disk_that_hangs(query: u128) -> Ward {
    let ward = Ward::new(Options::new(ByteCount(LIMIT)), &[disk(Class::Ssd)]);
    ward.moods[0].stall(true);
    ward.worker.push(of_query(query, 0, 90_000)).await.expect("fits");
    ward
}

async fn assert_waits(push: &mut BoxFuture<'static, Result<Pushed>>) {
    for _ in 0..20 {
        assert!(futures::poll!(&mut *push).is_pending(), "it has to wait");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_push_that_waits_for_memory_is_fenced_when_its_query_ends() {
    let (worker, odd) = above_a_silent_store(1).await;
    let mut push = store(&worker, of_query(1, 1, 20_000));
    assert_waits(&mut push).await;
    worker.delete_query(QueryId::from_u128(1)).await.expect("works");
    assert_eq!(error(soon("the push", push).await).kind(), Kind::Fenced);
    assert_eq!(worker.stats().memory_bytes, 0);
    odd.heal();

    let ward = above_a_disk_that_hangs(1).await;
    let mut push = store(&ward.worker, of_query(1, 1, 20_000));
    assert_waits(&mut push).await;
    ward.worker.delete_query(QueryId::from_u128(1)).await.expect("does not wait for the disk");
    assert_eq!(error(soon("the push", push).await).kind(), Kind::Fenced);
    assert_eq!(ward.worker.stats().memory_bytes, 0);
    ward.moods[0].stall(false);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_may_not_come_any_more_is_fenced_though_memory_stays_full() {
    let env = Env::seeded(1);
    // Query 2 fills the memory, and nothing takes it.
    let (worker, odd) = above_a_silent_store(2).await;
    for what in ["deleted", "discarded", "sealed"] {
        let query = QueryId::from_u128(1 + 10 * what.len() as u128);
        let mut push = store(&worker, of_query(query.to_u128(), 0, 20_000));
        assert_waits(&mut push).await;
        assert_eq!(worker.stats().waiting, 1, "{what}");
        let shuffle = ShuffleId { query, ..shuffle(1) };
        match what {
            "deleted" => worker.delete_query(query).await.expect("works"),
            "discarded" => worker.discard(shuffle, MAP).await.expect("works"),
            _ => worker.seal(shuffle).await.expect("works"),
        }
        let began = env.now();
        assert_eq!(error(push.await).kind(), Kind::Fenced, "{what}");
        assert!(env.now() - began <= Duration::from_millis(200), "{what}: nothing to wait for");
        let late = store(&worker, of_query(query.to_u128(), 0, 20_000)).await;
        assert_eq!(error(late).kind(), Kind::Fenced, "{what}: as one that comes afterwards");
    }
    assert_eq!((worker.stats().answers.no_memory, worker.stats().waiting), (0, 0));
    odd.heal();

    let ward = above_a_disk_that_hangs(2).await;
    let mut push = store(&ward.worker, of_query(1, 0, 20_000));
    assert_waits(&mut push).await;
    ward.worker.delete_query(QueryId::from_u128(1)).await.expect("works");
    assert_eq!(error(while_time_passes(push).await).kind(), Kind::Fenced);
    ward.moods[0].stall(false);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_waits_when_the_worker_drains_is_stored_or_exhausted() {
    for answers in [true, false] {
        let (worker, odd) = above_a_silent_store(1).await;
        let mut push = store(&worker, of_query(1, 1, 20_000));
        assert_waits(&mut push).await;
        worker.drain();
        let late = store(&worker, of_query(1, 2, 10)).await.expect("an answer");
        assert_eq!(late, Pushed::Refused(Refusal::Draining, Vec::new()));
        assert_waits(&mut push).await;
        if answers {
            odd.heal();
            assert!(matches!(push.await, Ok(Pushed::Stored(_))), "it came before");
        } else {
            assert_eq!(error(push.await).kind(), Kind::Exhausted);
        }
        assert!(worker.stats().memory_bytes <= LIMIT);
        odd.heal();
    }
}

/// The store is the first choice, and the disk has the table.
fn syncing(odd: &Odd, folder: &std::path::Path) -> Arc<ShuffleWorker> {
    let tiers = vec![Tier::Objects, Tier::Disks];
    let options = Options {
        objects: Some(odd.options()),
        tiers,
        sync_pushes: true,
        ..Options::in_folder(ByteCount(LIMIT), folder)
    };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("usable");
    worker.answers_for(me());
    worker
}

#[tokio::test(start_paused = true)]
async fn a_push_that_waits_for_a_silent_store_is_answered_when_its_query_or_its_worker_ends() {
    let folder = tempfile::tempdir().expect("a place to write");
    let odd = Odd::default();
    odd.0.stalled.store(true, SeqCst);
    let worker = syncing(&odd, folder.path());
    let env = Env::seeded(1);
    for query in [1, 2] {
        let mut push = store(&worker, of_query(query, 0, 1000));
        assert_waits(&mut push).await;
        let began = env.now();
        if query == 1 {
            worker.delete_query(QueryId::from_u128(1)).await.expect("works");
            // It was stored, and is removed: no level but the least.
            let answer = push.await;
            let least = matches!(&answer, Ok(Pushed::Stored(ack)) if *ack == dunlin_proto::shuffle::Ack::PLAIN);
            assert!(least || answer.is_err(), "{answer:?}");
            assert!(env.now() - began < Duration::from_secs(1), "nothing is left to wait for");
        } else {
            worker.hand_over(Duration::from_secs(12)).await.expect("the disk works");
            assert!(env.now() - began <= Duration::from_secs(13));
            let answer = push.await.expect("an answer");
            assert_eq!(answer, Pushed::Refused(Refusal::Draining, Vec::new()), "it goes elsewhere");
            assert!(env.now() - began <= Duration::from_secs(31));
        }
    }
    odd.heal();
    pass(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_push_that_waits_when_the_door_closes_is_worth_another_try_and_leaves_nothing() {
    for by_drop in [false, true] {
        let ward = above_a_disk_that_hangs(1).await;
        let before = ward.worker.stats().memory_bytes;
        let door = open(Arc::clone(&ward.worker) as _, local()).await;
        let workers = workers_at(&door.address().to_string(), TcpOptions::default());
        let api = workers.connect(me()).expect("known");
        let push = api.store(Push::plain(of_query(1, 1, 20_000)));
        let closing = async {
            until("the push", || door.stats().requests == 1).await;
            match by_drop {
                true => drop(door),
                false => door.close().await,
            }
        };
        let (answer, ()) = soon("the push", async { tokio::join!(push, closing) }).await;
        assert_eq!(error(answer).kind(), Kind::Retry);
        ward.moods[0].stall(false);
        let emptied = || ward.worker.stats().memory_bytes < before;
        until("the flush", emptied).await;
        let blocks = ward.worker.stats().blocks;
        assert_eq!(blocks, 1, "what nobody waits for any more is not stored");
        ward.ends_clean().await;
    }
}
