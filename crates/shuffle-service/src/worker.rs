//! The shuffle worker: the contract of [`ShuffleApi`], call by call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::env::Task;
use dunlin_base::{Env, Error, ProcessId, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::shuffle::{
    Ack, BlockStream, Durability, Hear, MapAttempt, Pace, Peers, Push, Pushed, ReadRequest,
    Refusal, ShuffleApi,
};
use futures::future::join;
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use crate::calls::{Call, Calls};
use crate::core::Core;
use crate::disk::{Disk, LocalDisk};
use crate::intake::Of;
use crate::options::{DiskOptions, Options};
use crate::partition::Removed;
use crate::probe::probe_for_ever;
use crate::read::{self, Paced};
use crate::stats::Stats;
use crate::take_over::{TakenOver, take_over};

/// A process that ends waits no longer than this for the removal of records of uploads.
const FORGET_MAX: Duration = Duration::from_secs(3);

/// What comes with a push.
#[derive(Clone, Default)]
pub(crate) struct OfPush {
    /// Who is told while it waits for memory.
    pub(crate) hear: Option<Arc<dyn Hear>>,
    /// The checksums are known to be right.
    pub(crate) checked: bool,
}

/// One shuffle worker: blocks in memory first, the largest partitions on disk when memory is
/// short. They end with the worker, unless it hands over to the next one.
pub struct ShuffleWorker {
    pub(crate) core: Arc<Core>,
    /// How second copies are placed; nobody else is known until it is set.
    pub(crate) peers: OnceLock<Arc<dyn Peers>>,
    /// Peers that did not answer in time, and until when they are not asked again.
    pub(crate) silent: Mutex<BTreeMap<ProcessId, Duration>>,
    pub(crate) draining: AtomicBool,
    /// Pushes under way.
    pub(crate) pushes: Calls,
    /// Calls under way that change what is here in another way. Closed by the hand-over.
    pub(crate) changes: Calls,
    /// Process ids under which data were acknowledged, the newest last.
    pub(crate) lives: Mutex<Vec<ProcessId>>,
    taken_over: TakenOver,
    /// Ends with the worker.
    probes: Option<Task<()>>,
}

impl Drop for ShuffleWorker {
    fn drop(&mut self) {
        if let Some(probes) = &self.probes {
            probes.abort();
        }
    }
}

impl ShuffleWorker {
    /// A worker with what a former life handed over in its folders ([`ShuffleWorker::hand_over`]);
    /// [`ShuffleWorker::taken_over`] says what that is. Everything else there is cleared. `Invalid` if
    /// a folder cannot be used or another worker uses it. Blocks the thread.
    pub fn new(options: Options, env: Env) -> Result<Arc<Self>> {
        let open = |disk: &DiskOptions| {
            let fresh = u128::from(env.random()) << 64 | u128::from(env.random());
            let local = Arc::new(LocalDisk::reopen(&disk.path, fresh)?) as Arc<dyn Disk>;
            Ok((disk.clone(), local))
        };
        let disks = options.disks.iter().map(open).collect::<Result<Vec<_>>>()?;
        Self::on_kept_disks(options, disks, env)
    }

    /// The same on these disks, whatever `options.disks` says.
    pub fn on_kept_disks(
        options: Options,
        disks: Vec<(DiskOptions, Arc<dyn Disk>)>,
        env: Env,
    ) -> Result<Arc<Self>> {
        let core = Core::new(options, disks, env);
        let taken_over = take_over(&core)?;
        Ok(Self::around(core, taken_over))
    }

    /// A worker on this disk, whatever `options.disks` says.
    pub fn with_disk(options: Options, disk: Option<Arc<dyn Disk>>, env: Env) -> Arc<Self> {
        let disk = disk.map(|disk| (DiskOptions::new(disk.directory()), disk));
        Self::with_disks(options, disk.into_iter().collect(), env)
    }

    /// A worker on these disks, whatever `options.disks` says. They are empty.
    pub fn with_disks(
        options: Options,
        disks: Vec<(DiskOptions, Arc<dyn Disk>)>,
        env: Env,
    ) -> Arc<Self> {
        Self::around(Core::new(options, disks, env), TakenOver::default())
    }

    fn around(core: Core, taken_over: TakenOver) -> Arc<Self> {
        let core = Arc::new(core);
        let probes = (!core.disks.is_empty()).then(|| {
            let probing = probe_for_ever(core.env.clone(), Arc::downgrade(&core));
            core.env.spawn("shuffle-probes", probing)
        });
        Arc::new(Self {
            core,
            peers: OnceLock::new(),
            silent: Mutex::default(),
            draining: AtomicBool::new(false),
            pushes: Calls::default(),
            changes: Calls::default(),
            lives: Mutex::new(taken_over.processes.clone()),
            taken_over,
            probes,
        })
    }

    /// What a former life handed over.
    pub fn taken_over(&self) -> &TakenOver {
        &self.taken_over
    }

    /// From now on blocks are acknowledged under this process id. A hand-over names it. If pushes are
    /// synced it is written to each folder, which blocks the thread: without that no push is
    /// acknowledged as safer than in memory.
    pub fn answers_for(&self, life: ProcessId) {
        let lives = {
            let mut lives = self.lives.lock();
            lives.push(life);
            lives.clone()
        };
        if self.core.options.sync_pushes {
            let written = self.core.write_lives(&lives);
            if let Err(error) = &written {
                tracing::warn!(%error, "no shuffle data will outlive this process if it is killed");
            }
            self.core.unnamed.store(written.is_err(), Relaxed);
        }
    }

    /// A change that is no push may begin. `Retry` once the worker has handed over.
    pub(crate) fn change(&self) -> Result<Call<'_>> {
        self.changes.enter().ok_or_else(handed_over)
    }

    /// As [`ShuffleApi::store`], for blocks whose checksums this process has just made of the bytes that it
    /// holds: to check them against these again would find nothing.
    pub async fn store_checked(&self, push: Push) -> Result<Pushed> {
        self.take(push, OfPush { hear: None, checked: true }).await
    }

    /// Says how other workers are reached, for pushes that name a peer. The first call counts.
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        drop(self.peers.set(peers));
    }

    /// From now on pushes are refused as [`Refusal::Draining`]; reads go on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Pushes are taken again: it is not to go after all.
    pub fn resume(&self) {
        self.draining.store(false, Relaxed);
    }

    /// Whether it refuses pushes because it is to go.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Moves everything that is in memory to disk. Does nothing without a disk. `Exhausted` if the
    /// disk cannot take it: what was not moved stays in memory. A partition that is being written
    /// already is left to whoever writes it. Dropping the future does not stop the work.
    pub async fn flush(&self) -> Result<()> {
        let core = Arc::clone(&self.core);
        let task = self.core.env.spawn("shuffle-flush", async move { core.flush_all().await });
        task.join().await.unwrap_or_else(|panic| Err(Error::bug(format!("flush: {panic}"))))
    }

    /// Removes the records of uploads that have ended from the object store, where gateways would
    /// remove them much later. For the end of a process; takes a few seconds at most.
    pub async fn forget_uploads(&self) {
        let Some(objects) = &self.core.objects else { return };
        let _ = self.core.env.timeout(FORGET_MAX, objects.forget_uploads()).await;
    }

    /// The answer to a push, before it is counted.
    async fn answer(&self, push: Push, of_push: OfPush) -> Result<Pushed> {
        let Push { blocks, peer, last_resort, user } = push;
        let of = Of::new(&blocks);
        if let Some(refusal) = self.refusal(&of, last_resort) {
            return Ok(refusal);
        }
        let moves = || self.past(&of, self.core.options.split_soft);
        let slow = || self.slow(&of);
        let Some(peer) = peer else {
            let due = self.core.due(&blocks);
            self.keep(blocks, &of_push).await?;
            self.is_for(&of, user.as_ref());
            let durability = self.core.settle(due).await;
            return Ok(self.stored(Ack { durability, slow: slow(), moves: moves() }));
        };
        if self.is_silent(peer) {
            self.core.counters.peer_failures.fetch_add(1, Relaxed);
            return Ok(Pushed::Refused(Refusal::Peer, Vec::new()));
        }
        // Both at once. Blocks that only one of them has count for nothing: the writer's commit
        // will not name this location for them.
        // The copy goes first: it is on its way while this one is verified and stored.
        let copy = self.copy(peer, blocks.clone(), user.clone(), of_push.hear.clone());
        let (there, here) = join(copy, self.keep(blocks, &of_push)).await;
        here?;
        self.is_for(&of, user.as_ref());
        if let Err(error) = there {
            tracing::warn!(%peer, %error, "a worker does not take the second copy");
            self.core.counters.peer_failures.fetch_add(1, Relaxed);
            return Ok(Pushed::Refused(Refusal::Peer, Vec::new()));
        }
        let durability = Durability::Twice;
        Ok(self.stored(Ack { durability, slow: slow(), moves: moves() }))
    }

    /// The answer to a push.
    async fn take(&self, push: Push, of_push: OfPush) -> Result<Pushed> {
        // Counted before the look at whether it may come in: a hand-over waits for it from then on.
        let _call = self.pushes.enter();
        let answer = self.answer(push, of_push).await?;
        self.core.counters.answered(&answer);
        Ok(answer)
    }

    /// The answer to a push that is stored. A hand-over that did not wait for it may not have it in
    /// its tables: it has to go elsewhere.
    fn stored(&self, ack: Ack) -> Pushed {
        match self.changes.is_closed() {
            true => Pushed::Refused(Refusal::Draining, Vec::new()),
            false => Pushed::Stored(ack),
        }
    }

    /// The blocks of the requests in turn. One that follows ends what is read by maps.
    fn open_reads(&self, requests: Vec<ReadRequest>, pace: Paced) -> Result<BlockStream> {
        let core = &self.core;
        let (mut streams, mut by_maps) = (Vec::new(), Vec::new());
        for ReadRequest { shuffle: id, partition, maps } in requests {
            let unknown = || Error::lost(format!("shuffle {id} is not on this worker"));
            let Some(maps) = maps else {
                // A follower may come before the first block.
                let shuffle = core.registry.open(id).map_err(|_| unknown())?;
                if shuffle.has_holes() {
                    return Err(Error::lost(format!("shuffle {id} was not wholly handed over")));
                }
                let before = std::mem::take(&mut by_maps);
                streams.push(read::by_maps(Arc::clone(core), before, pace.clone()));
                let of = (id, partition);
                streams.push(read::follow(Arc::clone(core), shuffle, of, pace.clone()));
                continue;
            };
            let shuffle = core.registry.get(id).ok_or_else(unknown)?;
            by_maps.extend(shuffle.partition(partition).map(|partition| (partition, maps)));
        }
        streams.push(read::by_maps(Arc::clone(core), by_maps, pace));
        match streams.len() {
            1 => Ok(streams.remove(0)),
            _ => Ok(stream::iter(streams).flatten().boxed()),
        }
    }

    fn count_removed(&self, removed: &Removed) {
        self.core.counters.blocks.fetch_sub(removed.blocks.cast_signed(), Relaxed);
        self.core.release(&removed.extents);
    }
}

