//! The writer thread: the only place where the store changes.
//!
//! One round takes all jobs that wait, judges them against memory, makes the result durable with
//! one sync, publishes it, and answers. If the sync fails, the store ends: what the disk holds is
//! then unknown, and asking again (a second fsync) would answer "fine" without writing.

use std::sync::Arc;

use dunlin_base::{Error, LeaseId, Result};
use tokio::sync::{mpsc, oneshot};

use super::disk::Disk;
use super::group::{Group, LeaseIndex};
use super::shared::Shared;
use crate::store::{Op, Txn, TxnOutcome};

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

/// The writer's state. Runs on a thread of its own until the queue closes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    disk: Box<dyn Disk>,
    index: LeaseIndex,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>, disk: Box<dyn Disk>) -> Self {
        Self { shared, jobs, disk, index: LeaseIndex::default() }
    }

    /// Works until the queue is closed and empty. However it ends, the store is closed then.
    pub(super) fn run(mut self) {
        let _closes = CloseOnDrop(Arc::clone(&self.shared));
        while let Some(first) = self.jobs.blocking_recv() {
            let jobs = self.collect(first);
            self.round(jobs);
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

    fn round(&mut self, jobs: Vec<Job>) {
        let (answers, changes) = {
            let published = self.shared.published.read();
            let mut group = Group::new(&published.entries, published.revision, &mut self.index);
            let answers: Vec<Answer> =
                jobs.into_iter().map(|job| judge(&self.shared, &mut group, job)).collect();
            (answers, group.finish())
        };
        let durable = self.shared.check().and_then(|()| {
            if changes.entries.is_empty() { Ok(()) } else { self.disk.commit(&changes) }
        });
        if let Err(error) = durable {
            let error = self.shared.close(error.context("the metadata store has stopped"));
            answers.into_iter().for_each(|answer| answer.fail(&error));
            return;
        }
        if !changes.entries.is_empty() {
            self.shared.publish(changes);
        }
        answers.into_iter().for_each(Answer::send);
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
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(Error::retry("the metadata store is closed"));
    }
}
