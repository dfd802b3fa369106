//! Shuffle workers behind their doors, and clients of them: in one process, but with threads of
//! their own as in a cluster.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use dunlin_base::{Env, Error, PartitionId, ProcessId, QueryId, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::{Peers, ShuffleApi};
use dunlin_shuffle::{Location, Placement, TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Door, DoorOptions, Options, ShuffleWorker};
use tokio::runtime::{Builder, Runtime};

/// Some workers, and everybody's way to them.
pub(super) struct Bed {
    pub(super) workers: Vec<Arc<ShuffleWorker>>,
    pub(super) client: Arc<TcpWorkers>,
    pub(super) ids: Vec<ProcessId>,
    pub(super) env: Env,
    /// On the thread of the clients' sockets.
    pub(super) sockets: Env,
    _doors: Vec<Door>,
    _threads: Vec<Threads>,
}

/// A runtime that ends without waiting: it is dropped in asynchronous code.
struct Threads(Option<Runtime>);

impl Threads {
    fn new(name: &str) -> Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
        Ok(Self(Some(runtime.context("cannot start a runtime")?)))
    }

    fn env(&self, env: &Env) -> Env {
        self.0.as_ref().map_or_else(|| env.clone(), |runtime| env.on(runtime.handle().clone()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bed {
    /// A worker for each of the options.
    pub(super) async fn new(env: &Env, options: Vec<Options>) -> Result<Self> {
        let (mut workers, mut doors, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        let mut addresses = HashMap::new();
        for options in options {
            let of_worker = Threads::new("shuffle-worker")?;
            let own = of_worker.env(env);
            let worker = ShuffleWorker::new(options, own.clone())?;
            let id = ProcessId::generate(env);
            let api = Arc::clone(&worker) as Arc<dyn ShuffleApi>;
            let door = Door::open(own, DoorOptions::new("127.0.0.1:0"), id, api).await?;
            addresses.insert(id, door.address().to_string());
            workers.push((id, worker));
            doors.push(door);
            threads.push(of_worker);
        }
        for ((_, worker), threads) in workers.iter().zip(&threads) {
            let others = clients(threads.env(env), addresses.clone());
            worker.set_peers(Arc::new(Others(others)));
        }
        let of_clients = Threads::new("shuffle-client")?;
        let sockets = of_clients.env(env);
        let client = Arc::new(clients(sockets.clone(), addresses));
        threads.push(of_clients);
        let (ids, workers) = workers.into_iter().unzip();
        let env = env.clone();
        Ok(Self { workers, client, ids, env, sockets, _doors: doors, _threads: threads })
    }

    /// The first worker, as a client reaches it.
    pub(super) fn api(&self) -> Result<Arc<dyn ShuffleApi>> {
        let first = self.ids.first().context("a bed without a worker")?;
        Ok(self.client.connect(*first)?)
    }

    /// A shuffle that nobody has.
    pub(super) fn shuffle(&self) -> ShuffleId {
        let query = QueryId::generate(&self.env);
        ShuffleId { query, stage: StageId(1), epoch: StageEpoch(0) }
    }

    /// Removes a query everywhere.
    pub(super) async fn forget(&self, query: QueryId) -> Result<()> {
        for worker in &self.workers {
            worker.delete_query(query).await?;
        }
        Ok(())
    }

    /// Partitions in turn on all workers, each with so many copies.
    pub(super) fn placement(&self, copies: usize) -> Arc<dyn Placement> {
        Arc::new(InTurn { ids: self.ids.clone(), copies })
    }
}

/// Clients of workers whose addresses are known.
pub(super) fn clients(env: Env, addresses: HashMap<ProcessId, String>) -> TcpWorkers {
    TcpWorkers::new(env, TcpOptions::default(), move |id| addresses.get(&id).cloned())
}

struct Others(TcpWorkers);

impl Peers for Others {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>, Error> {
        self.0.connect(id)
    }
}

struct InTurn {
    ids: Vec<ProcessId>,
    copies: usize,
}

#[async_trait]
impl Placement for InTurn {
    async fn locate(&self, partition: PartitionId, moves: u32) -> Result<Location, Error> {
        let first = partition.0 as usize + moves as usize;
        let at = |step: usize| self.ids[(first + step) % self.ids.len()];
        let peer = (self.copies > 1).then(|| at(1));
        Ok(Location { worker: at(0), peer })
    }
}
