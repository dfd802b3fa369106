//! Tests of the worker and its door through their public surface: the contract in one process and
//! over TCP, real files and disks that misbehave, networks and clients that misbehave.

mod bed;
mod contents;
mod contract;
mod cut;
mod disks;
mod eio;
mod faults;
mod late;
mod model;
mod moody;
mod objects;
mod odd;
mod pauses;
mod restart;
mod shutdown;
mod sick_model;
mod syncs;
mod tiers;
mod uploads;
mod users;
mod waits;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{
    Attempt, ByteCount, Env, Error, PartitionId, QueryId, Result, StageEpoch, StageId,
};
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{MapAttempt, ReadRequest, ShuffleApi};
use dunlin_shuffle_service::{Options, ShuffleWorker, Stats};
use futures::TryStreamExt;

fn shuffle(query: u128) -> ShuffleId {
    let query = QueryId::from_u128(query);
    ShuffleId { query, stage: StageId(3), epoch: StageEpoch(0) }
}

fn attempt(map: u32, attempt: u32) -> MapAttempt {
    MapAttempt { map, attempt: Attempt(attempt) }
}

/// A block of query 1 whose body is a function of its identity.
fn block(partition: u32, of: MapAttempt, batch: u32, length: usize) -> Block {
    let MapAttempt { map, attempt } = of;
    let id =
        BlockId { shuffle: shuffle(1), partition: PartitionId(partition), map, attempt, batch };
    let seed = partition * 7 + map * 31 + attempt.0 * 101 + batch * 997;
    let body: Vec<u8> = (0..length).map(|n| (seed as usize + n * 13) as u8).collect();
    Block::new(id, batch + 1, Codec::Plain, Bytes::from(body))
}

fn in_memory(limit: u64) -> Arc<ShuffleWorker> {
    ShuffleWorker::new(Options::new(ByteCount(limit)), Env::seeded(1))
        .expect("no directory to fail")
}

fn on_disk(limit: u64, directory: &std::path::Path) -> Arc<ShuffleWorker> {
    let options = Options::in_folder(ByteCount(limit), directory);
    ShuffleWorker::new(options, Env::seeded(1)).expect("the directory is usable")
}

fn request(partition: u32, maps: Option<&[MapAttempt]>) -> ReadRequest {
    let maps = maps.map(<[_]>::to_vec);
    ReadRequest { shuffle: shuffle(1), partition: PartitionId(partition), maps }
}

async fn read<W: ShuffleApi + ?Sized>(
    worker: &Arc<W>,
    partition: u32,
    maps: Option<&[MapAttempt]>,
) -> Result<Vec<Block>> {
    worker.read(request(partition, maps)).await?.try_collect().await
}

fn same(left: &[Block], right: &[Block]) -> bool {
    let parts = |b: &Block| (b.id, b.rows, b.checksum, b.body.clone());
    left.iter().map(parts).eq(right.iter().map(parts))
}

fn error<T>(result: Result<T>) -> Error {
    result.err().expect("an error was due")
}
