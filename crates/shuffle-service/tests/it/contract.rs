//! What the contract promises, on a worker without a disk: to a client in its process, and to one
//! behind a socket.

use dunlin_base::Kind;
use dunlin_proto::shuffle::{Push, Pushed, Refusal};
use futures::StreamExt;

use super::bed::{Bed, Over};
use super::*;

macro_rules! both_ways {
    ($($name:ident,)*) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Over::Process).await;
            })*
        }

        mod over_tcp {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Over::Tcp).await;
            })*
        }
    };
}

both_ways! {
    blocks_come_in_the_order_of_the_request_then_by_batch,
    a_block_pushed_twice_is_stored_once,
    unknown_shuffles_and_wrong_checksums_are_lost,
    memory_is_verified_on_read_too,
    discarded_attempts_are_gone_and_fenced,
    a_sealed_shuffle_takes_only_repeats,
    an_ended_query_leaves_nothing_and_stays_ended,
    a_follower_sees_blocks_as_they_arrive_until_the_seal,
    deleting_ends_followers_and_readers_with_lost,
    without_a_disk_the_limit_refuses,
    very_many_empty_blocks_are_charged_and_refused_past_the_limit,
    a_partition_past_its_thresholds_is_moved_softly_and_then_refused,
}

async fn blocks_come_in_the_order_of_the_request_then_by_batch(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    let (a, b) = (attempt(0, 0), attempt(8, 2));
    bed.api.push(vec![block(1, b, 1, 10), block(1, a, 0, 10)]).await.expect("fits");
    bed.api.push(vec![block(2, a, 0, 10), block(1, b, 0, 10)]).await.expect("fits");
    let blocks = read(&bed.api, 1, Some(&[b, a])).await.expect("all there");
    assert!(same(&blocks, &[block(1, b, 0, 10), block(1, b, 1, 10), block(1, a, 0, 10)]));
    let nothing = read(&bed.api, 9, Some(&[a])).await.expect("an empty partition is no error");
    assert!(nothing.is_empty());
}

async fn a_block_pushed_twice_is_stored_once(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    let one = block(1, attempt(0, 0), 0, 100);
    for _ in 0..3 {
        bed.api.push(vec![one.clone()]).await.expect("repeating is allowed");
    }
    let blocks = read(&bed.api, 1, Some(&[attempt(0, 0)])).await.expect("stored");
    assert!(same(&blocks, std::slice::from_ref(&one)));
    assert_eq!((bed.worker.stats().blocks, bed.worker.stats().duplicates), (1, 2));
    assert_eq!(bed.worker.stats().memory_bytes, 228, "duplicates are not charged");

    let other = Block::new(one.id, one.rows, one.codec, Bytes::from_static(b"other"));
    assert_eq!(error(bed.api.push(vec![other]).await).kind(), Kind::Bug);
}

async fn unknown_shuffles_and_wrong_checksums_are_lost(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    assert_eq!(error(read(&bed.api, 1, Some(&[])).await).kind(), Kind::Lost);
    let mut bad = block(1, attempt(0, 0), 1, 10);
    bad.checksum ^= 1;
    let error = error(bed.api.push(vec![block(1, attempt(0, 0), 0, 10), bad]).await);
    assert_eq!(error.kind(), Kind::Lost);
    assert_eq!(bed.worker.stats().blocks, 0, "nothing of a bad push is stored");
    assert_eq!(bed.worker.stats().corrupt, 1);
}

