//! How the processes of a cluster are started: their options, their configuration, what is around
//! them. Called by `cluster`.

use std::ffi::OsString;
use std::path::Path;

use dunlin_base::{Env, Error, Result};
use parking_lot::Mutex as Lock;
use tokio::sync::Mutex;

use super::cluster::{BLOBS, DRAIN_MAX, HOLD, LEASE_TTL, SWEEP, Shape};
use super::disk;
use super::etcd::Etcd;
use super::needs::Needs;
use super::network::{Host, Network};
use super::objects::Objects;
use super::own::Own;
use super::proxy::Proxy;
use super::server::{Recipe, Role, Server};

/// What all processes are told.
pub(super) struct Common<'a> {
    pub(super) env: &'a Env,
    pub(super) shape: Shape,
    pub(super) etcd: &'a Etcd,
    pub(super) objects: Option<&'a Objects>,
    pub(super) network: Option<&'a Network>,
    pub(super) folder: &'a Path,
    pub(super) data: &'a Path,
    pub(super) program: &'a [OsString],
    /// A user's cluster: no proxy is on the way of shuffles.
    pub(super) own: Option<&'a Own>,
}

/// Options of one process.
struct Options(Vec<OsString>);

impl Options {
    fn add(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }
}

impl Common<'_> {
    /// All processes, not yet started.
    pub(super) async fn servers(&self) -> Result<Vec<Server>> {
        let mut servers = Vec::new();
        let roles = [
            (Role::Gateway, self.shape.gateways),
            (Role::Shuffle, self.shape.shuffles),
            (Role::Executor, self.shape.executors),
        ];
        for (role, count) in roles {
            for number in 1..=count {
                servers.push(self.server(role, number).await?);
            }
        }
        Ok(servers)
    }

    async fn server(&self, role: Role, number: usize) -> Result<Server> {
        let name = format!("{}-{number}", role.as_str());
        let host = self.host(role, number);
        // Where a process on a host of its own reaches us.
        let ours = match (self.network, &host) {
            (Some(network), Some(_)) => network.address(0),
            _ => "127.0.0.1".to_owned(),
        };
        let mut stores = Vec::new();
        for member in 0..self.etcd.members.len() {
            let proxy = Proxy::open(self.env, &format!("{ours}:0")).await?;
            proxy.aim(&self.etcd.address(member));
            stores.push(proxy);
        }
        let scratch = self.folder.join(&name);
        let mut options = self.options(role, &stores, &scratch);
        let door = match role {
            Role::Executor => None,
            Role::Gateway => {
                options.add("--data", self.data);
                Some(Proxy::open(self.env, "127.0.0.1:0").await?)
            }
            Role::Shuffle => match self.own {
                Some(own) => {
                    options.0.extend(own.of_worker(&scratch));
                    None
                }
                None => Some(self.shuffle_door(number, host.as_ref(), &mut options).await?),
            },
        };
        let disk = self.shape.needs.disks && role != Role::Gateway;
        let mut program: Vec<OsString> = Vec::new();
        program.extend(host.iter().flat_map(Host::prefix).map(OsString::from));
        if disk {
            let failed =
                |e| Error::invalid(format!("no folder {}", scratch.display())).with_source(e);
            std::fs::create_dir_all(&scratch).map_err(failed)?;
            program.extend(disk::prefix(&scratch).into_iter().map(OsString::from));
        }
        program.extend_from_slice(self.program);
        let log = self.folder.join(format!("{name}.log"));
        let mut variables = self.objects.map(Objects::variables).unwrap_or_default();
        variables.extend(self.own.iter().flat_map(|own| own.variables.iter().cloned()));
        let seen = Lock::new(scratch.clone());
        let recipe = Recipe { program, arguments: options.0, variables, log, scratch, disk };
        let (child, admin, env) = (Mutex::new(None), Lock::default(), self.env.clone());
        Ok(Server { role, name, child, stores, door, host, recipe, env, admin, scratch: seen })
    }

    /// Gateways stay with us, since clients are.
    fn host(&self, role: Role, number: usize) -> Option<Host> {
        let network = self.network?;
        match role {
            Role::Gateway => None,
            Role::Shuffle => Some(network.host(number)),
            Role::Executor => Some(network.host(self.shape.shuffles + number)),
        }
    }

    fn options(&self, role: Role, stores: &[Proxy], scratch: &Path) -> Options {
        let mut options = Options(vec!["serve".into(), "--with-parent".into()]);
        options.add("--config", self.folder.join(CONFIGURATION));
        options.add("--roles", role.as_str());
        let members: Vec<String> = stores.iter().map(|proxy| proxy.address().to_string()).collect();
        options.add("--metadata", format!("etcd://{}", members.join(",")));
        let blobs: OsString = match self.objects {
            Some(objects) => objects.url(BLOBS).into(),
            None => self.folder.join(BLOBS).into(),
        };
        options.add("--blobs", blobs);
        options.add("--scratch", scratch);
        options.add("--admin-port", "0");
        options.add("--flight-port", "0");
        if self.own.is_none() {
            // What cuts the network must reach the bytes of shuffles, too.
            options.0.push("--tcp-only".into());
        }
        options.add("--drain-limit", DRAIN_MAX.as_secs().to_string());
        // Executors open the files of tables that only gateways name.
        options.add("--allow", self.data);
        options
    }

    /// Workers tell a host of their own: the proxy has the same port on another one. Nobody's
    /// outgoing connections have ports of either.
    async fn shuffle_door(
        &self,
        number: usize,
        host: Option<&Host>,
        options: &mut Options,
    ) -> Result<Proxy> {
        let (near, own) = match (self.network, host) {
            (Some(network), Some(host)) => {
                options.0.push("--insecure".into());
                (network.address(0), host.address().to_owned())
            }
            _ => (format!("127.0.1.{number}"), format!("127.0.2.{number}")),
        };
        let proxy = Proxy::open(self.env, &format!("{near}:0")).await?;
        let port = proxy.address().port();
        proxy.aim(&format!("{own}:{port}"));
        options.add("--listen", own);
        options.add("--advertise", near);
        options.add("--shuffle-port", port.to_string());
        Ok(proxy)
    }
}

