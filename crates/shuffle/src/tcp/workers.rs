//! All workers of other processes, by id.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dunlin_base::{Env, ProcessId, Result};
use dunlin_proto::shuffle::ShuffleApi;
use parking_lot::Mutex;

use crate::fault::WorkerGone;
use crate::read::Workers;

use super::options::TcpOptions;
use super::remote::Remote;

/// Reaches shuffle workers over TCP, each by one connection that is made when it is first needed,
/// made anew after it broke, and closed when it was idle. The number of connections grows with the
/// workers only.
///
/// The calls of the workers that it gives keep the contract of [`ShuffleApi`]. Beyond the worker's
/// own errors they return: `Lost`, nobody knows the worker or another process answers in its
/// place; `Retry`, it cannot be reached, or a connection broke twice, or no answer came in time:
/// the outcome is not known, and the call may be repeated; `Invalid`, the peers do not agree on
/// version or TLS; `Exhausted`, the request is larger than the worker takes. Dropping a call after
/// it was sent leaves the worker to do it; dropping a stream of blocks ends the read.
///
/// Dropping it closes all connections, but those of streams that are still read.
pub struct TcpWorkers {
    shared: Arc<Shared>,
    pool: Mutex<HashMap<ProcessId, Arc<Remote>>>,
}

/// What all workers share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) options: Arc<TcpOptions>,
    lookup: Box<dyn Fn(ProcessId) -> Option<String> + Send + Sync>,
    on_machine: Box<dyn Fn(ProcessId) -> Option<PathBuf> + Send + Sync>,
}

impl TcpWorkers {
    /// `lookup` gives the address (`host:port`) of a live worker, as its card says, and `None` for
    /// one that is gone. It is called for each [`Workers::connect`] and each new connection, must
    /// not block and must not call back. Connections live on the runtime of `env`: give it the one
    /// for leases and transport, not the one that queries compute on.
    pub fn new(
        env: Env,
        options: TcpOptions,
        lookup: impl Fn(ProcessId) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::with_machine(env, options, lookup, |_| None)
    }

    /// The same. `on_machine` gives the path at which a worker lets processes of this machine in,
    /// if it is on this machine; it is tried first. The same rules hold as for `lookup`.
    pub fn with_machine(
        env: Env,
        options: TcpOptions,
        lookup: impl Fn(ProcessId) -> Option<String> + Send + Sync + 'static,
        on_machine: impl Fn(ProcessId) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        let (lookup, on_machine) = (Box::new(lookup), Box::new(on_machine));
        let shared = Shared { env, options: Arc::new(options), lookup, on_machine };
        Self { shared: Arc::new(shared), pool: Mutex::default() }
    }

    /// How many connections are being made or stand.
    pub fn connections(&self) -> usize {
        self.pool.lock().values().filter(|remote| remote.is_connected()).count()
    }

    /// Forgets workers that are gone. What is under way with them goes on.
    fn sweep(&self) {
        let known: Vec<_> = self.pool.lock().keys().copied().collect();
        let gone = known.into_iter().filter(|worker| self.shared.address(*worker).is_err());
        let gone: Vec<_> = gone.collect();
        let mut pool = self.pool.lock();
        for worker in gone {
            pool.remove(&worker);
        }
    }
}

impl Shared {
    /// Where a worker is; `Lost` if nobody knows.
    pub(super) fn address(&self, worker: ProcessId) -> Result<String> {
        (self.lookup)(worker).ok_or_else(|| WorkerGone::error(worker, ""))
    }

    /// Where it lets processes of this machine in.
    pub(super) fn on_machine(&self, worker: ProcessId) -> Option<PathBuf> {
        (self.on_machine)(worker)
    }
}

impl Workers for TcpWorkers {
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        if let Err(gone) = self.shared.address(worker) {
            self.pool.lock().remove(&worker);
            return Err(gone);
        }
        if let Some(remote) = self.pool.lock().get(&worker) {
            return Ok(Arc::clone(remote) as _);
        }
        self.sweep();
        let new = || Arc::new(Remote::new(worker, Arc::clone(&self.shared)));
        Ok(Arc::clone(self.pool.lock().entry(worker).or_insert_with(new)) as _)
    }

    fn leaves_host(&self, worker: ProcessId) -> bool {
        let own = self.shared.options.host.as_deref();
        self.shared.address(worker).is_ok_and(|address| !is_here(&address, own))
    }
}

/// Whether an address (`host:port`) is on the machine that others reach at `own`.
fn is_here(address: &str, own: Option<&str>) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || host == "localhost" || own == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_one_by_loopback_or_by_the_name_that_others_know() {
        for address in ["127.0.0.1:7", "127.3.0.9:7", "[::1]:7", "localhost:7", "db4:7"] {
            assert!(is_here(address, Some("db4")), "{address}");
        }
        assert!(is_here("[2001:db8::4]:7", Some("2001:db8::4")));
        for address in ["db5:7", "10.0.0.4:7", "[2001:db8::5]:7"] {
            assert!(!is_here(address, Some("db4")), "{address}");
            assert!(!is_here(address, None), "{address}");
        }
    }
}