fn handed_over() -> Error {
    Error::retry("this shuffle worker hands over to the next process")
}

#[async_trait]
impl ShuffleApi for ShuffleWorker {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.store(Push { last_resort: true, ..Push::plain(blocks) }).await?.stored().map(drop)
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.take(push, OfPush::default()).await
    }

    async fn store_heard(&self, push: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        self.take(push, OfPush { hear: Some(hear), checked: false }).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        let _call = self.change()?;
        self.core.registry.open(shuffle)?.seal();
        Ok(())
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.open_reads(vec![request], None)
    }

    async fn read_many(&self, requests: Vec<ReadRequest>) -> Result<BlockStream> {
        self.open_reads(requests, None)
    }

    async fn read_paced(
        &self,
        requests: Vec<ReadRequest>,
        pace: Arc<dyn Pace>,
    ) -> Result<BlockStream> {
        self.open_reads(requests, Some(pace))
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        let _call = self.change()?;
        if let Some(shuffle) = self.core.registry.get(shuffle) {
            self.count_removed(&shuffle.discard(attempt, &self.core.memory));
        }
        // Pushes of the attempt that wait may not come in any more.
        self.core.memory.freed.notify_waiters();
        Ok(())
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        let _call = self.change()?;
        for shuffle in self.core.registry.end(query) {
            self.count_removed(&shuffle.delete(&self.core.memory));
        }
        self.core.memory.freed.notify_waiters();
        self.core.remove_places(query).await
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        let mut ids = self.core.registry.ids();
        // A query that has ended, and of which files or objects could not be removed: who sweeps has
        // to ask once more.
        let left = self.core.places.lock().keys().copied().collect::<Vec<_>>();
        let known: BTreeSet<_> = ids.iter().map(|id| id.query).collect();
        let left = left.into_iter().filter(|query| !known.contains(query));
        let (stage, epoch) = (StageId(0), StageEpoch(0));
        ids.extend(left.map(|query| ShuffleId { query, stage, epoch }));
        Ok(ids)
    }
}
