//! All roles in one process: the wiring that the shell, the demo, the benchmarks and the tests use.
//!
//! The roles meet only in the metadata store and through the shuffle; the wiring hands each its
//! parts and keeps the handles with which tests stop them one by one.

mod adoption;
mod celeborn;
mod decommission;
mod options;
mod runtimes;
mod shuffle_role;
mod storage;
mod telling;
mod workers;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_celeborn_service::{Master, Worker as CelebornWorker};
use dunlin_executor::{Executor, ExecutorOptions};
use dunlin_gateway::{Gateway, GatewayOptions, MetadataCatalog, Session};
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::{self, ObjectPlace};
use dunlin_planner::{Contexts, Decider, ObjectStores, Planner};
use dunlin_proto::queue::Card;
use dunlin_queue::Queue;
use dunlin_shuffle::{LocalWorkers, Workers};
use dunlin_shuffle_service::{Door, ShuffleWorker};
use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;

pub use self::adoption::Adopter;
pub use self::celeborn::CelebornOptions;
pub use self::decommission::{Leaving, Wisher};
use self::options::store_variables;
pub use self::options::{EngineOptions, Wire, WireTls};
use self::runtimes::{Runtimes, task_runtime};
use self::shuffle_role::ShuffleRole;
pub use self::storage::StorageOptions;
use self::telling::Teller;
pub(crate) use self::telling::stays;
use self::workers::{ClusterWorkers, OtherWorkers};

/// How long a process waits until the card of its shuffle worker says where its admin listener is.
const ADMIN_WAIT: Duration = Duration::from_secs(2);

/// How long a shutdown waits for what executors still run.
const DRAIN_MAX: Duration = Duration::from_secs(3600);

/// A process with all roles. Dropping it stops everything at once; [`Engine::shutdown`] is the
/// graceful way.
pub struct Engine {
    options: EngineOptions,
    parts: dunlin_executor::Parts,
    planner: Arc<Planner>,
    shuffle: Mutex<Option<ShuffleRole>>,
    /// Of clients of Celeborn.
    master: Mutex<Option<Arc<Master>>>,
    executors: Mutex<Vec<Arc<Executor>>>,
    gateway: Mutex<Option<Gateway>>,
    /// Where gateways look for what dead shuffle workers left.
    leftovers: Option<ObjectPlace>,
    /// The shuffle worker's data are to go with it.
    abandoned: AtomicBool,
    // Last: everything above runs on it.
    runtime: Option<Runtimes>,
}

impl Engine {
    /// Starts all roles. Errors are those of the metadata store (`Invalid`: in use by another
    /// process, unreadable; `Retry`: unreachable) and of the folders.
    pub fn start(options: EngineOptions) -> Result<Self> {
        let runtime = Runtimes::new(options.threads)?;
        let handle = runtime.control.handle().clone();
        let env = Env::real(Some(handle.clone()));
        let cpu = env.on(runtime.cpu.handle().clone());
        let leases = env.on(runtime.lease.handle().clone());
        match handle.block_on(Self::wire(options, env, cpu, leases)) {
            Ok(mut engine) => {
                engine.runtime = Some(runtime);
                Ok(engine)
            }
            Err(error) => {
                runtime.stop();
                Err(error)
            }
        }
    }

