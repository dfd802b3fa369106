//! One life of one process of a world: a role wired as `dunlin_node` wires it, on links of its own.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use dunlin_base::env::Task;
use dunlin_base::{ByteCount, Error, Result};
use dunlin_executor::{Executor, ExecutorOptions};
use dunlin_gateway::{Gateway, GatewayOptions, MetadataCatalog, Session};
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::{Begun, ObjectPlace};
use dunlin_node::engine::Adopter;
use dunlin_planner::{Contexts, Decider, ObjectStores, Planner, StoreLimits};
use dunlin_proto::queue::{Card, ShuffleStorage};
use dunlin_queue::{LiveSet, Queue, Role, Seat, SeatOptions};
use dunlin_shuffle_service::{ObjectOptions, Options, ShuffleWorker, Tier};
use url::Url;

use super::blobs::LinkedBlobs;
use super::data::LAKE;
use super::lake::Lake;
use super::link::Link;
use super::setup::World;
use super::store::LinkedStore;
use super::wire::LinkedWorkers;

/// A role that runs.
enum Body {
    Gateway(Gateway, Arc<Planner>),
    Executor(Executor),
    Shuffle(Shuffle),
}

/// A shuffle worker.
struct Shuffle {
    seat: Arc<Seat>,
    worker: Arc<ShuffleWorker>,
    adopting: Option<Task<()>>,
}

/// One life of one process.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) link: Arc<Link>,
    body: Body,
}

/// How long a drain may take. What still runs is handed back half-way.
const DRAIN_MAX: Duration = Duration::from_secs(20);

impl Process {
    /// Starts a role. `Retry`: the store is out of reach.
    pub(crate) async fn start(world: &Arc<World>, role: Role, name: String) -> Result<Self> {
        let link = Arc::new(Link::new(world.env.clone()));
        let store: StoreRef = Arc::new(LinkedStore {
            name: name.clone(),
            link: Arc::clone(&link),
            store: world.store.clone(),
            checker: world.checker.clone(),
        });
        let body = match role {
            Role::Shuffle => Body::Shuffle(shuffle(world, &link, store, &name).await?),
            Role::Executor => {
                let (parts, _) = parts(world, &link, store).await?;
                Body::Executor(Executor::start(parts, world.executor.clone()).await?)
            }
            Role::Gateway => {
                let (parts, planner) = parts(world, &link, store).await?;
                Body::Gateway(gateway(world, &link, parts).await?, planner)
            }
        };
        Ok(Self { name, link, body })
    }

    /// Everything ends without a word.
    pub(crate) fn kill(&self) {
        self.link.cut();
        match &self.body {
            Body::Gateway(gateway, _) => gateway.kill(),
            Body::Executor(executor) => executor.kill(),
            Body::Shuffle(Shuffle { seat, adopting, .. }) => {
                seat.abandon();
                adopting.iter().for_each(Task::abort);
            }
        }
    }

    /// Leaves in good order, as far as the store can be reached.
    pub(crate) async fn drain(&self, world: &World) {
        let left = async {
            match &self.body {
                Body::Gateway(gateway, _) => gateway.leave().await,
                Body::Executor(executor) => {
                    executor.retire(DRAIN_MAX / 2, DRAIN_MAX / 4).await;
                    Ok(())
                }
                Body::Shuffle(Shuffle { seat, worker, adopting }) => {
                    adopting.iter().for_each(Task::abort);
                    if adopting.is_some() && worker.stats().blocks == 0 {
                        drop(seat.renounce().await);
                    }
                    seat.leave().await
                }
            }
        };
        let left = self.link.unless_dead(left);
        let left = world.env.timeout(DRAIN_MAX, left).await;
        world.checker.note(&self.name, format!("drained: {:?}", left.is_some()));
        self.kill();
    }

    /// A new session on this gateway.
    pub(crate) fn session(&self, user: &str) -> Result<Session> {
        let Body::Gateway(gateway, planner) = &self.body else {
            return Err(Error::bug("a session on a process that is no gateway"));
        };
        Ok(Session::new(gateway.clone(), planner.session()?, user.to_owned()))
    }

    /// Its gateway.
    pub(crate) fn gateway(&self) -> Result<&Gateway> {
        match &self.body {
            Body::Gateway(gateway, _) => Ok(gateway),
            _ => Err(Error::bug("a process that is no gateway")),
        }
    }
}

/// What a gateway or executor works with, and its planner.
async fn parts(
    world: &World,
    link: &Arc<Link>,
    store: StoreRef,
) -> Result<(dunlin_executor::Parts, Arc<Planner>)> {
    let env = world.env.clone();
    let blobs = LinkedBlobs {
        heap: Arc::clone(&world.heap),
        link: Arc::clone(link),
        weather: Arc::clone(&world.weather),
    };
    let stores = ObjectStores::new(env.clone(), StoreLimits::default());
    let lake = Lake {
        inner: Arc::clone(&world.lake),
        link: Arc::clone(link),
        weather: Arc::clone(&world.weather),
    };
    let url = Url::parse(LAKE).map_err(|e| Error::bug("the lake has no URL").with_source(e))?;
    stores.register_store(&url, Arc::new(lake));
    let catalog = Arc::new(MetadataCatalog::new(Arc::clone(&store)));
    let settings = world.settings.clone();
    let planner = Planner::new(env.clone(), settings, catalog, Arc::clone(&stores))?;
    let contexts = Contexts::new(task_runtime(&stores, planner.runtime())?)?;
    let decider = Arc::new(Decider::new(contexts.base()));
    let tuning = world.tuning.clone();
    let queue =
        Queue::with_tuning(Arc::clone(&store), Arc::new(blobs), env.clone(), decider, tuning);
    let workers = Arc::new(workers(world, link, &store).await?);
    let (cpu, leases) = (env.clone(), env.clone());
    let parts =
        dunlin_executor::Parts { env, cpu, leases, store, queue, workers, contexts, stores };
    Ok((parts, planner))
}

