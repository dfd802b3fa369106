//! The shuffle worker: the contract of [`ShuffleApi`] over partitions, memory budget and disk.

use std::sync::Arc;

use async_trait::async_trait;
use dunlin_base::{Env, Error, QueryId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest, ShuffleApi};

use crate::options::Options;
use crate::stats::Stats;

/// One shuffle worker.
pub struct ShuffleWorker {
    options: Options,
}

impl ShuffleWorker {
    /// A worker with no data. Clears what a former life left in its directory: unreplicated data
    /// die with the process. `Invalid` if the directory cannot be used.
    pub fn new(options: Options, env: Env) -> Result<Arc<Self>> {
        let _ = env;
        Ok(Arc::new(Self { options }))
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        let _ = &self.options;
        Stats::default()
    }
}

#[async_trait]
impl ShuffleApi for ShuffleWorker {
    async fn push(&self, _blocks: Vec<Block>) -> Result<()> {
        Err(Error::bug("not written yet"))
    }

    async fn seal(&self, _shuffle: ShuffleId) -> Result<()> {
        Err(Error::bug("not written yet"))
    }

    async fn read(&self, _request: ReadRequest) -> Result<BlockStream> {
        Err(Error::bug("not written yet"))
    }

    async fn discard(&self, _shuffle: ShuffleId, _attempt: MapAttempt) -> Result<()> {
        Err(Error::bug("not written yet"))
    }

    async fn delete_query(&self, _query: QueryId) -> Result<()> {
        Err(Error::bug("not written yet"))
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Err(Error::bug("not written yet"))
    }
}