    /// All but the runtimes: one that is dropped by its own task panics.
    async fn wire(options: EngineOptions, env: Env, cpu: Env, leases: Env) -> Result<Self> {
        std::fs::create_dir_all(&options.scratch).map_err(|e| {
            Error::invalid(format!("can not use folder {}: {e}", options.scratch.display()))
        })?;
        let store = dunlin_metadata::open(&options.metadata, env.clone()).await?;
        let blobs = blob::open(&options.blobs, &store_variables(), env.clone()).await?;
        let allowed = options.allowed.clone();
        let stores = ObjectStores::limited(env.clone(), options.stores, allowed);
        let catalog = Arc::new(MetadataCatalog::new(Arc::clone(&store)));
        let settings = options.settings.clone();
        let planner = Planner::new(env.clone(), settings, catalog, Arc::clone(&stores))?;
        let contexts = Contexts::new(task_runtime(&options.scratch, &stores, planner.runtime())?)?;
        let decider = Arc::new(Decider::new(contexts.base()));
        let mut tuning = options.tuning.clone();
        if tuning.build.is_empty() {
            tuning.build = dunlin_planner::build();
        }
        let queue = Queue::with_tuning(Arc::clone(&store), blobs, env.clone(), decider, tuning);
        let local = Arc::new(LocalWorkers::new());
        let objects = storage::objects(&options, &env).await?;
        let shuffle = match options.shuffle {
            true => {
                let (envs, objects) = ((&env, &leases), objects.as_ref());
                Some(ShuffleRole::start(&options, envs, &store, &local, objects).await?)
            }
            false => None,
        };
        let workers: Arc<dyn Workers> = match &options.wire {
            Some(wire) => {
                Arc::new(ClusterWorkers::new(local, &store, &leases, wire.client()).await?)
            }
            None => local,
        };
        if let Some(role) = &shuffle {
            role.worker.set_peers(Arc::new(OtherWorkers(Arc::downgrade(&workers))));
        }
        let parts =
            dunlin_executor::Parts { env, cpu, leases, store, queue, workers, contexts, stores };
        let leftovers = storage::leftovers(&options, objects.as_ref(), &parts.env).await?;
        let master = celeborn::master(&options.celeborn, &parts.leases, &parts.store).await?;
        let gateway = match options.gateway {
            true => Some(start_gateway(&parts, &options, &leftovers).await?),
            false => None,
        };
        let engine = Self {
            parts,
            planner,
            shuffle: Mutex::new(shuffle),
            master: Mutex::new(master.map(Arc::new)),
            executors: Mutex::new(Vec::new()),
            gateway: Mutex::new(gateway),
            leftovers,
            abandoned: AtomicBool::new(false),
            runtime: None,
            options,
        };
        for _ in 0..engine.options.executors {
            engine.add_executor().await?;
        }
        Ok(engine)
    }

    /// A new session of `user`.
    pub fn session(&self, user: &str) -> Result<Session> {
        Ok(Session::new(self.gateway()?, self.planner.session()?, user.to_owned()))
    }

    /// The present gateway. `Invalid`: the process does not have the role.
    pub fn gateway(&self) -> Result<Gateway> {
        let gateway = self.gateway.lock().clone();
        gateway.ok_or_else(|| Error::invalid("this process has no gateway role"))
    }

    /// The planner, for folders of tables.
    pub fn planner(&self) -> &Arc<Planner> {
        &self.planner
    }

    /// The queue, for listings and tests.
    pub fn queue(&self) -> &Queue {
        &self.parts.queue
    }

    /// The metadata store.
    pub fn store(&self) -> &StoreRef {
        &self.parts.store
    }

    /// The world of control work.
    pub fn env(&self) -> &Env {
        &self.parts.env
    }

    /// The shuffle worker, while it runs.
    pub fn shuffle_worker(&self) -> Option<Arc<ShuffleWorker>> {
        self.shuffle.lock().as_ref().map(|role| Arc::clone(&role.worker))
    }

    /// Where other processes reach the shuffle worker, if they do.
    pub fn shuffle_address(&self) -> Option<SocketAddr> {
        self.shuffle.lock().as_ref()?.door.as_ref().map(|door| door.address())
    }

    /// The master for clients of Celeborn, if one is here.
    pub fn celeborn_master(&self) -> Option<Arc<Master>> {
        self.master.lock().clone()
    }

    /// The worker for them, if one is here. Not to be kept from its end.
    pub fn celeborn_worker(&self) -> Option<Weak<CelebornWorker>> {
        self.shuffle.lock().as_ref()?.celeborn.as_ref().map(Arc::downgrade)
    }

    /// The door of the shuffle worker, if other processes reach it. Not to be kept from its end.
    pub fn shuffle_door(&self) -> Option<Weak<Door>> {
        self.shuffle.lock().as_ref()?.door.as_ref().map(Arc::downgrade)
    }

    fn teller(&self) -> Option<Arc<Teller>> {
        self.shuffle.lock().as_ref().map(|role| Arc::clone(&role.teller))
    }

    /// Has the card of the shuffle worker say where the admin listener is. Waits for that a moment;
    /// without the store it is said later.
    pub async fn has_admin(&self, bound: SocketAddr) {
        let Some(teller) = self.teller() else { return };
        let wire = self.options.wire.as_ref();
        let address = wire.map_or_else(|| bound.to_string(), |wire| wire.advertised(bound));
        *teller.admin.lock() = address;
        if let Some(Err(error)) = self.env().timeout(ADMIN_WAIT, teller.tell()).await {
            tracing::debug!(%error, "the card of the shuffle worker");
        }
    }