/// The name of the file that all processes read.
const CONFIGURATION: &str = "dunlin.toml";

/// Writes what all processes are configured with. `tables`: where new tables go.
pub(super) fn configure(
    folder: &Path,
    needs: Needs,
    tables: &str,
    own: Option<&Own>,
) -> std::io::Result<()> {
    let text = match own {
        Some(own) => own.configuration.clone(),
        None => configuration(needs, tables),
    };
    std::fs::write(folder.join(CONFIGURATION), text)
}

/// Small slices and partitions, so that small data make a query of many stages and tasks.
fn configuration(needs: Needs, tables: &str) -> String {
    // As little as there can be, where data are to go to disk.
    let (memory, shuffle) = if needs.disks { (24, 16) } else { (512, 32) };
    let tiers =
        if needs.adopts { "[shuffle]\ntiers = [\"objects\"]\nsync-pushes = true\n\n" } else { "" };
    let (lease, hold, sweep) = (LEASE_TTL.as_secs(), HOLD.as_secs(), SWEEP.as_secs());
    format!(
        "threads = 1\nmemory = \"{memory}MiB\"\nshuffle-memory = \"{shuffle}MiB\"\nhistory = 10000\n\
         lease-ttl = \"{lease}s\"\nhold = \"{hold}s\"\nsweep = \"{sweep}s\"\n\
         log-level = \"warn,dunlin_executor=info\"\n\n{tiers}\
         [session]\npartitions = 4\nslice_bytes = \"256KiB\"\ncollapse_bytes = \"0\"\n\
         broadcast_bytes = \"16KiB\"\nbroadcast_rows = 500\nplan_cache = false\n\
         warehouse = {tables:?}\n"
    )
}
