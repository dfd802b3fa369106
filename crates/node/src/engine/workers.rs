//! Shuffle workers as this process reaches them: its own by reference, all others over TCP.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use dunlin_base::net::machine;
use dunlin_base::{Env, Error, ProcessId, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::shuffle::{Peers, ShuffleApi};
use dunlin_queue::{LiveSet, Role};
use dunlin_shuffle::{LocalWorkers, TcpOptions, TcpWorkers, Workers};

/// Workers of a cluster. Those of other processes are known by their cards.
pub(super) struct ClusterWorkers {
    local: Arc<LocalWorkers>,
    remote: TcpWorkers,
}

impl ClusterWorkers {
    /// `env`: the runtime for leases and transport.
    pub(super) async fn new(
        local: Arc<LocalWorkers>,
        store: &StoreRef,
        env: &Env,
        (options, machine_sockets): (TcpOptions, bool),
    ) -> Result<Self> {
        let live = LiveSet::follow(Arc::clone(store), env, Role::Shuffle).await?;
        let (live, machine) = (Arc::new(live), machine().unwrap_or_default());
        let cards = Arc::clone(&live);
        let lookup = move |id: ProcessId| {
            let address = cards.card_of(id)?.address;
            (!address.is_empty()).then_some(address)
        };
        let on_machine = move |id: ProcessId| {
            let socket = live.card_of(id)?.on_machine?;
            (machine_sockets && socket.machine == machine).then(|| PathBuf::from(socket.path))
        };
        let remote = TcpWorkers::with_machine(env.clone(), options, lookup, on_machine);
        Ok(Self { local, remote })
    }
}

impl Workers for ClusterWorkers {
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.local.connect(worker).or_else(|_| self.remote.connect(worker))
    }

    fn leaves_host(&self, worker: ProcessId) -> bool {
        self.local.connect(worker).is_err() && self.remote.leaves_host(worker)
    }
}

/// The same workers as one of them reaches them, for second copies. Weak: the workers of this
/// process are among them.
pub(super) struct OtherWorkers(pub(super) Weak<dyn Workers>);

impl Peers for OtherWorkers {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        let ends = || Error::retry("this process ends");
        self.0.upgrade().ok_or_else(ends)?.connect(id)
    }
}
