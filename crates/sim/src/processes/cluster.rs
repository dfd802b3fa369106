//! All processes of a cluster, and the folder they work in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};
use dunlin_metadata::StoreRef;
use futures::future::try_join_all;
use tokio::sync::Semaphore;

use super::child::{Child, Signal};
use super::etcd::Etcd;
use super::launch::{self, Common};
use super::needs::Needs;
use super::network::Network;
use super::objects::{Objects, Service};
use super::own::Own;
use super::server::{Role, Server};

/// Time to live of leases: short, so that a pause past it does not take long.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long results are kept that nobody reads: longer than any fault keeps readers away.
pub(super) const HOLD: Duration = Duration::from_secs(20);

/// How often gateways sweep.
pub(super) const SWEEP: Duration = Duration::from_secs(3);

/// How long a drained process may take for what it runs.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Where blobs are, below the folder or in the object store.
pub(super) const BLOBS: &str = "blobs";

/// Where tables are that statements make.
pub(super) const TABLES: &str = "tables";

/// How many processes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Members of etcd.
    pub members: usize,
    /// Gateways.
    pub gateways: usize,
    /// Executors.
    pub executors: usize,
    /// Shuffle workers.
    pub shuffles: usize,
    /// What they have.
    pub needs: Needs,
}

/// The processes. Dropping it kills them.
pub struct Cluster {
    env: Env,
    folder: PathBuf,
    /// The metadata store.
    pub etcd: Etcd,
    /// The object store of blobs and new tables, where they are not in folders.
    pub objects: Option<Objects>,
    /// All `dunlin serve` processes.
    pub servers: Vec<Server>,
    /// After those who are on it.
    _network: Option<Network>,
    store: StoreRef,
    /// One gateway may not be away while it is the last: clients would rightly be told to retry.
    pub gateways_away: Semaphore,
}

impl Cluster {
    /// Time to live of the processes' leases.
    pub const LEASE_TTL: Duration = LEASE_TTL;

    /// How long after their end the remains of queries may stay.
    pub const REMAINS_MAX: Duration = HOLD.saturating_add(SWEEP.saturating_mul(4));

    /// How long a drain may take.
    pub const DRAIN_MAX: Duration = DRAIN_MAX.saturating_add(Duration::from_secs(10));

    /// Starts everything below `folder`, over the tables in `data`, and waits until all are ready.
    /// `program`: `dunlin`, with first arguments where it is part of another program.
    pub async fn start(
        env: &Env,
        shape: Shape,
        program: &[OsString],
        folder: &Path,
        data: &Path,
    ) -> Result<Self> {
        Self::start_as(env, shape, program, (folder, data), None).await
    }

    /// The same as a user would have it, if `own` says how.
    pub async fn start_as(
        env: &Env,
        shape: Shape,
        program: &[OsString],
        (folder, data): (&Path, &Path),
        own: Option<&Own>,
    ) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::invalid(format!("cannot use {}: {e}", folder.display())).with_source(e)
        };
        std::fs::create_dir_all(folder.join(BLOBS)).map_err(cannot)?;
        let folder = folder.canonicalize().map_err(cannot)?;
        shape.needs.permitted(env, &folder).await?;
        let network = network(env, shape).await?;
        let objects = objects(env, shape, network.as_ref()).await?;
        let tables = match &objects {
            Some(objects) => objects.url(TABLES),
            None => folder.join(TABLES).display().to_string(),
        };
        launch::configure(&folder, shape.needs, &tables, own).map_err(cannot)?;
        let etcd = Etcd::start(env, &folder, shape.members).await?;
        let common = Common {
            env,
            shape,
            etcd: &etcd,
            objects: objects.as_ref(),
            network: network.as_ref(),
            folder: &folder,
            data,
            program,
            own,
        };
        let servers = common.servers().await?;
        try_join_all(
            servers
                .iter()
                .map(|server| async { server.start(&mut *server.child.lock().await, None).await }),
        )
        .await?;
        let store = etcd.store().await?;
        let away = Semaphore::new(shape.gateways.saturating_sub(1).max(1));
        let env = env.clone();
        Ok(Self {
            env,
            folder,
            etcd,
            objects,
            servers,
            _network: network,
            store,
            gateways_away: away,
        })
    }

    /// The world it runs in.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The folder of logs, blobs, scratch data and etcd's data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The metadata store, past all proxies.
    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// Processes of a role.
    pub fn of(&self, role: Role) -> Vec<&Server> {
        self.servers.iter().filter(|server| server.role == role).collect()
    }

    /// A client that knows all gateways and begins with one of them. `Retry`: none answers.
    pub async fn client(&self, first: usize) -> Result<Client> {
        let doors = self.of(Role::Gateway).into_iter().filter_map(|server| server.door.as_ref());
        let mut addresses: Vec<String> = doors.map(|door| door.address().to_string()).collect();
        let count = addresses.len().max(1);
        addresses.rotate_left(first % count);
        let options = ClientOptions::new(addresses, Credentials::None);
        Client::connect(self.env.clone(), options).await
    }

    /// Undoes every fault: all connections are fine, all processes run, the store answers.
    pub async fn heal(&self) -> Result<()> {
        for member in &self.etcd.members {
            let mut child = member.child.lock().await;
            if child.as_mut().is_none_or(|child| !child.runs()) {
                self.etcd.run(member, &mut child)?;
            }
        }
        self.etcd.answers().await?;
        if let Some(objects) = &self.objects {
            objects.set(Service::Fine);
        }
        for server in &self.servers {
            server.heal().await?;
            let mut child = server.child.lock().await;
            let runs = child.as_mut().is_some_and(Child::runs);
            match child.as_ref().filter(|_| runs) {
                Some(running) => running.signal(Signal::Cont)?,
                None => server.start(&mut child, None).await?,
            }
        }
        Ok(())
    }

    /// Asks all processes to end, and waits until they have. The error names one that did not end
    /// well.
    pub async fn drain(&self) -> Result<()> {
        // Executors before those whom they need.
        for role in [Role::Executor, Role::Gateway, Role::Shuffle] {
            for server in self.of(role) {
                let Some(mut child) = server.child.lock().await.take() else { continue };
                child.signal(Signal::Term)?;
                let status = child.ended(Self::DRAIN_MAX).await?;
                if !status.success() {
                    return Err(Error::bug(format!("{} ended with {status}", server.name)));
                }
            }
        }
        Ok(())
    }
}

async fn network(env: &Env, shape: Shape) -> Result<Option<Network>> {
    match shape.needs.hosts {
        true => Network::open(env, shape.shuffles + shape.executors).await.map(Some),
        false => Ok(None),
    }
}

/// The object store, where all processes reach it.
async fn objects(env: &Env, shape: Shape, network: Option<&Network>) -> Result<Option<Objects>> {
    let host = network.map_or_else(|| "127.0.0.1".to_owned(), |network| network.address(0));
    match shape.needs.objects {
        true => Objects::open(env, &host).await.map(Some),
        false => Ok(None),
    }
}
