//! A port: where it listens, and the connections that it has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::net::{Listener, Stream};
use dunlin_base::{ByteCount, Env, Error, Result};
use dunlin_celeborn::frame::Limits;
use parking_lot::Mutex;

use super::connection::{Service, serve};
use super::guard::Guard;
use super::room::Room;
use super::tls::Tls;

/// Before the next try when the system cannot give a connection (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits of a port.
#[derive(Clone, Debug)]
pub(crate) struct PortOptions {
    /// What it is for, in logs.
    pub(crate) name: &'static str,
    /// Of its frames.
    pub(crate) limits: Limits,
    /// Open connections; further ones are closed at once.
    pub(crate) connections_max: usize,
    /// Requests of one connection that are answered at the same time; then it is not read.
    pub(crate) requests_max: usize,
    /// Bytes of bodies of requests that are being answered, of all connections.
    pub(crate) room: ByteCount,
    /// Encryption; `None` is plain TCP.
    pub(crate) tls: Option<Tls>,
    /// What is asked of clients.
    pub(crate) guard: Guard,
}

/// A port that has its address and lets nobody in yet: clients that connect wait.
pub(crate) struct Bound {
    env: Env,
    listener: Listener,
    address: SocketAddr,
}

/// An open port. Dropping it closes it, with all its connections.
pub(crate) struct Port {
    shared: Arc<Shared>,
    accepting: Task<()>,
}

pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) name: &'static str,
    pub(super) service: Arc<dyn Service>,
    pub(super) limits: Limits,
    pub(super) requests_max: usize,
    pub(super) room: Room,
    pub(super) tls: Option<Tls>,
    pub(super) guard: Guard,
    connections_max: usize,
    /// Tasks of the open connections. A connection removes itself at its end.
    connections: Mutex<HashMap<u64, Option<Task<()>>>>,
}

/// Numbers of connections: no two ports give the same.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Bound {
    /// Takes the address. `Invalid` if it cannot be used.
    pub(crate) async fn bind(env: &Env, listen: &str) -> Result<Self> {
        // In a task, so that the socket belongs to the runtime that will use it.
        let (of_task, listen) = (env.clone(), listen.to_owned());
        let task = env.spawn("Celeborn port", async move { of_task.listen(&listen).await });
        let listener = task.join().await;
        let listener = listener.unwrap_or_else(|e| Err(Error::bug(format!("a port: {e}"))))?;
        let address = listener.address()?;
        Ok(Self { env: env.clone(), listener, address })
    }

    /// Where it is, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients in.
    pub(crate) fn open(self, options: &PortOptions, service: Arc<dyn Service>) -> Port {
        let Self { env, listener, .. } = self;
        let shared = Arc::new(Shared {
            env: env.clone(),
            name: options.name,
            service,
            limits: options.limits,
            requests_max: options.requests_max,
            room: Room::new(options.room),
            tls: options.tls.clone(),
            guard: options.guard.clone(),
            connections_max: options.connections_max,
            connections: Mutex::default(),
        });
        let accepting = env.spawn("Celeborn port", accept(Arc::clone(&shared), listener));
        Port { shared, accepting }
    }
}

impl Port {
    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().len()
    }

    /// Bytes of bodies of requests that are being answered.
    pub(crate) fn bytes_held(&self) -> u64 {
        self.shared.room.used()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.into_values().flatten().for_each(|task| task.abort());
    }
}

async fn accept(shared: Arc<Shared>, listener: Listener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&shared, stream, peer),
            Err(error) => {
                tracing::warn!(%error, port = shared.name, "cannot take a connection");
                shared.env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts the task of a connection, or drops it if there are too many.
fn admit(shared: &Arc<Shared>, stream: Stream, peer: SocketAddr) {
    let number = NEXT.fetch_add(1, Relaxed);
    {
        let mut connections = shared.connections.lock();
        if connections.len() >= shared.connections_max {
            tracing::warn!(%peer, port = shared.name, "too many connections");
            return;
        }
        connections.insert(number, None);
    }
    let listed = Listed { shared: Arc::clone(shared), number };
    let task = shared.env.spawn("Celeborn connection", async move {
        serve(&listed.shared, stream, (number, peer)).await;
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
        self.shared.service.ended(self.number);
        self.shared.connections.lock().remove(&self.number);
    }
}
