//! The Celeborn door: a worker's ports beside the shuffle role's own, and a master that sees workers by
//! their cards.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, Result};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::pb;
use dunlin_celeborn::storage::StorageType;
use dunlin_celeborn_service::{
    BoundWorker, Fleet, Master, MasterOptions, Worker, WorkerOfFleet, WorkerOptions,
};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::{Card, CelebornPorts, DiskClass, DiskState, ShuffleDisk};
use dunlin_queue::{LiveSet, Role};
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
}

/// A master that answers. Dropping it ends it.
pub(super) async fn master(
    options: &CelebornOptions,
    env: &Env,
    store: &StoreRef,
) -> Result<Option<Master>> {
    let Some(master) = &options.master else { return Ok(None) };
    let live = LiveSet::follow(Arc::clone(store), env, Role::Shuffle).await?;
    let master =
        Master::start(env, master.clone(), Arc::clone(store), Arc::new(Cards(live))).await?;
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

/// Workers by their cards.
struct Cards(LiveSet);

impl Fleet for Cards {
    fn workers(&self) -> Vec<WorkerOfFleet> {
        self.0.read().iter().filter_map(|(_, card)| worker(card)).collect()
    }
}

fn worker(card: &Card) -> Option<WorkerOfFleet> {
    let ports = card.celeborn.as_ref()?;
    let port = |port: u32| u16::try_from(port).ok();
    let id = WorkerId {
        host: ports.host.as_str().into(),
        rpc_port: port(ports.rpc)?,
        push_port: port(ports.push)?,
        fetch_port: port(ports.fetch)?,
        replicate_port: port(ports.replicate)?,
    };
    let storage = card.shuffle.clone().unwrap_or_default();
    let usable = |disk: &&ShuffleDisk| disk.state() == DiskState::Good && disk.room > 0;
    let memory = storage.memory_used <= storage.memory_limit / 100 * FULL_PERCENT;
    let takes = memory || storage.objects || storage.disks.iter().any(|disk| usable(&disk));
    let disks = storage.disks.iter().filter(usable).map(disk).collect();
    Some(WorkerOfFleet { id, rack: ports.rack.clone(), going: storage.draining, takes, disks })
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
