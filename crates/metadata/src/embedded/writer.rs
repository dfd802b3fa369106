//! The writer: the only place where the store changes.
//!
//! One round takes all jobs that wait, judges them against memory, makes the result durable with
//! one sync (or none, if all its jobs are lazy), publishes it, and answers. If the sync fails, the store ends: what the disk holds is
//! then unknown, and asking again (a second fsync) would answer "fine" without writing.

use std::sync::Arc;

use dunlin_base::{Error, LeaseId, Result};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::disk::Disk;
use super::group::{Changes, Group, LeaseIndex};
use super::shared::Shared;
use crate::store::{Durability, Op, Txn, TxnOutcome};

/// Most jobs that wait; a caller beyond waits for room.
pub(super) const QUEUE_JOBS: usize = 256;

/// Most jobs, and about most bytes, in one group.
const GROUP_JOBS: usize = 256;
const GROUP_LEN: usize = 4 << 20;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A transaction within its limits.
    Txn(Txn, oneshot::Sender<Result<TxnOutcome>>),
    /// Ends a lease and deletes its keys.
    Revoke(LeaseId, oneshot::Sender<Result<()>>),
    /// Ends the leases whose deadline has passed.
    Expire,
}

impl Job {
    fn len(&self) -> usize {
        let Self::Txn(txn, _) = self else { return 0 };
        let values = txn.ops.iter().map(|op| if let Op::Put(_, v, _) = op { v.len() } else { 0 });
        values.sum()
    }

    fn durability(&self) -> Durability {
        match self {
            Self::Txn(txn, _) => txn.durability,
            Self::Revoke(..) => Durability::Synced,
            // Leases do not outlive the process.
            Self::Expire => Durability::Lazy,
        }
    }
}

/// An answer that waits for the sync. The receiver may be gone; nobody minds.
enum Answer {
    Txn(oneshot::Sender<Result<TxnOutcome>>, Result<TxnOutcome>),
    Done(oneshot::Sender<Result<()>>),
    None,
}

impl Answer {
    fn send(self) {
        match self {
            Self::Txn(reply, outcome) => drop(reply.send(outcome)),
            Self::Done(reply) => drop(reply.send(Ok(()))),
            Self::None => {}
        }
    }

    fn fail(self, error: &Error) {
        match self {
            Self::Txn(reply, _) => drop(reply.send(Err(error.clone()))),
            Self::Done(reply) => drop(reply.send(Err(error.clone()))),
            Self::None => {}
        }
    }
}

/// The only one who changes the store: the writer thread, and callers of lazy transactions while
/// that thread is idle.
pub(super) struct Core {
    shared: Arc<Shared>,
    disk: Box<dyn Disk>,
    index: LeaseIndex,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, disk: Box<dyn Disk>) -> Self {
        let index = LeaseIndex::of(&shared.published.read().entries);
        Self { shared, disk, index }
    }

    /// One lazy transaction, at once.
    pub(super) fn lazy(&mut self, txn: &Txn) -> Result<TxnOutcome> {
        let (outcome, changes) = {
            let published = self.shared.published.read();
            let mut group = Group::new(&published.entries, published.revision, &mut self.index);
            let leases = self.shared.leases.lock();
            let outcome = group.txn(txn, |lease| leases.is_live(lease));
            (outcome, group.finish())
        };
        self.write(changes, Durability::Lazy)?;
        outcome
    }

    fn round(&mut self, jobs: Vec<Job>) {
        let lazy = jobs.iter().all(|job| job.durability() == Durability::Lazy);
        let durability = if lazy { Durability::Lazy } else { Durability::Synced };
        let (answers, changes) = {
            let published = self.shared.published.read();
            let mut group = Group::new(&published.entries, published.revision, &mut self.index);
            let answers: Vec<Answer> =
                jobs.into_iter().map(|job| judge(&self.shared, &mut group, job)).collect();
            (answers, group.finish())
        };
        match self.write(changes, durability) {
            Ok(()) => answers.into_iter().for_each(Answer::send),
            Err(error) => answers.into_iter().for_each(|answer| answer.fail(&error)),
        }
    }

    /// Writes, then publishes. An error ends the store.
    fn write(&mut self, changes: Changes, durability: Durability) -> Result<()> {
        self.shared.check()?;
        if changes.entries.is_empty() {
            return Ok(());
        }
        let panicked = CloseOnDrop(Some(Arc::clone(&self.shared)));
        if let Err(error) = self.disk.commit(&changes, durability) {
            return Err(self.shared.close(error.context("the metadata store has stopped")));
        }
        self.shared.publish(changes);
        panicked.disarm();
        Ok(())
    }
}

/// The thread that makes changes durable. Runs until the queue closes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    core: Arc<Mutex<Core>>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: mpsc::Receiver<Job>,
        core: Arc<Mutex<Core>>,
    ) -> Self {
        Self { shared, jobs, core }
    }

    /// Works until the queue is closed and empty. However it ends, the store is closed then.
    pub(super) fn run(mut self) {
        let _closes = CloseOnDrop(Some(Arc::clone(&self.shared)));
        while let Some(first) = self.jobs.blocking_recv() {
            let core = Arc::clone(&self.core);
            let mut core = core.lock();
            let jobs = self.collect(first);
            core.round(jobs);
        }
    }

    /// `first` and all that wait behind it, within the group's limits.
    fn collect(&mut self, first: Job) -> Vec<Job> {
        let mut len = first.len();
        let mut jobs = vec![first];
        while jobs.len() < GROUP_JOBS && len < GROUP_LEN {
            let Ok(job) = self.jobs.try_recv() else { break };
            len += job.len();
            jobs.push(job);
        }
        jobs
    }
}

fn judge(shared: &Shared, group: &mut Group<'_>, job: Job) -> Answer {
    match job {
        Job::Txn(txn, reply) => {
            let leases = shared.leases.lock();
            Answer::Txn(reply, group.txn(&txn, |lease| leases.is_live(lease)))
        }
        Job::Revoke(lease, reply) => {
            shared.leases.lock().end(lease);
            group.end_leases(&[lease]);
            Answer::Done(reply)
        }
        Job::Expire => {
            let ended = shared.leases.lock().end_expired(shared.env.now());
            group.end_leases(&ended);
            Answer::None
        }
    }
}

/// Ends the waits of callers and watchers even if the thread panics.
struct CloseOnDrop(Option<Arc<Shared>>);

impl CloseOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.close(Error::retry("the metadata store is closed"));
        }
    }
}
