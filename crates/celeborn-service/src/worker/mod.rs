//! The worker: the locations that drivers reserve, on the core that stores them.
//!
//! `ports` says which frame goes where; `reserve`, `push`, `commit` and `streams` are the life of a
//! location in order; `floor` is what they share, `shuffle` what is known of one shuffle. `verdict`
//! decides what becomes of a push, `peers` reaches the workers of second copies.

mod commit;
mod floor;
mod gate;
mod look;
mod peers;
mod ports;
mod push;
mod reserve;
mod shuffle;
mod stats;
mod streams;
mod verdict;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{ByteCount, Env, Error, Result};
use dunlin_celeborn::frame::{Limits, Mode};
use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::rpc::endpoint;
use dunlin_metadata::StoreRef;
use dunlin_shuffle_service::ShuffleWorker;
use futures::StreamExt;

use self::floor::Floor;
use self::ports::{Fetches, Pushes};
use crate::auth::Keyring;
use crate::control::{self, Control};
use crate::net::{Bound, Client, Guard, Port, PortOptions, Tls};
use crate::records::Records;

pub use self::look::LocationAt;
pub use self::stats::WorkerStats;

/// How often a worker looks what no record names any more.
const CLEAN_EVERY: Duration = Duration::from_secs(30);

/// A worker that is found is found within this.
const FIND_MAX: Duration = Duration::from_secs(5);

/// Where a worker listens, and what it allows.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The host that its ports are on.
    pub listen: String,
    /// The host that drivers, executors and other workers are told.
    pub advertise: String,
    /// Ports for control messages, pushes, reads and copies, in the order of a worker's name; 0 is any
    /// free one. A worker that is to come back after a restart needs fixed ones.
    pub ports: [u16; 4],
    /// Bytes of pushes that are being stored, of clients and, once more, of other workers. Beyond it
    /// sockets are not read.
    pub pushes: ByteCount,
    /// Encryption of all ports; `None` is plain TCP.
    pub tls: Option<Tls>,
    /// Clients have to prove which application they are; other workers do not, at the port for copies.
    /// All masters and workers have to agree.
    pub auth: bool,
}

/// A worker that answers at its ports until it is dropped.
pub struct Worker {
    id: WorkerId,
    addresses: [SocketAddr; 4],
    floor: Arc<Floor>,
    /// If clients are asked who they are.
    keys: Option<Arc<Keyring>>,
    ports: [Port; 4],
    cleaning: [Task<()>; 2],
}

/// The ports of a worker that nobody is let in at yet.
pub struct BoundWorker {
    bound: [Bound; 4],
    options: WorkerOptions,
    env: Env,
}

impl BoundWorker {
    /// Takes the ports. `Invalid` if one cannot be used.
    pub async fn bind(env: &Env, options: WorkerOptions) -> Result<Self> {
        let listen = |port: u16| format!("{}:{port}", options.listen);
        let [rpc, push, fetch, replicate] = options.ports;
        let bound = [
            Bound::bind(env, &listen(rpc)).await?,
            Bound::bind(env, &listen(push)).await?,
            Bound::bind(env, &listen(fetch)).await?,
            Bound::bind(env, &listen(replicate)).await?,
        ];
        Ok(Self { bound, options, env: env.clone() })
    }

    /// The worker's name: to be on its card before anybody is let in.
    pub fn id(&self) -> WorkerId {
        let port = |at: usize| self.bound[at].address().port();
        WorkerId {
            host: self.options.advertise.as_str().into(),
            rpc_port: port(0),
            push_port: port(1),
            fetch_port: port(2),
            replicate_port: port(3),
        }
    }

