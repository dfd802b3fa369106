//! All roles in one process: the wiring that the shell, the demo, the benchmarks and the tests use.
//!
//! The roles meet only in the metadata store and through the shuffle; the wiring hands each its
//! parts and keeps the handles with which tests stop them one by one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use dunlin_base::{ByteCount, Env, Error, Result};
use dunlin_executor::{Executor, ExecutorOptions};
use dunlin_gateway::{Gateway, GatewayOptions, MetadataCatalog, Session};
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::{self, BlobsRef};
use dunlin_planner::{Contexts, Decider, ObjectStores, Planner, Settings, StoreLimits};
use dunlin_queue::{Member, Queue, Role, Tuning};
use dunlin_shuffle::LocalWorkers;
use dunlin_shuffle_service::ShuffleWorker;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

/// What one process with all roles is made of.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Metadata store, as `dunlin_metadata::open` takes it.
    pub metadata: String,
    /// Blobs: a folder or a URL; `memory:` keeps them in memory.
    pub blobs: String,
    /// Folder for spilled and shuffled data; emptied of our files at the start.
    pub scratch: PathBuf,
    /// CPU threads, shared by all executors of the process, and slots of each executor.
    pub threads: usize,
    /// How many executor roles run in the process.
    pub executors: usize,
    /// Memory of all tasks of one executor.
    pub memory_limit: ByteCount,
    /// Memory for shuffle blocks; beyond it they go to `scratch`.
    pub shuffle_memory: ByteCount,
    /// Time to live of leases.
    pub lease_ttl: Duration,
    /// Settings that sessions start with.
    pub settings: Settings,
    /// Limits of object stores.
    pub stores: StoreLimits,
    /// Sizes and times of the queue.
    pub tuning: Tuning,
}

impl EngineOptions {
    /// A process that keeps nothing: state in memory, scratch data in `scratch`.
    pub fn ephemeral(scratch: impl Into<PathBuf>) -> Self {
        Self {
            metadata: "memory:".to_owned(),
            blobs: "memory:".to_owned(),
            scratch: scratch.into(),
            threads: 2,
            executors: 1,
            memory_limit: ByteCount::mib(2048),
            shuffle_memory: ByteCount::mib(1024),
            lease_ttl: Duration::from_secs(10),
            settings: Settings::default(),
            stores: StoreLimits::default(),
            tuning: Tuning::default(),
        }
    }
}

/// A process with all roles. Dropping it stops everything at once; [`Engine::shutdown`] is the
/// graceful way.
pub struct Engine {
    options: EngineOptions,
    env: Env,
    cpu: Env,
    store: StoreRef,
    queue: Queue,
    planner: Arc<Planner>,
    contexts: Contexts,
    stores: Arc<ObjectStores>,
    workers: Arc<LocalWorkers>,
    shuffle: Mutex<Option<(Member, Arc<ShuffleWorker>)>>,
    executors: Mutex<Vec<Arc<Executor>>>,
    gateway: Mutex<Gateway>,
    // Last: everything above runs on it.
    runtime: Option<Runtimes>,
}

/// The runtimes of a process: plans on one, everything else on the other.
struct Runtimes {
    cpu: Runtime,
    control: Runtime,
}

