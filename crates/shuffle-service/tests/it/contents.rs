//! Reading a partition in pieces that the caller cuts.

use std::sync::Arc;

use dunlin_base::{Kind, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_shuffle_service::{BlockAt, Order, ShuffleWorker};

use super::{attempt, block, in_memory, on_disk, same, shuffle};

const PARTITION: PartitionId = PartitionId(4);

fn names(blocks: &[Block]) -> Vec<BlockAt> {
    let name = |block: &Block| BlockAt {
        map: block.id.map,
        attempt: block.id.attempt,
        batch: block.id.batch,
        bytes: block.body.len() as u64,
    };
    blocks.iter().map(name).collect()
}

/// Blocks of three maps, as they come.
fn mixed() -> Vec<Block> {
    let of = [(2, 0), (0, 0), (1, 0), (0, 1), (2, 1), (1, 1)];
    of.map(|(map, batch)| block(4, attempt(map, 1), batch, 1000 + map as usize)).to_vec()
}

fn list(worker: &ShuffleWorker, order: &Order) -> Vec<BlockAt> {
    worker.contents(shuffle(1), PARTITION, order).expect("the partition is here")
}

async fn filled(worker: Arc<ShuffleWorker>) -> (Arc<ShuffleWorker>, Vec<Block>) {
    let blocks = mixed();
    for one in blocks.clone() {
        worker.push(vec![one]).await.expect("there is room");
    }
    (worker, blocks)
}

#[tokio::test]
async fn blocks_are_listed_as_they_came_or_by_map() {
    let (worker, blocks) = filled(in_memory(1 << 20)).await;
    assert_eq!(list(&worker, &Order::Arrival), names(&blocks));
    let mut sorted = names(&blocks);
    sorted.sort_by_key(|at| (at.map, at.batch));
    assert_eq!(list(&worker, &Order::Maps(0..3)), sorted);
    assert_eq!(list(&worker, &Order::Maps(1..2)), sorted[2..4]);
    assert_eq!(list(&worker, &Order::Maps(3..9)), []);
}

#[tokio::test]
async fn any_of_them_are_read_from_memory_and_from_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    for worker in [in_memory(1 << 20), on_disk(1 << 20, folder.path())] {
        let (worker, blocks) = filled(worker).await;
        let wanted: Vec<Block> = [4, 0, 5].map(|at: usize| blocks[at].clone()).to_vec();
        for flushed in [false, true] {
            if flushed && worker.stats().disks.is_empty() {
                continue;
            }
            let read = worker.blocks(shuffle(1), PARTITION, (7, &names(&wanted))).await;
            assert!(same(&read.expect("they are here"), &wanted), "flushed: {flushed}");
            if !worker.stats().disks.is_empty() {
                worker.flush().await.expect("the disk takes them");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_here_is_an_error_and_never_empty() {
    let (worker, blocks) = filled(in_memory(1 << 20)).await;
    let elsewhere = worker.contents(shuffle(2), PARTITION, &Order::Arrival);
    assert_eq!(elsewhere.expect_err("unknown").kind(), Kind::Lost);
    let other = worker.contents(shuffle(1), PartitionId(5), &Order::Arrival);
    assert_eq!(other.expect_err("unknown").kind(), Kind::Lost);
    let mut wanted = names(&blocks[..2]);
    wanted[1].batch = 77;
    let missing = worker.blocks(shuffle(1), PARTITION, (7, &wanted)).await;
    assert_eq!(missing.expect_err("no such block").kind(), Kind::Lost);
    assert_eq!(worker.bytes_of(shuffle(1), PARTITION), Some(6 * 1000 + 2 * 3));
    assert_eq!(worker.bytes_of(shuffle(2), PARTITION), None);
}
