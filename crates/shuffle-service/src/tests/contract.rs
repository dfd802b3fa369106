//! What the contract promises, on a worker without a disk.

use dunlin_base::Kind;
use futures::StreamExt;

use super::*;

#[tokio::test]
async fn blocks_come_in_the_order_of_the_request_then_by_batch() {
    let worker = in_memory(1 << 20);
    let (a, b) = (attempt(0, 0), attempt(8, 2));
    worker.push(vec![block(1, b, 1, 10), block(1, a, 0, 10)]).await.expect("fits");
    worker.push(vec![block(2, a, 0, 10), block(1, b, 0, 10)]).await.expect("fits");
    let blocks = read(&worker, 1, Some(&[b, a])).await.expect("all there");
    assert!(same(&blocks, &[block(1, b, 0, 10), block(1, b, 1, 10), block(1, a, 0, 10)]));
    let nothing = read(&worker, 9, Some(&[a])).await.expect("an empty partition is no error");
    assert!(nothing.is_empty());
}

#[tokio::test]
async fn a_block_pushed_twice_is_stored_once() {
    let worker = in_memory(1 << 20);
    let one = block(1, attempt(0, 0), 0, 100);
    for _ in 0..3 {
        worker.push(vec![one.clone()]).await.expect("repeating is allowed");
    }
    let blocks = read(&worker, 1, Some(&[attempt(0, 0)])).await.expect("stored");
    assert!(same(&blocks, std::slice::from_ref(&one)));
    assert_eq!((worker.stats().blocks, worker.stats().duplicates), (1, 2));
    assert_eq!(worker.stats().memory_bytes, 228, "duplicates are not charged");

    let other = Block::new(one.id, one.rows, one.codec, Bytes::from_static(b"other"));
    assert_eq!(error(worker.push(vec![other]).await).kind(), Kind::Bug);
}

#[tokio::test]
async fn unknown_shuffles_and_wrong_checksums_are_lost() {
    let worker = in_memory(1 << 20);
    assert_eq!(error(read(&worker, 1, Some(&[])).await).kind(), Kind::Lost);
    let mut bad = block(1, attempt(0, 0), 1, 10);
    bad.checksum ^= 1;
    let error = error(worker.push(vec![block(1, attempt(0, 0), 0, 10), bad]).await);
    assert_eq!(error.kind(), Kind::Lost);
    assert_eq!(worker.stats().blocks, 0, "nothing of a bad push is stored");
    assert_eq!(worker.stats().corrupt, 1);
}

#[tokio::test]
async fn memory_is_verified_on_read_too() {
    let options = Options { verify_pushes: false, ..Options::new(ByteCount(1 << 20)) };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("no directory to fail");
    let mut bad = block(5, attempt(0, 0), 0, 10);
    bad.id.partition = PartitionId(6);
    worker.push(vec![bad]).await.expect("not checked");
    let error = error(read(&worker, 6, Some(&[attempt(0, 0)])).await);
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.message().contains("partition 6"), "{error}");
}

#[tokio::test]
async fn discarded_attempts_are_gone_and_fenced() {
    let worker = in_memory(1 << 20);
    let (loser, winner) = (attempt(0, 0), attempt(0, 1));
    worker.push(vec![block(1, loser, 0, 10), block(1, winner, 0, 10)]).await.expect("fits");
    for _ in 0..2 {
        worker.discard(shuffle(1), loser).await.expect("repeatable");
    }
    let blocks = read(&worker, 1, Some(&[loser, winner])).await.expect("the winner is there");
    assert!(same(&blocks, &[block(1, winner, 0, 10)]));
    assert_eq!(error(worker.push(vec![block(1, loser, 1, 10)]).await).kind(), Kind::Fenced);
    worker.discard(shuffle(2), loser).await.expect("an unknown shuffle is no error");
}

