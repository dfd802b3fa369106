//! The Celeborn door: a worker's ports beside the shuffle role's own, and a master that sees workers by
//! their cards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Env, ProcessId, Result};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb::{self, WorkerEventType};
use dunlin_celeborn::storage::StorageType;
use dunlin_celeborn_service::{
    BoundWorker, Fleet, Master, MasterOptions, Wanted, Worker, WorkerOfFleet, WorkerOptions,
};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{Card, CelebornPorts, DiskClass, DiskState, ShuffleDisk};
use dunlin_queue::{LiveSet, Role, Want, Wish, Wishes};
use dunlin_shuffle_service::ShuffleWorker;

use super::Engine;

/// Percent of a worker's memory above which it takes data only if there is another place for them.
const FULL_PERCENT: u64 = 90;

/// Between two looks at what is still open.
const LOOK: Duration = Duration::from_millis(100);

/// What a process serves to clients of Celeborn.
#[derive(Clone, Debug, Default)]
pub struct CelebornOptions {
    /// A master.
    pub master: Option<MasterOptions>,
    /// Ports of a worker. The process has the shuffle role then.
    pub worker: Option<WorkerOptions>,
    /// Where the machine stands, as `/rack`.
    pub rack: String,
    /// Words that applications choose this worker by.
    pub tags: Vec<String>,
}

/// A master that answers. Dropping it ends it.
pub(super) async fn master(
    options: &CelebornOptions,
    env: &Env,
    store: &StoreRef,
) -> Result<Option<Master>> {
    let Some(master) = &options.master else { return Ok(None) };
    let live = LiveSet::follow(Arc::clone(store), env, Role::Shuffle).await?;
    let cards = Cards { live, store: Arc::clone(store), env: env.clone() };
    let master = Master::start(env, master.clone(), Arc::clone(store), Arc::new(cards)).await?;
    Ok(Some(master))
}

/// Takes the ports of a worker, if there is to be one, and has its card name them. Nobody is let in yet.
pub(super) async fn bind(
    options: &CelebornOptions,
    env: &Env,
    card: &mut Card,
) -> Result<Option<BoundWorker>> {
    let Some(worker) = &options.worker else { return Ok(None) };
    let bound = BoundWorker::bind(env, worker.clone()).await?;
    let id = bound.id();
    card.celeborn = Some(CelebornPorts {
        host: id.host.to_string(),
        rpc: id.rpc_port.into(),
        push: id.push_port.into(),
        fetch: id.fetch_port.into(),
        replicate: id.replicate_port.into(),
        rack: options.rack.clone(),
        tags: options.tags.clone(),
    });
    Ok(Some(bound))
}

/// Lets clients in. `Invalid`: they would not find the worker by the host that it advertises.
pub(super) async fn open(
    bound: Option<BoundWorker>,
    store: &StoreRef,
    core: &Arc<ShuffleWorker>,
) -> Result<Option<Arc<Worker>>> {
    let Some(bound) = bound else { return Ok(None) };
    let worker = bound.open(Arc::clone(store), Arc::clone(core));
    worker.finds_itself().await?;
    Ok(Some(Arc::new(worker)))
}

impl Engine {
    /// Returns once the worker drains and no location of a Celeborn client takes data here any more, or
    /// at once if it does not drain.
    pub async fn celeborn_committed(&self) {
        loop {
            let open = self.shuffle.lock().as_ref().map_or(0, |role| {
                let stats = role.celeborn.as_ref().map(|worker| worker.stats());
                stats.filter(|_| role.worker.is_draining()).map_or(0, |stats| stats.open_locations)
            });
            if open == 0 {
                return;
            }
            self.env().sleep(LOOK).await;
        }
    }
}

/// Workers by their cards. What is wanted of one is the wish for its process, which it looks for.
struct Cards {
    live: LiveSet,
    store: StoreRef,
    env: Env,
}

impl Cards {
    /// The processes that serve clients of Celeborn, by the name of their worker. Of two, since the card
    /// of one that has ended may be there for a while, the one that came last.
    fn processes(&self) -> BTreeMap<WorkerId, (ProcessId, Arc<Card>)> {
        let mut all = BTreeMap::new();
        for (id, card) in self.live.read() {
            let Some(name) = card.celeborn.as_ref().and_then(name) else { continue };
            let is_newer =
                |(old, _): &(ProcessId, Arc<Card>)| self.live.fence(id) > self.live.fence(*old);
            if all.get(&name).is_none_or(is_newer) {
                all.insert(name, (id, card));
            }
        }
        all
    }
}

