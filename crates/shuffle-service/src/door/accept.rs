//! Listening, and the life of the door as a whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::{Listener, Stream};
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
    address: SocketAddr,
}

/// An open door. Dropping it closes it at once, with all its connections and what they asked for;
/// [`Door::close`] does so with a word to the clients.
pub struct Door {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: Task<()>,
}

impl Bound {
    /// Takes the address. `env` says on which runtime the door lives: give it the one for leases
    /// and transport, not the one that queries compute on. `Invalid` if the address cannot be used.
    pub async fn bind(env: Env, options: DoorOptions) -> Result<Self> {
        // In a task, so that the socket belongs to the runtime that will use it.
        let (of_task, listen) = (env.clone(), options.listen.clone());
        let task = env.spawn("shuffle door", async move { of_task.listen(&listen).await });
        let listener = task.join().await;
        let listener =
            listener.unwrap_or_else(|e| Err(Error::bug(format!("shuffle door: {e}"))))?;
        let address = listener.address()?;
        Ok(Self { env, options, listener, address })
    }

    /// Where the door is, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in that mean `worker` (`None`: nobody yet, see [`Door::answer_for`]), and serves
    /// them from `api`. A worker behind a door should verify pushes (`Options::verify_pushes`): the
    /// bytes came over a wire.
    pub fn open(self, worker: impl Into<Option<ProcessId>>, api: Arc<dyn ShuffleApi>) -> Door {
        let Self { env, options, listener, address } = self;
        let shared = Arc::new(Shared::new(env.clone(), api, options));
        shared.lives.write().extend(worker.into());
        let accepting = env.spawn("shuffle door", accept(Arc::clone(&shared), listener));
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
        self.shared.counters.snapshot(self.shared.connections.lock().len())
    }

    /// Lets nobody in any more and closes the connections, saying why (`Retry`): requests in
    /// flight end without an answer. Returns within two seconds. Dropping the future closes what
    /// is still open.
    pub async fn close(self) {
        self.accepting.abort();
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
        self.accepting.abort();
        // A connection that was just accepted ends by itself.
        self.shared.closing.send_replace(true);
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.into_values().flatten().for_each(|task| task.abort());
    }
}

async fn accept(shared: Arc<Shared>, listener: Listener) {
    let mut number = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                number += 1;
                shared.counters.accepted.fetch_add(1, Relaxed);
                admit(&shared, number, stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "the shuffle door cannot take a connection");
                shared.env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts the task of a connection, or drops it if there are too many.
fn admit(shared: &Arc<Shared>, number: u64, stream: Stream, peer: SocketAddr) {
    {
        let mut connections = shared.connections.lock();
        if connections.len() >= shared.options.connections_max {
            shared.counters.turned_away.fetch_add(1, Relaxed);
            tracing::warn!(%peer, "the shuffle door has too many connections");
            return;
        }
        connections.insert(number, None);
    }
    let listed = Listed { shared: Arc::clone(shared), number };
    let task = shared.env.spawn("shuffle connection", async move {
        connection::serve(&listed.shared, stream, peer).await;
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