async fn memory_is_verified_on_read_too(over: Over) {
    let options = Options { verify_pushes: false, ..Options::new(ByteCount(1 << 20)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no directory to fail");
    let bed = Bed::around(over, worker).await;
    let mut bad = block(5, attempt(0, 0), 0, 10);
    bad.id.partition = PartitionId(6);
    bed.api.push(vec![bad]).await.expect("not checked");
    let error = error(read(&bed.api, 6, Some(&[attempt(0, 0)])).await);
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.message().contains("partition 6"), "{error}");
}

async fn discarded_attempts_are_gone_and_fenced(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    let (loser, winner) = (attempt(0, 0), attempt(0, 1));
    bed.api.push(vec![block(1, loser, 0, 10), block(1, winner, 0, 10)]).await.expect("fits");
    for _ in 0..2 {
        bed.api.discard(shuffle(1), loser).await.expect("repeatable");
    }
    let blocks = read(&bed.api, 1, Some(&[loser, winner])).await.expect("the winner is there");
    assert!(same(&blocks, &[block(1, winner, 0, 10)]));
    assert_eq!(error(bed.api.push(vec![block(1, loser, 1, 10)]).await).kind(), Kind::Fenced);
    bed.api.discard(shuffle(2), loser).await.expect("an unknown shuffle is no error");
}

async fn a_sealed_shuffle_takes_only_repeats(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    let one = block(1, attempt(0, 0), 0, 10);
    bed.api.push(vec![one.clone()]).await.expect("fits");
    bed.api.seal(shuffle(1)).await.expect("known");
    bed.api.push(vec![one.clone()]).await.expect("acknowledged before the seal");
    let late = bed.api.push(vec![one, block(1, attempt(0, 0), 1, 10)]).await;
    assert_eq!(error(late).kind(), Kind::Fenced);
    assert_eq!(bed.worker.stats().blocks, 1);
}

async fn an_ended_query_leaves_nothing_and_stays_ended(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    bed.api.push(vec![block(1, attempt(0, 0), 0, 10)]).await.expect("fits");
    assert_eq!(bed.api.shuffles().await.expect("always answers"), [shuffle(1)]);
    for _ in 0..2 {
        bed.api.delete_query(shuffle(1).query).await.expect("repeatable");
    }
    assert!(bed.api.shuffles().await.expect("always answers").is_empty());
    let stats = bed.worker.stats();
    assert_eq!((stats.blocks, stats.memory_bytes), (0, 0));
    let late = bed.api.push(vec![block(1, attempt(0, 0), 0, 10)]).await;
    assert_eq!(error(late).kind(), Kind::Fenced);
    assert_eq!(error(read(&bed.api, 1, None).await).kind(), Kind::Lost);
    assert!(bed.api.shuffles().await.expect("always answers").is_empty());
}

async fn a_follower_sees_blocks_as_they_arrive_until_the_seal(over: Over) {
    let bed = Bed::in_memory(over, 1 << 20).await;
    let request = ReadRequest { shuffle: shuffle(1), partition: PartitionId(1), maps: None };
    let mut stream = bed.api.read(request).await.expect("may come before the first block");
    for batch in [4, 0, 2] {
        assert!(futures::poll!(stream.next()).is_pending(), "nothing new yet");
        let one = block(1, attempt(0, 0), batch, 10);
        bed.api.push(vec![one.clone()]).await.expect("fits");
        let next = stream.next().await.expect("not sealed").expect("whole");
        assert!(same(&[next], &[one]));
    }
    assert!(futures::poll!(stream.next()).is_pending());
    bed.api.seal(shuffle(1)).await.expect("known");
    assert!(stream.next().await.is_none(), "the seal ends it");
    let all = read(&bed.api, 1, None).await.expect("whole");
    assert_eq!(all.iter().map(|b| b.id.batch).collect::<Vec<_>>(), [4, 0, 2]);
}

async fn deleting_ends_followers_and_readers_with_lost(over: Over) {
    let bed = Bed::in_memory(over, 64 << 20).await;
    // More than is located at once, or lies within the window of a reader.
    let big = (0..10).map(|n| block(1, attempt(0, 0), n, 2 << 20)).collect();
    bed.api.push(big).await.expect("fits");
    let request = |maps| ReadRequest { shuffle: shuffle(1), partition: PartitionId(1), maps };
    let mut reader = bed.api.read(request(Some(vec![attempt(0, 0)]))).await.expect("known");
    let mut follower = bed.api.read(request(None)).await.expect("known");
    for stream in [&mut reader, &mut follower] {
        stream.next().await.expect("has blocks").expect("whole");
    }
    bed.api.delete_query(shuffle(1).query).await.expect("works");
    for stream in [reader, follower] {
        let rest: Vec<_> = stream.collect().await;
        let last = rest.into_iter().last().expect("ends with an error");
        assert_eq!(error(last).kind(), Kind::Lost);
    }
}

async fn without_a_disk_the_limit_refuses(over: Over) {
    let bed = Bed::in_memory(over, 10_000).await;
    bed.api.push(vec![block(1, attempt(0, 0), 0, 9_000)]).await.expect("fits");
    let error = error(bed.api.push(vec![block(1, attempt(0, 0), 1, 1_000)]).await);
    assert_eq!(error.kind(), Kind::Exhausted);
    assert_eq!(bed.worker.stats().memory_bytes, 9_128, "a refused push is not charged");
}

async fn very_many_empty_blocks_are_charged_and_refused_past_the_limit(over: Over) {
    const PUSH: u32 = 1000;
    let bed = Bed::in_memory(over, 64 << 20).await;
    let some = |map| (0..PUSH).map(|batch| block(map % 50, attempt(map, 0), batch, 0)).collect();
    for map in 0..100 {
        bed.api.push(some(map)).await.expect("fits");
    }
    let stats = bed.worker.stats();
    assert_eq!((stats.blocks, stats.memory_bytes), (100_000, 100_000 * 128));
    let bed = Bed::in_memory(over, 4 << 20).await;
    let mut map = 0;
    let refused = loop {
        match bed.api.push(some(map)).await {
            Ok(()) => map += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.kind(), map), (Kind::Exhausted, (4 << 20) / 128 / PUSH), "{refused}");
    assert_eq!(bed.worker.stats().blocks, u64::from(map * PUSH), "what was taken is there");
}

async fn a_partition_past_its_thresholds_is_moved_softly_and_then_refused(over: Over) {
    let thresholds = (ByteCount(3000), ByteCount(5000));
    let options = Options {
        split_soft: thresholds.0,
        split_hard: thresholds.1,
        ..Options::new(ByteCount(1 << 20))
    };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no directory to fail");
    let bed = Bed::around(over, worker).await;
    let push = |blocks| bed.api.store(Push::plain(blocks));
    let one = |partition, batch| block(partition, attempt(0, 0), batch, 1000);
    let mut batch = 0;
    let mut moved = None;
    // What is past the soft threshold is stored, and its writer told to move.
    let refused = loop {
        match push(vec![one(1, batch)]).await.expect("no error") {
            Pushed::Stored(ack) if ack.moves.is_empty() => assert_eq!(moved, None),
            Pushed::Stored(ack) => {
                assert_eq!(ack.moves, [PartitionId(1)]);
                moved = moved.or(Some(batch));
            }
            Pushed::Refused(refusal, of) => break (refusal, of),
        }
        batch += 1;
        assert!(batch < 10, "it is refused in the end");
    };
    assert!((2..=3).contains(&moved.expect("it was moved before")), "{moved:?}");
    assert!((5..=6).contains(&batch), "the hard threshold is 5000: {batch}");
    assert_eq!(refused, (Refusal::Large, vec![PartitionId(1)]));

    // A push is refused whole; without the large partition, or as a last resort, it is stored.
    let both = vec![one(2, 0), one(1, batch)];
    let refused = push(both.clone()).await.expect("no error");
    assert_eq!(refused, Pushed::Refused(Refusal::Large, vec![PartitionId(1)]));
    assert!(read(&bed.api, 2, Some(&[attempt(0, 0)])).await.expect("nothing is there").is_empty());
    let last = Push { last_resort: true, ..Push::plain(both) };
    assert!(matches!(bed.api.store(last).await.expect("no error"), Pushed::Stored(_)));
    let there = read(&bed.api, 1, Some(&[attempt(0, 0)])).await.expect("all there");
    assert_eq!(there.len() as u32, batch + 1);
}
