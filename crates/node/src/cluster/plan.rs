//! Which processes a cluster has, on which ports, in which folders.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dunlin_base::{Error, Result};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;

use super::child::Child;
use crate::cli::Cluster;

/// The cluster as it is to be.
pub(super) struct Plan {
    pub(super) store: Child,
    pub(super) children: Vec<Child>,
    /// URL of the metadata store.
    pub(super) metadata: String,
    /// Addresses of the gateways.
    pub(super) gateways: Vec<String>,
    _folder: Option<TempDir>,
}

/// What all processes are told.
struct Common {
    program: PathBuf,
    folder: PathBuf,
    metadata: String,
    data: Option<PathBuf>,
    options: Vec<String>,
}

impl Plan {
    /// `Invalid`: a folder that cannot be used, a port that is taken. `Exhausted`: no free ports.
    pub(super) fn new(options: &Cluster, data: Option<PathBuf>) -> Result<Self> {
        check_free(options.port)?;
        let failed = |e: std::io::Error| {
            Error::invalid(format!("cannot make the cluster's folder: {e}")).with_source(e)
        };
        let (folder, kept) = match &options.state {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("dunlin-cluster-").tempdir();
                let made = made.map_err(failed)?;
                (made.path().to_owned(), Some(made))
            }
        };
        std::fs::create_dir_all(folder.join("blobs")).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let data = data.map(|data| data.canonicalize().unwrap_or(data));
        let (client, peer) = (free_port()?, free_port()?);
        let metadata = format!("etcd://127.0.0.1:{client}");
        let program = std::env::current_exe().map_err(failed)?;
        let common = Common {
            program,
            metadata: metadata.clone(),
            data,
            options: options.process.clone(),
            folder: folder.clone(),
        };
        let mut children = Vec::new();
        let mut gateways = Vec::new();
        for number in 1..=options.gateways {
            let port = match (number, options.port) {
                (1, port) if port > 0 => port,
                _ => free_port()?,
            };
            gateways.push(format!("127.0.0.1:{port}"));
            children.push(common.child("gateway", number, port));
        }
        children.extend((1..=options.shuffle).map(|number| common.child("shuffle", number, 0)));
        children.extend((1..=options.executors).map(|number| common.child("executor", number, 0)));
        let store = store(&folder, client, peer);
        Ok(Self { store, children, metadata, gateways, _folder: kept })
    }
}

impl Common {
    fn child(&self, role: &str, number: u32, flight: u16) -> Child {
        let name = format!("{role} {number}");
        let scratch = self.folder.join(format!("{role}-{number}"));
        let (program, blobs) = (self.program.clone(), self.folder.join("blobs"));
        let mut arguments = vec!["serve".to_owned(), "--with-parent".to_owned()];
        let mut add = |option: &str, value: String| {
            arguments.extend([option.to_owned(), value]);
        };
        add("--roles", role.to_owned());
        add("--metadata", self.metadata.clone());
        add("--blobs", blobs.display().to_string());
        add("--scratch", scratch.display().to_string());
        add("--flight-port", flight.to_string());
        add("--admin-port", "0".to_owned());
        if let Some(data) = &self.data {
            add("--data", data.display().to_string());
        }
        arguments.extend(self.options.iter().cloned());
        let command = move || {
            let mut command = Command::new(&program);
            command.args(&arguments);
            command
        };
        Child { name, command: Arc::new(command), shown: true, ready: watch::Sender::new(false) }
    }
}

fn store(folder: &Path, client: u16, peer: u16) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let data = folder.join("etcd");
    let command = move || {
        let mut command = Command::new("etcd");
        command.args(["--name", "dunlin", "--log-level", "error"]).arg("--data-dir").arg(&data);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("dunlin={peer}")]);
        command
    };
    Child {
        name: "etcd".to_owned(),
        command: Arc::new(command),
        shown: false,
        ready: watch::Sender::new(false),
    }
}

/// `Invalid` if the port that was asked for is taken: its gateway would be started again and again.
fn check_free(port: u16) -> Result<()> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::invalid(format!("cannot listen on 127.0.0.1:{port}: {e}"))
            .with_hint("choose another --port; 0 takes any that is free")
            .with_source(e)),
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let bound = bound.map_err(|e| Error::exhausted("no port is free").with_source(e))?;
    Ok(bound.port())
}