#[async_trait]
impl Fleet for Cards {
    fn workers(&self) -> Vec<WorkerOfFleet> {
        self.processes().into_iter().map(|(name, (_, card))| worker(name, &card)).collect()
    }

    async fn wanted(&self) -> Result<Vec<(WorkerId, Wanted)>> {
        let wishes = Wishes::read(&self.store).await?;
        let wanted = |(name, (id, card)): (WorkerId, (ProcessId, Arc<Card>))| {
            let wish = wishes.of(&lives(id, &card))?;
            let wanted = Wanted { event: event(wish.want), since_unix_ms: wish.since_unix_ms };
            Some((name, wanted))
        };
        Ok(self.processes().into_iter().filter_map(wanted).collect())
    }

    async fn want(&self, worker: &WorkerId, event: WorkerEventType) -> Result<bool> {
        let Some((id, card)) = self.processes().remove(worker) else { return Ok(false) };
        let want = match event {
            WorkerEventType::None => {
                Wish::forget(&self.store, &lives(id, &card)).await?;
                return Ok(true);
            }
            WorkerEventType::Immediately => Want::End,
            WorkerEventType::Decommission => Want::Leave,
            WorkerEventType::DecommissionThenIdle => Want::Idle,
            WorkerEventType::Graceful => Want::Restart,
            WorkerEventType::Recommission => Want::Stay,
        };
        Wish { want, since_unix_ms: self.env.unix_ms() }.say(&self.store, id).await
    }
}

/// The ids of a process, the present one among them.
fn lives(id: ProcessId, card: &Card) -> Vec<String> {
    [vec![id.to_string()], card.former.clone()].concat()
}

fn event(want: Want) -> WorkerEventType {
    match want {
        Want::Stay => WorkerEventType::Recommission,
        Want::Leave => WorkerEventType::Decommission,
        Want::Idle => WorkerEventType::DecommissionThenIdle,
        Want::Restart => WorkerEventType::Graceful,
        Want::End => WorkerEventType::Immediately,
    }
}

fn name(ports: &CelebornPorts) -> Option<WorkerId> {
    let port = |port: u32| u16::try_from(port).ok();
    Some(WorkerId {
        host: ports.host.as_str().into(),
        rpc_port: port(ports.rpc)?,
        push_port: port(ports.push)?,
        fetch_port: port(ports.fetch)?,
        replicate_port: port(ports.replicate)?,
    })
}

fn worker(id: WorkerId, card: &Card) -> WorkerOfFleet {
    let ports = card.celeborn.clone().unwrap_or_default();
    let storage = card.shuffle.clone().unwrap_or_default();
    let usable = |disk: &&ShuffleDisk| disk.state() == DiskState::Good && disk.room > 0;
    let memory = storage.memory_used <= storage.memory_limit / 100 * FULL_PERCENT;
    let takes = memory || storage.objects || storage.disks.iter().any(|disk| usable(&disk));
    let room: u64 = storage.disks.iter().filter(usable).map(|disk| disk.room).sum();
    let used = storage.memory_used.saturating_mul(100).checked_div(storage.memory_limit);
    WorkerOfFleet {
        id,
        rack: ports.rack,
        going: storage.draining,
        takes,
        disks: storage.disks.iter().filter(usable).map(disk).collect(),
        free: room.saturating_add(storage.memory_limit.saturating_sub(storage.memory_used)),
        pressure: u8::try_from(used.unwrap_or(0).min(100)).unwrap_or(100),
        shuffles: storage.shuffles,
        tags: ports.tags,
    }
}

fn disk(disk: &ShuffleDisk) -> pb::DiskInfo {
    let kind = match disk.class() {
        DiskClass::Ssd => StorageType::Ssd,
        DiskClass::Hdd => StorageType::Hdd,
    };
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    pb::DiskInfo {
        mount_point: disk.path.clone(),
        usable_space: bytes(disk.room),
        total_space: bytes(disk.room.saturating_add(disk.used)),
        storage_type: kind.number(),
        ..pb::DiskInfo::default()
    }
}