    /// Lets clients in.
    pub fn open(self, store: StoreRef, core: Arc<ShuffleWorker>) -> Worker {
        let id = self.id();
        let addresses = [0, 1, 2, 3].map(|at: usize| self.bound[at].address());
        let Self { bound, options, env } = self;
        let records = Records::of_worker(store, env.clone());
        let keyring = || Arc::new(Keyring::of_worker(records.clone(), env.clone()));
        let keys = options.auth.then(keyring);
        let floor = Arc::new(Floor::new(core, records, &env, options.tls.clone()));
        let [rpc, push, fetch, replicate] = bound;
        let pushes = |mode| Arc::new(Pushes { floor: Arc::clone(&floor), mode });
        let guard = keys.clone().map_or(Guard::Open, Guard::Proof);
        let clients = (options.tls.clone(), guard);
        let mutual = |tls: Tls| Tls { server: Arc::clone(&tls.mutual), ..tls };
        let workers = (options.tls.map(mutual), Guard::Open);
        let control = port_options("worker", Limits::CONTROL, ByteCount(256 << 20), &clients);
        let fetches = port_options("fetch", Limits::FETCH, ByteCount(64 << 20), &clients);
        let of_pushes = |name, of| port_options(name, Limits::PUSH, options.pushes, of);
        let ports = [
            rpc.open(&control, Arc::new(Control(Arc::clone(&floor)))),
            push.open(&of_pushes("push", &clients), pushes(Mode::Primary)),
            fetch.open(&fetches, Arc::new(Fetches(Arc::clone(&floor)))),
            replicate.open(&of_pushes("replicate", &workers), pushes(Mode::Replica)),
        ];
        let (of_ends, of_all) = (Arc::downgrade(&floor), Arc::downgrade(&floor));
        let cleaning = [
            env.spawn("Celeborn cleaning", clean_ended(of_ends, env.clone())),
            env.spawn("Celeborn cleaning", clean(of_all, keys.clone(), env.clone())),
        ];
        Worker { id, addresses, floor, keys, ports, cleaning }
    }
}

fn port_options(
    name: &'static str,
    limits: Limits,
    room: ByteCount,
    (tls, guard): &(Option<Tls>, Guard),
) -> PortOptions {
    let (tls, guard) = (tls.clone(), guard.clone());
    PortOptions { name, limits, connections_max: 20_000, requests_max: 1_024, room, tls, guard }
}

impl Worker {
    /// Its name.
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Where it listens, in the order of its name: control, pushes, reads, copies.
    pub fn addresses(&self) -> [SocketAddr; 4] {
        self.addresses
    }

    /// Asks itself by the name that executors are told, whether it is there. `Invalid`: they would not
    /// reach it, or reach somebody else.
    pub async fn finds_itself(&self) -> Result<()> {
        let (env, host) = (&self.floor.env, &self.id.host);
        let address = format!("{host}:{}", self.id.rpc_port);
        let asked = async {
            let tls = self.floor.peers.tls();
            let client = Client::connect(env, &address, (FIND_MAX, tls)).await?;
            if let Some(keys) = &self.keys {
                keys.of_itself()?.prove(&client).await?;
            }
            control::exists(&client, endpoint::WORKER).await
        };
        let late = || Err(Error::retry("no answer"));
        let found = env.timeout(FIND_MAX, asked).await.unwrap_or_else(late);
        let why = match found {
            Ok(true) => return Ok(()),
            Ok(false) => "somebody else answers there".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = format!("executors would not find this worker at {address}: {why}");
        Err(Error::invalid(text).with_hint("say with --advertise by which host they reach it"))
    }

    /// The counters now.
    pub fn stats(&self) -> WorkerStats {
        self.floor.stats()
    }

    /// Removes now what no record has named at the last look either. Done by itself every half minute.
    /// `Retry`: the store does not answer.
    pub async fn clean(&self) -> Result<()> {
        if let Some(keys) = &self.keys {
            keys.clean().await?;
        }
        self.floor.clean().await
    }

    /// Connections at its ports: control, pushes, reads, copies.
    pub fn connections(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| self.ports[at].connections())
    }

    /// Bytes of pushes that are being stored: of clients, of other workers.
    pub fn bytes_held(&self) -> [u64; 2] {
        [1, 3].map(|at: usize| self.ports[at].bytes_held())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.cleaning.iter().for_each(Task::abort);
    }
}

/// Removes what has ended as soon as somebody says so: memory that it holds is of use to others. What is
/// missed here, [`clean`] finds.
async fn clean_ended(floor: Weak<Floor>, env: Env) {
    loop {
        let Some(records) = floor.upgrade().map(|floor| floor.records.clone()) else { return };
        if let Ok(mut ends) = records.ends().await {
            while let Some(names) = ends.next().await {
                let Some(floor) = floor.upgrade() else { return };
                if let Err(error) = floor.ended(names).await {
                    tracing::debug!(%error, "a worker cannot remove shuffles that have ended");
                }
            }
        }
        env.sleep(CLEAN_EVERY).await;
    }
}

async fn clean(floor: Weak<Floor>, keys: Option<Arc<Keyring>>, env: Env) {
    loop {
        env.sleep(CLEAN_EVERY).await;
        let Some(floor) = floor.upgrade() else { return };
        let forgotten = match &keys {
            Some(keys) => keys.clean().await,
            None => Ok(()),
        };
        for done in [forgotten, floor.clean().await] {
            if let Err(error) = done {
                tracing::debug!(%error, "a worker cannot look what has ended");
            }
        }
    }
}
