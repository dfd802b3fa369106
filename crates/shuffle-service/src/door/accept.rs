//! Listening, and the life of the door as a whole.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::{Listener, MachineListener, Stream};
use dunlin_base::{Env, Error, ProcessId, Result};
use dunlin_proto::shuffle::ShuffleApi;

use super::connection;
use super::options::DoorOptions;
use super::shared::Shared;
use super::stats::DoorStats;

/// Before the next try when the system cannot give a connection (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a closing door waits for its connections to say goodbye.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// How often a closing door looks whether they have.
const CLOSE_STEP: Duration = Duration::from_millis(5);

/// A door that has its address and lets nobody in yet. The node binds first, writes the address
/// into the worker's card, and opens when it knows the process id that the card was filed under.
/// Clients that connect meanwhile wait. Dropping it gives the address back.
pub struct Bound {
    env: Env,
    options: DoorOptions,
    listener: Listener,
    on_machine: Option<MachineListener>,
    address: SocketAddr,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Network(SocketAddr),
    /// A process of the same machine and user.
    Machine,
}

impl Display for From {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Machine => f.write_str("this machine"),
        }
    }
}

/// An open door. Dropping it closes it at once, with all its connections and what they asked for;
/// [`Door::close`] does so with a word to the clients.
pub struct Door {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Vec<Task<()>>,
}

impl Bound {
    /// Takes the address. `env` says on which runtime the door lives: give it the one for leases
    /// and transport, not the one that queries compute on. `Invalid` if the address cannot be used.
    pub async fn bind(env: Env, options: DoorOptions) -> Result<Self> {
        // In a task, so that the socket belongs to the runtime that will use it.
        let (of_task, listen, path) =
            (env.clone(), options.listen.clone(), options.on_machine.clone());
        let task = env.spawn("shuffle door", async move {
            let on_machine = path.and_then(|path| listen_on_machine(&of_task, &path));
            of_task.listen(&listen).await.map(|listener| (listener, on_machine))
        });
        let listeners = task.join().await;
        let (listener, on_machine) =
            listeners.unwrap_or_else(|e| Err(Error::bug(format!("shuffle door: {e}"))))?;
        let address = listener.address()?;
        Ok(Self { env, options, listener, on_machine, address })
    }

    /// The path at which processes of this machine are let in, if there is one.
    pub fn on_machine(&self) -> Option<&Path> {
        self.on_machine.as_ref().map(MachineListener::path)
    }

    /// Where the door is, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in that mean `worker` (`None`: nobody yet, see [`Door::answer_for`]), and serves
    /// them from `api`. A worker behind a door should verify pushes (`Options::verify_pushes`): the
    /// bytes came over a wire.
    pub fn open(self, worker: impl Into<Option<ProcessId>>, api: Arc<dyn ShuffleApi>) -> Door {
        let Self { env, options, listener, on_machine, address } = self;
        let shared = Arc::new(Shared::new(env.clone(), api, options));
        shared.lives.write().extend(worker.into());
        let mut accepting = vec![env.spawn("shuffle door", accept(Arc::clone(&shared), listener))];
        if let Some(listener) = on_machine {
            let accept = accept_on_machine(Arc::clone(&shared), listener);
            accepting.push(env.spawn("shuffle door", accept));
        }
        Door { shared, address, accepting }
    }
}

impl Door {
    /// [`Bound::bind`] and [`Bound::open`] in one, for who knows the process id already.
    pub async fn open(
        env: Env,
        options: DoorOptions,
        worker: ProcessId,
        api: Arc<dyn ShuffleApi>,
    ) -> Result<Self> {
        Ok(Bound::bind(env, options).await?.open(worker, api))
    }

    /// Where the door is, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in that mean this life of the worker, too. Those of lives before stay welcome:
    /// what they were told to be stored is still here.
    pub fn answer_for(&self, life: ProcessId) {
        self.shared.lives.write().insert(life);
    }

    /// The counters now.
    pub fn stats(&self) -> DoorStats {
        let connections = self.shared.connections.lock().len();
        self.shared.counters.snapshot(connections, self.shared.options.door_bytes_max.0)
    }

    /// Lets nobody in any more and closes the connections, saying why (`Retry`): requests in
    /// flight end without an answer. Returns within two seconds. Dropping the future closes what
    /// is still open.
    pub async fn close(self) {
        self.accepting.iter().for_each(Task::abort);
        self.shared.closing.send_replace(true);
        let env = &self.shared.env;
        let quiet = async {
            while !self.shared.connections.lock().is_empty() {
                env.sleep(CLOSE_STEP).await;
            }
        };
        // What has not ended by then is ended by the drop.
        env.timeout(CLOSE_WAIT, quiet).await;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.iter().for_each(Task::abort);
        // A connection that was just accepted ends by itself.
        self.shared.closing.send_replace(true);
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.into_values().flatten().for_each(|task| task.abort());
    }
}

/// Without it, processes of this machine come through the network.
fn listen_on_machine(env: &Env, path: &Path) -> Option<MachineListener> {
    let listener = env.listen_on_machine(path);
    listener.inspect_err(|error| tracing::info!(%error, "this machine comes by TCP, too")).ok()
}

async fn accept(shared: Arc<Shared>, listener: Listener) {
    loop {
        let accepted = listener.accept().await;
        let accepted = accepted.map(|(stream, peer)| (stream, From::Network(peer)));
        enter(&shared, accepted).await;
    }
}

async fn accept_on_machine(shared: Arc<Shared>, listener: MachineListener) {
    loop {
        let accepted = listener.accept().await.map(|stream| (stream, From::Machine));
        enter(&shared, accepted).await;
    }
}

async fn enter(shared: &Arc<Shared>, accepted: Result<(Stream, From)>) {
    match accepted {
        Ok((stream, from)) => {
            let number = shared.counters.accepted.fetch_add(1, Relaxed);
            if matches!(from, From::Machine) {
                shared.counters.on_machine.fetch_add(1, Relaxed);
            }
            admit(shared, number, stream, from);
        }
        Err(error) => {
            tracing::warn!(%error, "the shuffle door cannot take a connection");
            shared.env.sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Starts the task of a connection, or drops it if there are too many.
fn admit(shared: &Arc<Shared>, number: u64, stream: Stream, from: From) {
    {
        let mut connections = shared.connections.lock();
        if connections.len() >= shared.options.connections_max {
            shared.counters.turned_away.fetch_add(1, Relaxed);
            tracing::warn!(peer = %from, "the shuffle door has too many connections");
            return;
        }
        connections.insert(number, None);
    }
    let listed = Listed { shared: Arc::clone(shared), number };
    let task = shared.env.spawn("shuffle connection", async move {
        connection::serve(&listed.shared, stream, from).await;
    });
    // It may have ended already, and then it is not listed any more.
    if let Some(entry) = shared.connections.lock().get_mut(&number) {
        *entry = Some(task);
    }
}

/// Takes a connection off the list when its task ends, however that is.
struct Listed {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.connections.lock().remove(&self.number);
    }
}