#[tokio::test]
async fn a_sealed_shuffle_takes_only_repeats() {
    let worker = in_memory(1 << 20);
    let one = block(1, attempt(0, 0), 0, 10);
    worker.push(vec![one.clone()]).await.expect("fits");
    worker.seal(shuffle(1)).await.expect("known");
    worker.push(vec![one.clone()]).await.expect("acknowledged before the seal");
    let late = worker.push(vec![one, block(1, attempt(0, 0), 1, 10)]).await;
    assert_eq!(error(late).kind(), Kind::Fenced);
    assert_eq!(worker.stats().blocks, 1);
}

#[tokio::test]
async fn an_ended_query_leaves_nothing_and_stays_ended() {
    let worker = in_memory(1 << 20);
    worker.push(vec![block(1, attempt(0, 0), 0, 10)]).await.expect("fits");
    assert_eq!(worker.shuffles().await.expect("always answers"), [shuffle(1)]);
    for _ in 0..2 {
        worker.delete_query(shuffle(1).query).await.expect("repeatable");
    }
    assert!(worker.shuffles().await.expect("always answers").is_empty());
    let stats = worker.stats();
    assert_eq!((stats.blocks, stats.memory_bytes), (0, 0));
    let late = worker.push(vec![block(1, attempt(0, 0), 0, 10)]).await;
    assert_eq!(error(late).kind(), Kind::Fenced);
    assert_eq!(error(read(&worker, 1, None).await).kind(), Kind::Lost);
    assert!(worker.shuffles().await.expect("always answers").is_empty());
}

#[tokio::test]
async fn a_follower_sees_blocks_as_they_arrive_until_the_seal() {
    let worker = in_memory(1 << 20);
    let request = ReadRequest { shuffle: shuffle(1), partition: PartitionId(1), maps: None };
    let mut stream = worker.read(request).await.expect("may come before the first block");
    for batch in [4, 0, 2] {
        assert!(futures::poll!(stream.next()).is_pending(), "nothing new yet");
        let one = block(1, attempt(0, 0), batch, 10);
        worker.push(vec![one.clone()]).await.expect("fits");
        let next = stream.next().await.expect("not sealed").expect("whole");
        assert!(same(&[next], &[one]));
    }
    assert!(futures::poll!(stream.next()).is_pending());
    worker.seal(shuffle(1)).await.expect("known");
    assert!(stream.next().await.is_none(), "the seal ends it");
    let all = read(&worker, 1, None).await.expect("whole");
    assert_eq!(all.iter().map(|b| b.id.batch).collect::<Vec<_>>(), [4, 0, 2]);
}

#[tokio::test]
async fn deleting_ends_followers_and_readers_with_lost() {
    let worker = in_memory(8 << 20);
    let big = (0..3).map(|n| block(1, attempt(0, 0), n, 2 << 20)).collect();
    worker.push(big).await.expect("fits");
    let request = |maps| ReadRequest { shuffle: shuffle(1), partition: PartitionId(1), maps };
    let mut reader = worker.read(request(Some(vec![attempt(0, 0)]))).await.expect("known");
    let mut follower = worker.read(request(None)).await.expect("known");
    for stream in [&mut reader, &mut follower] {
        stream.next().await.expect("has blocks").expect("whole");
    }
    worker.delete_query(shuffle(1).query).await.expect("works");
    for stream in [reader, follower] {
        let rest: Vec<_> = stream.collect().await;
        let last = rest.into_iter().last().expect("ends with an error");
        assert_eq!(error(last).kind(), Kind::Lost);
    }
}

#[tokio::test]
async fn without_a_disk_the_limit_refuses() {
    let worker = in_memory(10_000);
    worker.push(vec![block(1, attempt(0, 0), 0, 9_000)]).await.expect("fits");
    let error = error(worker.push(vec![block(1, attempt(0, 0), 1, 1_000)]).await);
    assert_eq!(error.kind(), Kind::Exhausted);
    assert_eq!(worker.stats().memory_bytes, 9_128, "a refused push is not charged");
}