    /// The executors of the process.
    pub fn executors(&self) -> Vec<Arc<Executor>> {
        self.executors.lock().clone()
    }

    /// Runs a future on the control runtime and waits for it. For callers outside of any runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().expect("the runtime lives as long as the engine");
        runtime.control.block_on(future)
    }

    /// Starts one more executor role.
    pub fn add_executor(&self) -> BoxFuture<'_, Result<Arc<Executor>>> {
        Box::pin(self.one_more_executor())
    }

    async fn one_more_executor(&self) -> Result<Arc<Executor>> {
        let options = ExecutorOptions {
            slots: self.options.threads as u32,
            memory_limit: self.options.memory_limit,
            lease_ttl: self.options.lease_ttl,
            ..ExecutorOptions::default()
        };
        let executor = Arc::new(Executor::start(self.parts.clone(), options).await?);
        self.executors.lock().push(Arc::clone(&executor));
        Ok(executor)
    }

    /// Has all executors finish what they run and take nothing new; what still runs after `limit`
    /// is handed back.
    pub async fn drain_executors(&self, limit: Duration) {
        let executors = self.executors();
        join_all(executors.iter().map(|executor| executor.drain(limit))).await;
        self.forget_killed();
    }

    /// The same once other executors can do without them: see [`Executor::retire`].
    pub async fn retire_executors(&self, limit: Duration, tasks_min: Duration) {
        let executors = self.executors();
        join_all(executors.iter().map(|executor| executor.retire(limit, tasks_min))).await;
        self.forget_killed();
    }

    /// Stops all executors at once; others take over when their leases end.
    pub fn kill_executors(&self) {
        self.executors().iter().for_each(|executor| executor.kill());
        self.forget_killed();
    }

    /// Drops the handles of executors that were killed or drained.
    pub fn forget_killed(&self) {
        self.executors.lock().retain(|executor| executor.is_alive());
    }

    /// Ends the gateway as a crash would and starts another; sessions made before are useless.
    /// Queries that run go on.
    pub async fn replace_gateway(&self) -> Result<Gateway> {
        let new = start_gateway(&self.parts, &self.options, &self.leftovers).await?;
        let old = self.gateway.lock().replace(new.clone());
        if let Some(old) = old {
            old.kill();
        }
        Ok(new)
    }

    /// A further gateway on the same store. Its owner has it leave.
    pub async fn another_gateway(&self) -> Result<Gateway> {
        start_gateway(&self.parts, &self.options, &self.leftovers).await
    }

    /// Has the gateway remove what it is to remove, and leave; the process has none any more then.
    pub async fn leave_gateway(&self) {
        let Ok(gateway) = self.gateway() else { return };
        if let Err(error) = gateway.leave().await {
            tracing::warn!(%error, "gateway could not leave");
        }
        self.gateway.lock().take();
    }

    /// From now on the shuffle worker hands nothing over when it ends: its data go with it.
    pub fn abandon_shuffle(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Stops taking work, finishes what runs, removes what is to be removed, leaves.
    pub async fn shutdown(&self) {
        self.drain_executors(DRAIN_MAX).await;
        self.leave_gateway().await;
        self.master.lock().take();
        let shuffle = self.shuffle.lock().take();
        if let Some(role) = shuffle {
            let kept = |_: &Duration| !self.abandoned.load(Ordering::Acquire);
            role.end(self.options.hand_over.filter(kept)).await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.executors.lock().clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.stop();
        }
    }
}

async fn start_gateway(
    parts: &dunlin_executor::Parts,
    options: &EngineOptions,
    leftovers: &Option<ObjectPlace>,
) -> Result<Gateway> {
    let parts = parts.clone();
    let parts = dunlin_gateway::Parts {
        env: parts.env,
        cpu: parts.cpu,
        leases: parts.leases,
        store: parts.store,
        queue: parts.queue,
        workers: parts.workers,
        contexts: parts.contexts,
        stores: parts.stores,
    };
    let options = GatewayOptions {
        card: Card { build: parts.queue.build().to_owned(), ..Card::default() },
        lease_ttl: options.lease_ttl,
        sweep_every: options.sweep_every,
        executor_wait: options.executor_wait,
        shuffle_objects: leftovers.clone(),
        shuffle_grace: options.tuning.grace,
    };
    Gateway::start(parts, options).await
}
