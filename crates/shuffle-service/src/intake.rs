//! What a worker does with the blocks of a push before it answers: may they come in, the copy here,
//! the copy there. The calls are in `worker`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::{ByteCount, Error, Kind, PartitionId, ProcessId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{Hear, Push, Pushed, Refusal};

use crate::fair::{Look, is_slow};
use crate::health::DiskState;
use crate::partition::Partition;
use crate::pause::OfPeer;
use crate::shuffle::{Taken, cost};
use crate::worker::{OfPush, ShuffleWorker};

/// For how many times the wait a peer is left alone that did not answer.
const SILENT_FOR: u32 = 6;

impl ShuffleWorker {
    /// Stores one copy.
    pub(crate) async fn keep(&self, blocks: Vec<Block>, of_push: &OfPush) -> Result<()> {
        let Some(id) = blocks.first().map(|block| block.id.shuffle) else { return Ok(()) };
        self.check(&blocks, id, of_push.checked)?;
        let hear = of_push.hear.as_ref();
        let core = &self.core;
        let shuffle = core.registry.open(id)?;
        let bytes = blocks.iter().map(cost).sum();
        let reserved = core.reserve_for_push(bytes, || shuffle.may_come(&blocks), hear).await;
        let mut reserved = reserved.inspect_err(|error| {
            let full = u64::from(error.kind() == Kind::Exhausted);
            core.counters.no_memory.fetch_add(full, Relaxed);
        })?;
        let flushed = core.places.lock().contains_key(&id.query);
        let partitions = if flushed { partitions_of(&blocks) } else { Vec::new() };
        // From here to the acknowledgement nothing waits: a dropped push is stored or is not.
        let mut taken = Taken::default();
        let outcome = shuffle.push(blocks, &mut reserved, &mut taken);
        drop(reserved);
        core.counters.blocks.fetch_add(taken.stored, Relaxed);
        core.counters.duplicates.fetch_add(taken.duplicates, Relaxed);
        outcome?;
        core.counters.pushes.fetch_add(1, Relaxed);
        core.flush_if_needed();
        for partition in partitions.iter().filter_map(|id| shuffle.partition(*id)) {
            if partition.has_piece(core.options.flush_bytes.0) {
                core.want_flush(&partition);
            }
        }
        Ok(())
    }

    /// Has the peer store its copy, in bounded time: nobody waits for a sick peer. `hear` is told when
    /// the peer says that the copy waits.
    pub(crate) async fn copy(
        &self,
        peer: ProcessId,
        blocks: Vec<Block>,
        user: Option<Arc<str>>,
        hear: Option<Arc<dyn Hear>>,
    ) -> Result<()> {
        let peers = self.peers.get().ok_or_else(|| Error::retry("this worker knows no others"))?;
        let api = peers.peer(peer)?;
        let (limit, env) = (self.core.options.peer_wait, &self.core.env);
        let copy = Push { last_resort: true, user, ..Push::plain(blocks) };
        let stored = match hear {
            Some(hear) => api.store_heard(copy, Arc::new(OfPeer(hear))),
            None => api.store(copy),
        };
        if let Some(pushed) = env.timeout(limit, stored).await {
            return pushed?.stored().map(drop);
        }
        self.silent.lock().insert(peer, env.now() + limit * SILENT_FOR);
        Err(Error::retry(format!("no answer from the peer within {} s", limit.as_secs_f32())))
    }

    /// Whether a peer did not answer a moment ago. It is not asked then: or each partition that has
    /// it as its second place would wait for it, one after the other.
    pub(crate) fn is_silent(&self, peer: ProcessId) -> bool {
        let now = self.core.env.now();
        let mut silent = self.silent.lock();
        silent.retain(|_, until| now < *until);
        silent.contains_key(&peer)
    }

