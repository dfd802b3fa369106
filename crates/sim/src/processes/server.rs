//! One `dunlin serve` process of the cluster, with the proxies around it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_base::{Env, Error, Result, fail};
use parking_lot::Mutex as Lock;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::admin;
use super::child::Child;
use super::disk;
use super::network::Host;
use super::proxy::Proxy;
use super::weather::Weather;

/// How long a process may take until all its listeners are open, while its store may be away.
const START_MAX: Duration = Duration::from_secs(90);

/// Between tries to start one whose store is away.
const AGAIN: Duration = Duration::from_millis(300);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers clients.
    Gateway,
    /// Runs slices.
    Executor,
    /// Holds shuffled data.
    Shuffle,
}

impl Role {
    /// As `--roles` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
            Self::Shuffle => "shuffle",
        }
    }
}

/// How a process is started.
pub(super) struct Recipe {
    /// The program and its first arguments.
    pub(super) program: Vec<OsString>,
    pub(super) arguments: Vec<OsString>,
    /// Of its environment.
    pub(super) variables: Vec<(String, String)>,
    pub(super) log: PathBuf,
    pub(super) scratch: PathBuf,
    /// Its scratch folder is a disk of its own.
    pub(super) disk: bool,
}

/// One process. Dropping it kills it.
pub struct Server {
    /// Its role.
    pub role: Role,
    /// Its name for people, and that of its log.
    pub name: String,
    /// The process, while it is meant to run. Whoever does something to it, or to its proxies,
    /// holds the lock.
    pub child: Mutex<Option<Child>>,
    /// From it to each member of etcd.
    pub stores: Vec<Proxy>,
    /// From others to it: clients of a gateway, pushes to and reads of a shuffle worker.
    pub door: Option<Proxy>,
    /// The host that it is on, where hosts have networks of their own.
    pub host: Option<Host>,
    pub(super) recipe: Recipe,
    pub(super) env: Env,
    pub(super) admin: Lock<String>,
    /// Its scratch folder, as we see it.
    pub(super) scratch: Lock<PathBuf>,
}

impl Server {
    /// Starts it (again) and waits until it is ready, trying anew while its store is away.
    /// `armed`: the fail points of this life. `Retry`: it does not come up; the message has its
    /// last words.
    pub async fn start(&self, child: &mut Option<Child>, armed: Option<&str>) -> Result<()> {
        let until = self.env.now() + START_MAX;
        loop {
            match self.try_start(child, armed).await {
                Err(_) if self.env.now() < until => self.env.sleep(AGAIN).await,
                done => return done,
            }
        }
    }

    async fn try_start(&self, child: &mut Option<Child>, armed: Option<&str>) -> Result<()> {
        // The one before must be gone: they share scratch and ports.
        if let Some(mut old) = child.take() {
            old.kill().await?;
        }
        let (program, first) = self.recipe.program.split_first().ok_or_else(no_program)?;
        let mut command = Command::new(program);
        command.args(first).args(&self.recipe.arguments);
        command.envs(self.recipe.variables.iter().map(|(name, value)| (name, value)));
        match armed {
            Some(points) => command.env(fail::VARIABLE, points),
            None => command.env_remove(fail::VARIABLE),
        };
        let log = self.recipe.log.clone();
        let mut started = Child::start(&self.env, &self.name, command, log)?;
        let said = started.line("dunlin: ready ", START_MAX).await;
        if self.recipe.disk {
            let id = started.id().unwrap_or_default();
            *self.scratch.lock() = disk::seen(id, &self.recipe.scratch);
        }
        *child = Some(started);
        let said = said?;
        let word = |key: &str| said.split(' ').find_map(|word| word.strip_prefix(key));
        if let (Some(door), Some(address)) = (&self.door, word("flight=")) {
            door.aim(address);
        }
        word("admin=").unwrap_or_default().clone_into(&mut self.admin.lock());
        Ok(())
    }

    /// Where it tells how it is.
    pub(crate) fn admin(&self) -> String {
        self.admin.lock().clone()
    }

    /// Its scratch folder, by a path that we can open while it runs.
    pub(super) fn scratch(&self) -> PathBuf {
        self.scratch.lock().clone()
    }

    /// The figure with this name that it tells now; `None` if it does not.
    pub async fn figure(&self, name: &str) -> Option<u64> {
        admin::figure(&self.env, &self.admin(), name).await.ok().flatten()
    }

    /// Removes its scratch folder, once it has ended: its next life knows nothing of this one.
    pub fn lose_folder(&self) -> Result<()> {
        let scratch = &self.recipe.scratch;
        match std::fs::remove_dir_all(scratch) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let text = format!("cannot remove {}: {e}", scratch.display());
                Err(Error::invalid(text).with_source(e))
            }
            _ => Ok(()),
        }
    }

    /// Fills its disk up. `Invalid`: it has none of its own.
    pub fn fill_disk(&self) -> Result<()> {
        match self.recipe.disk {
            true => disk::fill(&self.scratch()),
            false => Err(Error::invalid(format!("{} has no disk of its own", self.name))),
        }
    }

    /// Its disk has room again.
    pub fn empty_disk(&self) {
        if self.recipe.disk {
            disk::empty(&self.scratch());
        }
    }

    /// All its connections and its disk are as the machine gives them.
    pub async fn heal(&self) -> Result<()> {
        for proxy in self.stores.iter().chain(&self.door) {
            proxy.set(Weather::FINE);
        }
        self.empty_disk();
        match &self.host {
            Some(host) => host.heal().await,
            None => Ok(()),
        }
    }
}

fn no_program() -> Error {
    Error::invalid("no program to start")
}
