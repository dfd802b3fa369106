//! Tests of the client half: bodies alone, then writers and readers on a worker that misbehaves,
//! then all of it on the real worker.

mod chaos;
mod codec;
mod congestion;
mod copies;
mod damaged;
mod data;
mod end_to_end;
mod faults;
mod fuzz;
mod golden;
mod network;
mod pauses;
mod shares;
mod sorted;
mod writer;

use std::sync::Arc;

use dunlin_base::{Attempt, Env, Error, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::ShuffleApi;

use crate::{LocalWorkers, OneWorker, ShuffleWriter, WriterOptions};

/// Query and stage of [`shuffle`].
fn of() -> (QueryId, StageId) {
    (shuffle().query, shuffle().stage)
}

fn shuffle() -> ShuffleId {
    ShuffleId { query: QueryId::from_u128(1), stage: StageId(2), epoch: StageEpoch(0) }
}

fn process(n: u128) -> ProcessId {
    ProcessId::from_u128(n)
}

fn options(map: u32, partitions: u32) -> WriterOptions {
    WriterOptions::new(shuffle(), map, Attempt(1), data::schema(), partitions)
}

/// A writer that knows one worker, of process `id`.
fn writer_to(api: Arc<dyn ShuffleApi>, id: ProcessId, options: WriterOptions) -> ShuffleWriter {
    let workers = LocalWorkers::new();
    workers.insert(id, api);
    ShuffleWriter::new(Arc::new(workers), Arc::new(OneWorker(id)), options)
}

fn error<T>(result: Result<T>) -> Error {
    result.err().expect("an error was due")
}