    /// Remembers for whom the query of a push runs, once something of it is here: the sweeper finds
    /// the query by that, and nothing stays known for ever.
    pub(crate) fn is_for(&self, of: &Of, user: Option<&Arc<str>>) {
        if let (Some(shuffle), Some(user)) = (of.shuffle, user) {
            self.core.registry.is_for(shuffle.query, user);
        }
    }

    /// Whether the writer of a push should push more slowly.
    pub(crate) fn slow(&self, of: &Of) -> bool {
        let memory = &self.core.memory;
        if !memory.over_mark() {
            return false;
        }
        let Some(shuffle) = of.shuffle else { return true };
        let (mine, all, users) = self.core.registry.shares(shuffle.query);
        let (used, mark, limit) = (memory.used(), memory.mark, memory.limit);
        is_slow(Look { used, mark, limit, mine, all, users })
    }

    /// Why the blocks should go elsewhere before anything is done with them.
    pub(crate) fn refusal(&self, of: &Of, last_resort: bool) -> Option<Pushed> {
        if self.draining.load(Relaxed) {
            return Some(Pushed::Refused(Refusal::Draining, Vec::new()));
        }
        if last_resort {
            return None;
        }
        let failed = self.on_isolated_disks(of);
        if !failed.is_empty() {
            return Some(Pushed::Refused(Refusal::Disk, failed));
        }
        let large = self.past(of, self.core.options.split_hard);
        (!large.is_empty()).then_some(Pushed::Refused(Refusal::Large, large))
    }

    /// The partitions of a push whose next bytes would lie on a disk that fails.
    fn on_isolated_disks(&self, of: &Of) -> Vec<PartitionId> {
        let now = self.core.env.now();
        let isolated = |disk: usize| self.core.disks[disk].state(now) == DiskState::Isolated;
        if !(0..self.core.disks.len()).any(isolated) {
            return Vec::new();
        }
        self.those(of, |partition| partition.outlook().open.is_some_and(|(disk, _)| isolated(disk)))
    }

    /// The partitions of a push that hold more than this here.
    pub(crate) fn past(&self, of: &Of, threshold: ByteCount) -> Vec<PartitionId> {
        // A look at each of thousands takes longer than to store their blocks.
        let shuffle = of.shuffle.and_then(|id| self.core.registry.get(id));
        if shuffle.is_none_or(|shuffle| shuffle.largest() <= threshold.0) {
            return Vec::new();
        }
        self.those(of, |partition| partition.bytes() > threshold.0)
    }

    /// The partitions of a push that are like this here.
    fn those(&self, of: &Of, like: impl Fn(&Partition) -> bool) -> Vec<PartitionId> {
        let Some(shuffle) = of.shuffle.and_then(|id| self.core.registry.get(id)) else {
            return Vec::new();
        };
        let like = |id: &&PartitionId| shuffle.partition(**id).is_some_and(|one| like(&one));
        of.partitions.iter().filter(like).copied().collect()
    }

    fn check(&self, blocks: &[Block], shuffle: ShuffleId, checked: bool) -> Result<()> {
        if blocks.iter().any(|block| block.id.shuffle != shuffle) {
            return Err(Error::bug("one push holds blocks of several shuffles"));
        }
        if checked || !self.core.options.verify_pushes {
            return Ok(());
        }
        blocks.iter().try_for_each(Block::verify).inspect_err(|_| {
            self.core.counters.corrupt.fetch_add(1, Relaxed);
        })
    }
}

/// What a push is about.
pub(crate) struct Of {
    /// None: it has no blocks.
    shuffle: Option<ShuffleId>,
    /// Each once.
    partitions: Vec<PartitionId>,
}

impl Of {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let shuffle = blocks.first().map(|block| block.id.shuffle);
        Self { shuffle, partitions: partitions_of(blocks) }
    }
}

fn partitions_of(blocks: &[Block]) -> Vec<PartitionId> {
    let mut ids: Vec<PartitionId> = Vec::new();
    for block in blocks {
        // Blocks of a partition usually follow one another.
        if ids.last() != Some(&block.id.partition) {
            ids.push(block.id.partition);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}