/// A runtime for tasks that touches no disk.
fn task_runtime(stores: &Arc<ObjectStores>, planning: &Arc<RuntimeEnv>) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let mut runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::clone(stores) as _)
        .with_disk_manager_builder(disk)
        .build()
        .map_err(dunlin_planner::from_datafusion)?;
    runtime.cache_manager = Arc::clone(&planning.cache_manager);
    Ok(Arc::new(runtime))
}

/// The shelf as one process reaches it.
fn shelf(world: &World, link: &Arc<Link>) -> Option<ObjectPlace> {
    let inner = Arc::clone(world.shelf.as_ref()?);
    let (link, weather) = (Arc::clone(link), Arc::clone(&world.weather));
    let store = Arc::new(Lake { inner, link, weather });
    Some(ObjectPlace { store, root: Default::default(), begun: Begun::Nothing })
}

async fn gateway(
    world: &World,
    link: &Arc<Link>,
    parts: dunlin_executor::Parts,
) -> Result<Gateway> {
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
        lease_ttl: world.executor.lease_ttl,
        sweep_every: SWEEP_EVERY,
        shuffle_objects: shelf(world, link),
        shuffle_grace: world.tuning.grace,
        ..GatewayOptions::default()
    };
    Gateway::start(parts, options).await
}

/// How often a gateway sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The shuffle workers as a process reaches them.
async fn workers(world: &World, link: &Arc<Link>, store: &StoreRef) -> Result<LinkedWorkers> {
    let live = LiveSet::follow(Arc::clone(store), &world.env, Role::Shuffle).await?;
    Ok(LinkedWorkers {
        env: world.env.clone(),
        network: Arc::clone(&world.network),
        link: Arc::clone(link),
        weather: Arc::clone(&world.weather),
        live: Arc::new(live),
    })
}

async fn shuffle(
    world: &Arc<World>,
    link: &Arc<Link>,
    store: StoreRef,
    name: &str,
) -> Result<Shuffle> {
    let mut options = Options::new(ByteCount::mib(64));
    let mut storage = None;
    if let Some(ObjectPlace { store, root, .. }) = shelf(world, link) {
        options.objects = Some(ObjectOptions::new(store, root.as_ref(), name));
        options.tiers = vec![Tier::Objects];
        options.sync_pushes = true;
        storage = Some(ShuffleStorage {
            objects: true,
            object_folders: vec![name.to_owned()],
            object_place: "shelf".to_owned(),
            ..ShuffleStorage::default()
        });
    }
    let worker = ShuffleWorker::new(options, world.env.clone())?;
    worker.set_peers(Arc::new(workers(world, link, &store).await?));
    // Without a host: nobody knows which workers share one.
    let address = format!(":{name}");
    let card = Card {
        build: dunlin_planner::BUILD.to_owned(),
        address: address.clone(),
        shuffle: storage,
        ..Card::default()
    };
    let seat = SeatOptions { role: Role::Shuffle, card, ttl: world.executor.lease_ttl };
    let joining = {
        let (network, link) = (Arc::clone(&world.network), Arc::clone(link));
        let worker = Arc::clone(&worker);
        move |id| network.insert((&address, id), &link, &worker)
    };
    let joining = Arc::new(joining);
    let answer = Arc::clone(&joining);
    let joins = move |id| joining(id);
    // Before it takes its seat: what fails after that leaves a card behind.
    let live = match world.shelf {
        Some(_) => Some(LiveSet::follow(Arc::clone(&store), &world.env, Role::Shuffle).await?),
        None => None,
    };
    let seat = Seat::take(Arc::clone(&store), world.env.clone(), seat, joins).await?;
    let seat = Arc::new(seat);
    let adopting = match live {
        Some(live) => {
            let (of_world, who) = (Arc::clone(world), name.to_owned());
            let answer = move |id| {
                of_world.checker.note(&who, format!("has adopted {id}"));
                of_world.tally.lock().adopted += 1;
                answer(id);
            };
            let adopter = Adopter::new((&seat, &worker), (store, world.env.clone()), answer);
            Some(world.env.spawn("adoption", adopter.adopt_for_ever(live)))
        }
        None => None,
    };
    Ok(Shuffle { seat, worker, adopting })
}

/// The options of executors that a seed may change.
pub(crate) fn executor_options(ttl: Duration) -> ExecutorOptions {
    ExecutorOptions { lease_ttl: ttl, memory_limit: ByteCount::mib(256), ..Default::default() }
}
