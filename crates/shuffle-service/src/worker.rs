//! The shuffle worker: the contract of [`ShuffleApi`], call by call.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use dunlin_base::{Env, Error, QueryId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{BlockStream, MapAttempt, ReadRequest, ShuffleApi};
use futures::{StreamExt, stream};

use crate::core::Core;
use crate::disk::{Disk, LocalDisk};
use crate::options::Options;
use crate::partition::Removed;
use crate::read;
use crate::shuffle::{Pushed, cost};
use crate::stats::Stats;

/// One shuffle worker: blocks in memory first, the largest partitions on disk when memory is
/// short. Data are not replicated: they end with the worker.
pub struct ShuffleWorker {
    core: Arc<Core>,
}

impl ShuffleWorker {
    /// A worker with no data. Clears what a former life left in its directory: unreplicated data
    /// die with the process. `Invalid` if the directory cannot be used or another worker uses it.
    pub fn new(options: Options, env: Env) -> Result<Arc<Self>> {
        let disk = match &options.directory {
            Some(directory) => Some(Arc::new(LocalDisk::open(directory)?) as Arc<dyn Disk>),
            None => None,
        };
        Ok(Self::with_disk(options, disk, env))
    }

    /// A worker on this disk, whatever `options.directory` says.
    pub fn with_disk(options: Options, disk: Option<Arc<dyn Disk>>, env: Env) -> Arc<Self> {
        Arc::new(Self { core: Arc::new(Core::new(options, disk, env)) })
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.core.counters.snapshot(self.core.memory.used())
    }

    /// Moves everything that is in memory to disk. Does nothing without a disk. `Exhausted` if the
    /// disk cannot take it: what was not moved stays in memory. A partition that is being written
    /// already is left to whoever writes it. Dropping the future does not stop the work.
    pub async fn flush(&self) -> Result<()> {
        let core = Arc::clone(&self.core);
        let task = self.core.env.spawn("shuffle-flush", async move { core.flush_all().await });
        task.join().await.unwrap_or_else(|panic| Err(Error::bug(format!("flush: {panic}"))))
    }

    fn check(&self, blocks: &[Block], shuffle: ShuffleId) -> Result<()> {
        if blocks.iter().any(|block| block.id.shuffle != shuffle) {
            return Err(Error::bug("one push holds blocks of several shuffles"));
        }
        if !self.core.options.verify_pushes {
            return Ok(());
        }
        blocks.iter().try_for_each(Block::verify).inspect_err(|_| {
            self.core.counters.corrupt.fetch_add(1, Relaxed);
        })
    }

    fn count_removed(&self, removed: Removed) {
        self.core.counters.blocks.fetch_sub(removed.blocks.cast_signed(), Relaxed);
        self.core.counters.disk_bytes.fetch_sub(removed.disk_bytes.cast_signed(), Relaxed);
    }
}

#[async_trait]
impl ShuffleApi for ShuffleWorker {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        let Some(id) = blocks.first().map(|block| block.id.shuffle) else { return Ok(()) };
        self.check(&blocks, id)?;
        let core = &self.core;
        let shuffle = core.registry.open(id)?;
        let mut reserved = core.reserve(blocks.iter().map(cost).sum()).await?;
        // From here to the acknowledgement nothing waits: a dropped push is stored or is not.
        let mut pushed = Pushed::default();
        let outcome = shuffle.push(blocks, &mut reserved, &mut pushed);
        drop(reserved);
        core.counters.blocks.fetch_add(pushed.stored, Relaxed);
        core.counters.duplicates.fetch_add(pushed.duplicates, Relaxed);
        outcome?;
        core.counters.pushes.fetch_add(1, Relaxed);
        core.flush_if_needed();
        Ok(())
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.core.registry.open(shuffle)?.seal();
        Ok(())
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        let ReadRequest { shuffle: id, partition, maps } = request;
        let core = Arc::clone(&self.core);
        let unknown = || Error::lost(format!("shuffle {id} is not on this worker"));
        let Some(maps) = maps else {
            // A follower may come before the first block.
            let shuffle = core.registry.open(id).map_err(|_| unknown())?;
            return Ok(read::follow(core, shuffle, id, partition));
        };
        let shuffle = core.registry.get(id).ok_or_else(unknown)?;
        match shuffle.partition(partition) {
            Some(partition) => Ok(read::by_maps(core, partition, &maps)),
            None => Ok(stream::empty().boxed()),
        }
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        if let Some(shuffle) = self.core.registry.get(shuffle) {
            self.count_removed(shuffle.discard(attempt, &self.core.memory));
        }
        Ok(())
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        for shuffle in self.core.registry.end(query) {
            self.count_removed(shuffle.delete(&self.core.memory));
        }
        let removed = self.core.remove_files(query).await;
        removed.map_err(|cause| {
            let text = format!("cannot remove the shuffle files of query {query}: {cause}");
            Error::retry(text).with_source(cause)
        })
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        Ok(self.core.registry.ids())
    }
}