impl Engine {
    /// Starts all roles. Errors are those of the metadata store (`Invalid`: in use by another
    /// process, unreadable; `Retry`: unreachable) and of the folders.
    pub fn start(options: EngineOptions) -> Result<Self> {
        let runtime = Runtimes::new(options.threads)?;
        let handle = runtime.control.handle().clone();
        let env = Env::real(Some(handle.clone()));
        let cpu = env.on(runtime.cpu.handle().clone());
        match handle.block_on(Self::wire(options, env, cpu)) {
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
    async fn wire(options: EngineOptions, env: Env, cpu: Env) -> Result<Self> {
        std::fs::create_dir_all(&options.scratch).map_err(|e| {
            Error::invalid(format!("can not use folder {}: {e}", options.scratch.display()))
        })?;
        let store = dunlin_metadata::open(&options.metadata, env.clone()).await?;
        let blobs = open_blobs(&options.blobs, &env).await?;
        let stores = ObjectStores::new(env.clone(), options.stores);
        let catalog = Arc::new(MetadataCatalog::new(Arc::clone(&store)));
        let settings = options.settings.clone();
        let planner = Planner::new(env.clone(), settings, catalog, Arc::clone(&stores))?;
        let contexts = Contexts::new(task_runtime(&options.scratch, &stores, planner.runtime())?)?;
        let decider = Arc::new(Decider::new(contexts.base()));
        let tuning = options.tuning.clone();
        let queue = Queue::with_tuning(Arc::clone(&store), blobs, env.clone(), decider, tuning);
        let workers = Arc::new(LocalWorkers::new());
        let shuffle = start_shuffle(&options, &env, &store, &workers).await?;
        let parts = dunlin_gateway::Parts {
            env: env.clone(),
            cpu: cpu.clone(),
            store: Arc::clone(&store),
            queue: queue.clone(),
            workers: Arc::clone(&workers) as _,
            contexts: contexts.clone(),
        };
        let gateway_options =
            GatewayOptions { lease_ttl: options.lease_ttl, ..GatewayOptions::default() };
        let gateway = Gateway::start(parts, gateway_options).await?;
        let engine = Self {
            env,
            cpu,
            store,
            queue,
            planner,
            contexts,
            stores,
            workers,
            shuffle: Mutex::new(Some(shuffle)),
            executors: Mutex::new(Vec::new()),
            gateway: Mutex::new(gateway),
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
        Ok(Session::new(self.gateway(), self.planner.session()?, user.to_owned()))
    }

    /// The present gateway.
    pub fn gateway(&self) -> Gateway {
        self.gateway.lock().clone()
    }

    /// The planner, for folders of tables.
    pub fn planner(&self) -> &Arc<Planner> {
        &self.planner
    }

    /// The queue, for listings and tests.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The metadata store.
    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// The world of control work.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The shuffle worker, while it runs.
    pub fn shuffle_worker(&self) -> Option<Arc<ShuffleWorker>> {
        self.shuffle.lock().as_ref().map(|(_, worker)| Arc::clone(worker))
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
    pub async fn add_executor(&self) -> Result<Arc<Executor>> {
        let parts = dunlin_executor::Parts {
            env: self.env.clone(),
            cpu: self.cpu.clone(),
            store: Arc::clone(&self.store),
            queue: self.queue.clone(),
            workers: Arc::clone(&self.workers) as _,
            contexts: self.contexts.clone(),
            stores: Arc::clone(&self.stores),
        };
        let options = ExecutorOptions {
            slots: self.options.threads as u32,
            memory_limit: self.options.memory_limit,
            lease_ttl: self.options.lease_ttl,
            ..ExecutorOptions::default()
        };
        let executor = Arc::new(Executor::start(parts, options).await?);
        self.executors.lock().push(Arc::clone(&executor));
        Ok(executor)
    }

    /// Drops the handles of executors that were killed or drained.
    pub fn forget_killed(&self) {
        self.executors.lock().retain(|executor| executor.is_alive());
    }

    /// Ends the gateway as a crash would and starts another; sessions made before are useless.
    /// Queries that run go on.
    pub async fn replace_gateway(&self) -> Result<Gateway> {
        let parts = dunlin_gateway::Parts {
            env: self.env.clone(),
            cpu: self.cpu.clone(),
            store: Arc::clone(&self.store),
            queue: self.queue.clone(),
            workers: Arc::clone(&self.workers) as _,
            contexts: self.contexts.clone(),
        };
        let options =
            GatewayOptions { lease_ttl: self.options.lease_ttl, ..GatewayOptions::default() };
        let new = Gateway::start(parts, options).await?;
        let old = std::mem::replace(&mut *self.gateway.lock(), new.clone());
        old.kill();
        Ok(new)
    }

    /// Stops taking work, finishes what runs, removes what is to be removed, leaves.
    pub async fn shutdown(&self) {
        let executors = std::mem::take(&mut *self.executors.lock());
        for executor in executors {
            executor.drain().await;
        }
        let gateway = self.gateway();
        if let Err(error) = gateway.leave().await {
            tracing::warn!(%error, "gateway could not leave");
        }
        let shuffle = self.shuffle.lock().take();
        if let Some((member, _)) = shuffle
            && let Err(error) = member.leave().await
        {
            tracing::warn!(%error, "shuffle worker could not leave");
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

impl Runtimes {
    fn new(threads: usize) -> Result<Self> {
        let failed = |e: std::io::Error| Error::bug("can not start threads").with_source(e);
        let cpu = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("dunlin-cpu")
            .enable_all()
            .build()
            .map_err(failed)?;
        let control = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dunlin-control")
            .enable_all()
            .build()
            .map_err(failed)?;
        Ok(Self { cpu, control })
    }

    /// Ends all tasks without waiting for them.
    fn stop(self) {
        self.cpu.shutdown_background();
        self.control.shutdown_background();
    }
}

async fn open_blobs(place: &str, env: &Env) -> Result<BlobsRef> {
    blob::open(place, &[], env.clone()).await
}

/// What tasks share: the caches of planning, and a folder to spill to.
fn task_runtime(
    scratch: &Path,
    stores: &Arc<ObjectStores>,
    planning: &Arc<RuntimeEnv>,
) -> Result<Arc<RuntimeEnv>> {
    let spill = scratch.join("spill");
    std::fs::create_dir_all(&spill)
        .map_err(|e| Error::invalid(format!("can not use folder {}: {e}", spill.display())))?;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
    let mut runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::clone(stores) as _)
        .with_cache_manager(CacheManagerConfig::default())
        .with_disk_manager_builder(disk)
        .build()
        .map_err(dunlin_planner::from_datafusion)?;
    // One process plans and runs: footers read for planning are not read again.
    runtime.cache_manager = Arc::clone(&planning.cache_manager);
    Ok(Arc::new(runtime))
}

async fn start_shuffle(
    options: &EngineOptions,
    env: &Env,
    store: &StoreRef,
    workers: &Arc<LocalWorkers>,
) -> Result<(Member, Arc<ShuffleWorker>)> {
    let mut limits = dunlin_shuffle_service::Options::new(options.shuffle_memory);
    limits.directory = Some(options.scratch.clone());
    // Writer and worker share the process: every read verifies.
    limits.verify_pushes = false;
    let worker = ShuffleWorker::new(limits, env.clone())?;
    let (store, card) = (Arc::clone(store), bytes::Bytes::new());
    let member = Member::join(store, env.clone(), Role::Shuffle, card, options.lease_ttl).await?;
    workers.insert(member.id(), Arc::clone(&worker) as _);
    Ok((member, worker))
}
