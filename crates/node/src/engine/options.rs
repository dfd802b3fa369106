//! What one process with all roles is made of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::ByteCount;
use dunlin_planner::{Allowed, Settings, StoreLimits};
use dunlin_queue::Tuning;
use dunlin_shuffle::{TcpOptions, Tls};
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::celeborn::CelebornOptions;
use super::storage::StorageOptions;

/// How shuffle workers of several processes reach each other.
#[derive(Clone)]
pub struct Wire {
    /// `host:port` on which this process's worker listens; port 0 is any free one.
    pub listen: String,
    /// The host by which others reach it; `None`: the one that it listens on.
    pub advertise: Option<String>,
    /// Encryption, with certificates on both sides; `None` is plain TCP.
    pub tls: Option<WireTls>,
    /// Processes of one machine and user reach each other through sockets in the file system.
    pub machine_sockets: bool,
}

/// Certificates of a process, loaded.
#[derive(Clone)]
pub struct WireTls {
    /// For connections that come in.
    pub server: Arc<ServerConfig>,
    /// For connections that go out.
    pub client: Arc<ClientConfig>,
}

impl Wire {
    /// The address that others are told.
    pub(super) fn advertised(&self, bound: SocketAddr) -> String {
        match &self.advertise {
            Some(host) if host.contains(':') => format!("[{host}]:{}", bound.port()),
            Some(host) => format!("{host}:{}", bound.port()),
            None => bound.to_string(),
        }
    }

    /// How to reach others, and whether by their sockets on this machine.
    pub(super) fn client(&self) -> (TcpOptions, bool) {
        let config = |tls: &WireTls| Tls { config: Arc::clone(&tls.client), name: None };
        let host = self.advertise.clone().or_else(|| {
            let listens = self.listen.rsplit_once(':').map(|(host, _)| host);
            listens.map(|host| host.trim_matches(['[', ']']).to_owned())
        });
        let tls = self.tls.as_ref().map(config);
        (TcpOptions { tls, host, ..TcpOptions::default() }, self.machine_sockets)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({}, tls: {})", self.listen, self.tls.is_some())
    }
}

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
    /// Whether the gateway role runs in the process.
    pub gateway: bool,
    /// Whether the shuffle role runs in the process.
    pub shuffle: bool,
    /// What the process serves to clients of Celeborn.
    pub celeborn: CelebornOptions,
    /// How shuffle data cross between processes; `None`: all roles are in this one.
    pub wire: Option<Wire>,
    /// How long the shuffle worker may take at the end to hand its data over to the next process in
    /// `scratch`; `None`: they go with this process.
    pub hand_over: Option<Duration>,
    /// Memory of all tasks of one executor.
    pub memory_limit: ByteCount,
    /// Memory for shuffle blocks; beyond it they go where `storage` says.
    pub shuffle_memory: ByteCount,
    /// Places for shuffle blocks beside memory, and how they are used.
    pub storage: StorageOptions,
    /// Time to live of leases.
    pub lease_ttl: Duration,
    /// How often a gateway sweeps what crashed processes left.
    pub sweep_every: Duration,
    /// How long a query waits while no executor is alive; then it fails.
    pub executor_wait: Duration,
    /// Settings that sessions start with.
    pub settings: Settings,
    /// Limits of object stores.
    pub stores: StoreLimits,
    /// The places that statements and plans may open.
    pub allowed: Allowed,
    /// Sizes and times of the queue.
    pub tuning: Tuning,
}

/// Credentials and places of the object store for blobs, as its providers' own tools take them.
pub(super) fn store_variables() -> Vec<(String, String)> {
    const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
    let ours = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
    // Not `vars`: it panics on a variable that is no Unicode.
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, _)| ours(name)).map(lower).collect()
}

impl EngineOptions {
    /// The process stores shuffled data and does nothing else.
    pub fn is_shuffle_only(&self) -> bool {
        self.shuffle && !self.gateway && self.executors == 0
    }

    /// A process that keeps nothing: state in memory, scratch data in `scratch`.
    pub fn ephemeral(scratch: impl Into<PathBuf>) -> Self {
        let scratch = scratch.into();
        // As lasting as the catalog: tables made here go with the process.
        let warehouse = scratch.join("tables").display().to_string();
        Self {
            metadata: "memory:".to_owned(),
            blobs: "memory:".to_owned(),
            scratch,
            threads: 2,
            executors: 1,
            gateway: true,
            shuffle: true,
            celeborn: CelebornOptions::default(),
            wire: None,
            hand_over: None,
            memory_limit: ByteCount::mib(2048),
            shuffle_memory: ByteCount::mib(1024),
            storage: StorageOptions::default(),
            lease_ttl: Duration::from_secs(10),
            settings: Settings { warehouse, ..Settings::default() },
            sweep_every: Duration::from_secs(60),
            executor_wait: Duration::from_secs(300),
            stores: StoreLimits::default(),
            allowed: Allowed::everything(),
            tuning: Tuning::default(),
        }
    }
}
