//! What administrators ask of a master, and what they have it do. Any master answers, and all agree
//! afterwards.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_base::{Error, Result};
use dunlin_celeborn::ids::{ShuffleKey, WorkerId};
use dunlin_celeborn::pb::WorkerEventType;

use super::Master;
use super::crew::Standing;

/// Shuffles or applications in one request.
const NAMES_MAX: usize = 1_000;

/// An application that is alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// As it calls itself.
    pub id: String,
    /// Who runs it; empty if it has not said.
    pub tenant: String,
    /// The same.
    pub user: String,
    /// What else it said of itself.
    pub extra: BTreeMap<String, String>,
    /// When it was seen first, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// When this master heard it last; `since_unix_ms` if it only ever talked to others.
    pub heard_unix_ms: u64,
}

impl Master {
    /// All workers that are alive, and how they stand. `Retry`: the store does not answer; so in all of
    /// the calls below.
    pub async fn crew(&self) -> Result<Vec<Standing>> {
        self.desk.crew().await
    }

    /// Excludes workers from getting partitions, and includes others again. All of it or nothing,
    /// idempotent. `Invalid`: a worker that is to be excluded is not alive, or one that is to be included
    /// is neither alive nor excluded; too many.
    pub async fn exclude(&self, add: &[WorkerId], remove: &[WorkerId]) -> Result<()> {
        let alive: BTreeSet<WorkerId> = self.names();
        let excluded = self.desk.records.excluded().await?;
        let known = |id: &&WorkerId| alive.contains(id) || excluded.contains_key(id);
        let strangers = add.iter().filter(|id| !alive.contains(id));
        let strangers: Vec<_> = strangers.chain(remove.iter().filter(|id| !known(id))).collect();
        unknown(&strangers)?;
        let set = |ids: &[WorkerId]| ids.iter().cloned().collect::<BTreeSet<_>>();
        self.desk.records.exclude(&set(add), &set(remove)).await?;
        tracing::warn!(?add, ?remove, "workers are excluded or included by hand");
        Ok(())
    }

    /// Has workers do something; they begin within some seconds. Those before one that fails are told
    /// already; idempotent. `Invalid`: a worker is not alive, and then nobody is told.
    pub async fn send(&self, event: WorkerEventType, workers: &[WorkerId]) -> Result<()> {
        let alive = self.names();
        unknown(&workers.iter().filter(|id| !alive.contains(id)).collect::<Vec<_>>())?;
        if workers.is_empty() || workers.len() > NAMES_MAX {
            return Err(Error::invalid(format!("name between 1 and {NAMES_MAX} workers")));
        }
        for worker in workers {
            tracing::warn!(%worker, ?event, "an administrator wants something of a worker");
            if !self.desk.fleet.want(worker, event).await? {
                return Err(Error::invalid(format!("worker {worker} has gone meanwhile")));
            }
        }
        Ok(())
    }

    /// The applications that are alive, by name.
    pub async fn applications(&self) -> Result<Vec<Application>> {
        let apps = self.desk.records.apps().await?;
        let mut heard = self.desk.heard.lock();
        heard.retain(|id, _| apps.iter().any(|(name, _)| name == id));
        let application = |(id, app): (String, crate::records::App)| Application {
            heard_unix_ms: heard.get(&id).copied().unwrap_or(app.since),
            id,
            tenant: app.tenant,
            user: app.user,
            extra: app.extra,
            since_unix_ms: app.since,
        };
        Ok(apps.into_iter().map(application).collect())
    }

    /// All shuffles that have slots.
    pub async fn shuffles(&self) -> Result<Vec<ShuffleKey>> {
        let all = self.desk.records.all_shuffles().await?.into_iter();
        let key = |(app, shuffle): (String, i32)| ShuffleKey { application: app.into(), shuffle };
        Ok(all.map(key).collect())
    }

    /// The hosts of drivers whose shuffles have slots.
    pub async fn hosts(&self) -> Result<BTreeSet<String>> {
        self.desk.records.hosts().await
    }

    /// Deletes the shuffles of applications: workers remove their data within a minute, until then they
    /// can be revised. Who is not known has none.
    pub async fn delete_applications(&self, apps: &[String]) -> Result<()> {
        few(apps.len())?;
        for app in apps {
            tracing::warn!(app, "an administrator deletes the shuffles of an application");
            self.desk.records.drop_shuffles(app).await?;
        }
        Ok(())
    }

    /// Ends shuffles of an application for good, as its driver would. What is not known has ended.
    pub async fn unregister(&self, app: &str, shuffles: &[i32]) -> Result<()> {
        few(shuffles.len())?;
        tracing::warn!(app, ?shuffles, "an administrator ends shuffles");
        for shuffle in shuffles {
            self.desk.records.close(app, *shuffle).await?;
        }
        Ok(())
    }

    /// Has shuffles be known again whose records are gone. Returns those of which nothing is known.
    pub async fn revise(&self, app: &str, shuffles: &[i32]) -> Result<Vec<i32>> {
        few(shuffles.len())?;
        self.desk.records.revise(app, shuffles, None).await
    }

    fn names(&self) -> BTreeSet<WorkerId> {
        self.desk.fleet.workers().into_iter().map(|worker| worker.id).collect()
    }
}

fn few(count: usize) -> Result<()> {
    match count <= NAMES_MAX {
        true => Ok(()),
        false => Err(Error::invalid(format!("more than {NAMES_MAX} names in one request"))),
    }
}

fn unknown(workers: &[&WorkerId]) -> Result<()> {
    let Some(first) = workers.first() else { return Ok(()) };
    let others = match workers.len() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    Err(Error::invalid(format!("there is no worker {first}{others}"))
        .with_hint("GET /api/v1/workers lists them: host and all four ports name one"))
}
