//! All processes of a cluster, and the folder they work in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_base::{Env, Error, Result};
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};
use dunlin_metadata::StoreRef;
use futures::future::try_join_all;
use parking_lot::Mutex as Lock;
use tokio::sync::{Mutex, Semaphore};

use super::child::{Child, Signal};
use super::etcd::Etcd;
use super::objects::{Objects, Service};
use super::proxy::Proxy;
use super::server::{Recipe, Role, Server};

/// Time to live of leases: short, so that a pause past it does not take long.
const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long results are kept that nobody reads: longer than any fault keeps readers away.
const HOLD: Duration = Duration::from_secs(20);

/// How often gateways sweep.
const SWEEP: Duration = Duration::from_secs(3);

/// How long a drained process may take for what it runs.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Where blobs are, below the folder or in the object store.
pub(super) const BLOBS: &str = "blobs";

/// Where tables are that statements make.
pub(super) const TABLES: &str = "tables";

/// What processes have beyond sockets and folders of the machine, for the faults that need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Blobs and new tables are in an object store of ours, not in folders.
    pub objects: bool,
}

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
    store: StoreRef,
    /// One gateway may not be away while it is the last: clients would rightly be told to retry.
    pub gateways_away: Semaphore,
}

/// What all processes are told.
struct Common<'a> {
    env: &'a Env,
    etcd: &'a Etcd,
    objects: Option<&'a Objects>,
    folder: &'a Path,
    data: &'a Path,
    program: &'a [OsString],
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
        let cannot = |e: std::io::Error| {
            Error::invalid(format!("cannot use {}: {e}", folder.display())).with_source(e)
        };
        std::fs::create_dir_all(folder.join(BLOBS)).map_err(cannot)?;
        let folder = folder.canonicalize().map_err(cannot)?;
        let objects = match shape.needs.objects {
            true => Some(Objects::open(env, "127.0.0.1").await?),
            false => None,
        };
        let tables = match &objects {
            Some(objects) => objects.url(TABLES),
            None => folder.join(TABLES).display().to_string(),
        };
        std::fs::write(folder.join("dunlin.toml"), configuration(&tables)).map_err(cannot)?;
        let etcd = Etcd::start(env, &folder, shape.members).await?;
        let objects_of = objects.as_ref();
        let common =
            Common { env, etcd: &etcd, objects: objects_of, folder: &folder, data, program };
        let mut servers = Vec::new();
        let roles = [
            (Role::Gateway, shape.gateways),
            (Role::Shuffle, shape.shuffles),
            (Role::Executor, shape.executors),
        ];
        for (role, count) in roles {
            for number in 1..=count {
                servers.push(common.server(role, number).await?);
            }
        }
        try_join_all(
            servers
                .iter()
                .map(|server| async { server.start(&mut *server.child.lock().await, None).await }),
        )
        .await?;
        let store = etcd.store().await?;
        let away = Semaphore::new(shape.gateways.saturating_sub(1).max(1));
        let env = env.clone();
        Ok(Self { env, folder, etcd, objects, servers, store, gateways_away: away })
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
            server.heal();
            let mut child = server.child.lock().await;
            let runs = child.as_mut().is_some_and(Child::runs);
            match child.as_ref().filter(|_| runs) {
                Some(running) => running.signal(Signal::Cont).await?,
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
                child.signal(Signal::Term).await?;
                let status = child.ended(Self::DRAIN_MAX).await?;
                if !status.success() {
                    return Err(Error::bug(format!("{} ended with {status}", server.name)));
                }
            }
        }
        Ok(())
    }
}

impl Common<'_> {
    async fn server(&self, role: Role, number: usize) -> Result<Server> {
        let name = format!("{}-{number}", role.as_str());
        let mut stores = Vec::new();
        for member in 0..self.etcd.members.len() {
            let proxy = Proxy::open(self.env, "127.0.0.1:0").await?;
            proxy.aim(&self.etcd.address(member));
            stores.push(proxy);
        }
        let scratch = self.folder.join(&name);
        let mut arguments: Vec<OsString> = vec!["serve".into(), "--with-parent".into()];
        let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        option("--config", self.folder.join("dunlin.toml").into());
        option("--roles", role.as_str().into());
        let members: Vec<String> = stores.iter().map(|proxy| proxy.address().to_string()).collect();
        option("--metadata", format!("etcd://{}", members.join(",")).into());
        option("--blobs", match self.objects {
            Some(objects) => objects.url(BLOBS).into(),
            None => self.folder.join(BLOBS).into(),
        });
        option("--scratch", scratch.clone().into());
        option("--admin-port", "0".into());
        option("--flight-port", "0".into());
        option("--drain-limit", DRAIN_MAX.as_secs().to_string().into());
        // Executors open the files of tables that only gateways name.
        option("--allow", self.data.into());
        let door = match role {
            Role::Executor => None,
            Role::Gateway => {
                option("--data", self.data.into());
                Some(Proxy::open(self.env, "127.0.0.1:0").await?)
            }
            Role::Shuffle => {
                // Workers tell a host of their own: the proxy has the same port on another one.
                // Nobody's outgoing connections have ports of either.
                let host = format!("127.0.1.{number}");
                let own = format!("127.0.2.{number}");
                let proxy = Proxy::open(self.env, &format!("{host}:0")).await?;
                let port = proxy.address().port();
                proxy.aim(&format!("{own}:{port}"));
                option("--listen", own.into());
                option("--advertise", host.into());
                option("--shuffle-port", port.to_string().into());
                Some(proxy)
            }
        };
        let log = self.folder.join(format!("{name}.log"));
        let variables = self.objects.map(Objects::variables).unwrap_or_default();
        let recipe = Recipe { program: self.program.to_vec(), arguments, variables, log, scratch };
        let (child, admin) = (Mutex::new(None), Lock::default());
        Ok(Server { role, name, child, stores, door, recipe, env: self.env.clone(), admin })
    }
}

/// Small slices and partitions, so that small data make a query of many stages and tasks.
fn configuration(tables: &str) -> String {
    let (lease, hold, sweep) = (LEASE_TTL.as_secs(), HOLD.as_secs(), SWEEP.as_secs());
    format!(
        "threads = 1\nmemory = \"512MiB\"\nshuffle-memory = \"32MiB\"\nhistory = 10000\n\
         lease-ttl = \"{lease}s\"\nhold = \"{hold}s\"\nsweep = \"{sweep}s\"\n\
         log-level = \"warn,dunlin_executor=info\"\n\n\
         [session]\npartitions = 4\nslice_bytes = \"256KiB\"\ncollapse_bytes = \"0\"\n\
         broadcast_bytes = \"16KiB\"\nbroadcast_rows = 500\nplan_cache = false\n\
         warehouse = {tables:?}\n"
    )
}
