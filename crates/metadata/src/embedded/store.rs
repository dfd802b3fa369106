//! The embedded store as a [`Store`]: opening, calls, closing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Env, Error, LeaseId, Result, Revision, env::Task};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::disk::{Disk, FjallDisk, Stored};
use super::group::{Changes, prefix_range};
use super::lease::{Leases, lasting};
use super::shared::Shared;
use super::writer::{Core, Job, QUEUE_JOBS, Writer};
use crate::limits;
use crate::store::{Durability, Entry, Lease, Snapshot, Store, Txn, TxnOutcome, Watch};

/// Longest wait for the writer: a sync takes 0.1 ms, so this is a disk that hangs.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon a lease that could not be ended is tried again.
const EXPIRE_RETRY: Duration = Duration::from_millis(20);

/// Longest sleep while no lease is live.
const EXPIRE_IDLE: Duration = Duration::from_secs(3600);

/// A durable store for one process. Dropping it waits for the transactions in its queue (some
/// milliseconds), then lets go of the directory.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    core: Option<Arc<Mutex<Core>>>,
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    expirer: Task<()>,
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `dir`, making it if there is none. Leases of a former life have ended
    /// with it, but for those that outlast it: their keys are deleted here. `Invalid`: another process has the directory, or it
    /// is not ours; `Lost`: it is corrupt; `Exhausted`: the disk is full.
    pub async fn open(dir: impl AsRef<Path>, env: Env) -> Result<Self> {
        let path = dir.as_ref().to_owned();
        let opened = env.blocking(move || {
            let (mut disk, stored) = FjallDisk::open(&path)?;
            let stored = end_former_leases(&mut disk, stored)?;
            Ok((disk, stored))
        });
        let (disk, stored) = opened.await.unwrap_or_else(|panic| {
            let dir = dir.as_ref().display();
            Err(Error::lost(format!("metadata directory '{dir}' cannot be read: {panic}")))
        })?;
        Self::start(Box::new(disk), stored, env)
    }

    /// Starts the writer on a disk.
    pub(super) fn start(disk: Box<dyn Disk>, stored: Stored, env: Env) -> Result<Self> {
        let entries: BTreeMap<_, _> =
            stored.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        let shared = Arc::new(Shared::new(env.clone(), entries, stored.revision));
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS);
        let core = Arc::new(Mutex::new(Core::new(Arc::clone(&shared), disk)));
        let writer = Writer::new(Arc::clone(&shared), queue, Arc::clone(&core));
        let writer = env.thread("metadata-writer", move || writer.run())?;
        let expirer = expire_leases(Arc::clone(&shared), jobs.downgrade());
        let expirer = env.spawn("metadata-leases", expirer);
        Ok(Self { shared, core: Some(core), jobs: Some(jobs), writer: Some(writer), expirer })
    }

    /// Asks the writer and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T>>) -> Job) -> Result<T> {
        self.shared.check()?;
        let (reply, answer) = oneshot::channel();
        let call = async {
            let closed = || Error::retry("the metadata store is closed");
            let jobs = self.jobs.as_ref().ok_or_else(closed)?;
            jobs.send(job(reply)).await.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        let slow = || {
            Err(Error::retry(format!("the metadata store did not answer within {CALL_TIMEOUT:?}"))
                .with_hint("look at the disk"))
        };
        self.shared.env.timeout(CALL_TIMEOUT, call).await.unwrap_or_else(slow)
    }
}

impl EmbeddedStore {
    fn grant(
        &self,
        ttl: Duration,
        kind: impl FnOnce(&mut Leases, &Env, Duration) -> Result<LeaseId>,
    ) -> Result<Lease> {
        limits::check_ttl(ttl)?;
        self.shared.check()?;
        let id = kind(&mut self.shared.leases.lock(), &self.shared.env, ttl)?;
        self.shared.lease_granted.notify_one();
        Ok(Lease { id, ttl })
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        limits::check_key(key)?;
        self.shared.check()?;
        Ok(self.shared.published.read().entries.get(key).cloned())
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        limits::check_prefix(prefix)?;
        self.shared.check()?;
        let published = self.shared.published.read();
        let entries = prefix_range(&published.entries, prefix).map(|(_, e)| e.clone()).collect();
        Ok(Snapshot { entries, revision: published.revision })
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        limits::check_txn(&txn)?;
        if txn.durability == Durability::Lazy
            && let Some(mut core) = self.core.as_ref().and_then(|core| core.try_lock())
        {
            // Some microseconds: less than a hop to the writer's thread and back.
            return core.lazy(&txn);
        }
        self.ask(|reply| Job::Txn(txn, reply)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        limits::check_prefix(prefix)?;
        self.shared.check()?;
        Ok(self.shared.watch(prefix, from))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.grant(ttl, Leases::grant)
    }

    async fn lease_grant_lasting(&self, ttl: Duration) -> Result<Lease> {
        self.grant(ttl, Leases::grant_lasting)
    }

    async fn lease_keep(&self, lease: LeaseId) -> Result<()> {
        self.shared.check()?;
        if self.shared.leases.lock().keep(lease, self.shared.env.now()) {
            return Ok(());
        }
        Err(Error::fenced(format!("lease {lease} has ended")))
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.ask(|reply| Job::Revoke(lease, reply)).await
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.expirer.abort();
        self.jobs.take();
        // The writer holds the other handle: the disk is closed when its thread ends.
        self.core.take();
        // Joined, so that the directory is free once the store is gone.
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the metadata writer panicked");
        }
    }
}

/// Deletes keys bound to leases of a former life of the process that ended with it.
fn end_former_leases(disk: &mut impl Disk, mut stored: Stored) -> Result<Stored> {
    let bound = stored
        .entries
        .extract_if(.., |entry| entry.lease.is_some_and(|lease| lasting(lease).is_none()));
    let entries: BTreeMap<_, _> = bound.map(|entry| (entry.key, None)).collect();
    if !entries.is_empty() {
        stored.revision.0 += 1;
        let revision = stored.revision;
        disk.commit(&Changes { entries, revision, ..Changes::default() }, Durability::Synced)?;
    }
    Ok(stored)
}

/// Asks the writer to end leases at their deadlines. Holds the queue only for an instant, so that
/// the store can close.
async fn expire_leases(shared: Arc<Shared>, jobs: mpsc::WeakSender<Job>) {
    loop {
        let next = shared.leases.lock().next_deadline();
        let wait = match next.map(|at| at.saturating_sub(shared.env.now())) {
            Some(Duration::ZERO) => {
                let Some(jobs) = jobs.upgrade() else { return };
                // A full queue is no harm: the next try comes soon.
                drop(jobs.try_send(Job::Expire));
                EXPIRE_RETRY
            }
            Some(wait) => wait,
            None => EXPIRE_IDLE,
        };
        let _ = shared.env.timeout(wait, shared.lease_granted.notified()).await;
    }
}
