//! The handle that gateways and executors call. Each method's work is in the module of its name.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, ProcessId, QueryId, Result};
use dunlin_metadata::StoreRef;
use dunlin_metadata::blob::BlobsRef;
use dunlin_proto::decide::Decide;
use dunlin_proto::output::{MapOutput, StageOutput};

use crate::claimed::ClaimedSlices;
use crate::live::LiveSet;
use crate::member::Member;
use crate::ready::{ReadyStage, ReadyWatch};
use crate::status::{Ended, HistoryEntry, QueryStatus, QueryWatch, RunningQuery};

/// Sizes and times of the queue. The defaults are what production uses; tests make them small.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Slices per segment, between one segment and [`Tuning::SEGMENTS_MAX`] of them. Default 64.
    pub segment_slices: u32,
    /// How long an ended query's records stay for readers of its result and status, unless
    /// somebody removes them. Default 10 minutes.
    pub hold: Duration,
    /// How long blobs without a query record are left alone: longer than any publish takes.
    /// Default 10 minutes.
    pub grace: Duration,
    /// Middle of the jittered interval of safety re-reads. Default 5 s.
    pub reread: Duration,
    /// Entries kept of the history. Default 200.
    pub history: usize,
}

impl Tuning {
    /// Most segments of a stage.
    pub const SEGMENTS_MAX: u32 = 256;
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            segment_slices: 64,
            hold: Duration::from_secs(600),
            grace: Duration::from_secs(600),
            reread: Duration::from_secs(5),
            history: 200,
        }
    }
}

/// A query as its gateway publishes it.
#[derive(Clone, Debug)]
pub struct NewQuery {
    /// A fresh id.
    pub id: QueryId,
    /// The text.
    pub sql: String,
    /// Who asks.
    pub user: String,
    /// The gateway that accepted it. Information only.
    pub gateway: ProcessId,
    /// When its time is up, in milliseconds since 1970.
    pub deadline_unix_ms: Option<u64>,
    /// The encoded stage graph.
    pub graph: Bytes,
}

/// What a commit led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The stage is sealed (by this commit, or it was already).
    pub stage_sealed: bool,
    /// The query has ended (with this commit, or it had already).
    pub query_ended: bool,
}

/// What [`Queue::advance`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    /// Stages sealed by this call.
    pub sealed: u32,
    /// Decisions written by this call.
    pub decisions: u32,
    /// Stages opened by this call.
    pub opened: u32,
    /// The query has ended, or has no records.
    pub ended: bool,
}

/// What [`Queue::sweep`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Queries whose records or blobs were removed: delete their shuffles too.
    pub queries: Vec<QueryId>,
    /// Queries that had passed their deadline, or waited for a step that nobody took.
    pub advanced: Vec<QueryId>,
}

/// The global queue. Cheap to clone; every process has its own and all share the store.
///
/// Errors of all calls, beside those named: `Retry` (store or blobs unreachable; nothing is known
/// to have changed, call again), `Bug` (a broken invariant: nothing was written).
/// Dropping a future leaves its outcome unknown and the records consistent.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    #[expect(dead_code, reason = "skeleton")]
    store: StoreRef,
    #[expect(dead_code, reason = "skeleton")]
    blobs: BlobsRef,
    #[expect(dead_code, reason = "skeleton")]
    env: Env,
    #[expect(dead_code, reason = "skeleton")]
    decide: Arc<dyn Decide>,
    #[expect(dead_code, reason = "skeleton")]
    tuning: Tuning,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

fn unwritten<T>() -> Result<T> {
    Err(Error::bug("the queue is being written"))
}

impl Queue {
    /// A handle on the queue in `store`.
    pub fn new(store: StoreRef, blobs: BlobsRef, env: Env, decide: Arc<dyn Decide>) -> Self {
        Self::with_tuning(store, blobs, env, decide, Tuning::default())
    }

    /// The same with other sizes and times.
    pub fn with_tuning(
        store: StoreRef,
        blobs: BlobsRef,
        env: Env,
        decide: Arc<dyn Decide>,
        tuning: Tuning,
    ) -> Self {
        Self { inner: Arc::new(Inner { store, blobs, env, decide, tuning }) }
    }

    /// Creates the query, its first decision and its first stages in one transaction. Idempotent
    /// for the same id. Once it returns, the query survives any crash.
    /// Errors: what the decision function says (`Invalid`, `Bug`): then nothing was written.
    pub async fn publish(&self, _query: NewQuery) -> Result<()> {
        unwritten()
    }

    /// The stages that may have slices to claim.
    pub async fn ready_stages(&self) -> Result<Vec<ReadyStage>> {
        unwritten()
    }

    /// The same, kept current.
    pub async fn watch_ready(&self) -> Result<ReadyWatch> {
        unwritten()
    }

    /// Takes a run of slices of the stage, as many as guided self-scheduling gives for
    /// `free_slots`; `None` if there is nothing to take now. `Fenced`: the member's lease is gone.
    pub async fn claim(
        &self,
        _member: &Member,
        _stage: &ReadyStage,
        _free_slots: u32,
        _live: &LiveSet,
    ) -> Result<Option<ClaimedSlices>> {
        unwritten()
    }

    /// Makes the output of (some of) the claimed slices count: the first commit of a slice wins.
    /// `output` says which slices and carries the claim's attempt. Seals the stage and takes the
    /// query's next step if these were the last slices. Idempotent.
    /// `Fenced`: another attempt won, the lease is gone, or the query is over: discard the output.
    /// `Invalid`: the output is not of this claim.
    pub async fn commit(&self, _claim: &ClaimedSlices, _output: MapOutput) -> Result<Committed> {
        unwritten()
    }

    /// Gives the claim back and counts the failure: the query fails at once for `Invalid`,
    /// `Exhausted` and `Bug`, and after four failures of a slice for other kinds. Idempotent.
    /// `Fenced`: the claim was no longer held, and nothing was counted.
    pub async fn failed(&self, _claim: &ClaimedSlices, _error: &Error) -> Result<()> {
        unwritten()
    }

    /// Gives unstarted slices of the claim back, uncounted. Idempotent.
    pub async fn hand_back(&self, _claim: &ClaimedSlices, _unstarted: Range<u32>) -> Result<()> {
        unwritten()
    }

    /// Takes every step that is due: seals complete stages, decides, opens stages, ends the query
    /// (also for its deadline). Idempotent, callable by anybody at any time.
    pub async fn advance(&self, _query: QueryId) -> Result<Advanced> {
        unwritten()
    }

    /// Cancels the query if it runs. Ended and unknown queries are left as they are.
    pub async fn cancel(&self, _query: QueryId) -> Result<()> {
        unwritten()
    }

    /// Fails the query with `error` if it runs. Ended and unknown queries are left as they are.
    pub async fn fail(&self, _query: QueryId, _error: &Error) -> Result<()> {
        unwritten()
    }

    /// True if work for the query is pointless: it was cancelled, has failed, or is gone.
    pub async fn is_cancelled(&self, _query: QueryId) -> Result<bool> {
        unwritten()
    }

    /// Returns once [`Queue::is_cancelled`] is true. Dropping it ends the watch.
    pub async fn wait_cancelled(&self, _query: QueryId) {
        std::future::pending().await
    }

    /// Waits for the end of the query: woken by a watch, with a safety re-read (that also takes
    /// overdue steps) every few seconds. `Invalid`: no such query, not even in the history.
    pub async fn wait_ended(&self, _query: QueryId) -> Result<Ended> {
        unwritten()
    }

    /// The query's state, or `None` if it has no records (see [`Queue::history`]).
    pub async fn status(&self, _query: QueryId) -> Result<Option<QueryStatus>> {
        unwritten()
    }

    /// The query's state on every change.
    pub async fn watch_query(&self, _query: QueryId) -> Result<QueryWatch> {
        unwritten()
    }

    /// The output of a sealed stage. `Lost`: the stage is not sealed or its query is gone.
    pub async fn stage_output(
        &self,
        _query: QueryId,
        _stage: dunlin_base::StageId,
    ) -> Result<Arc<StageOutput>> {
        unwritten()
    }

    /// Queries that have records, oldest first.
    pub async fn running(&self) -> Result<Vec<RunningQuery>> {
        unwritten()
    }

    /// Removed queries, newest first, at most `limit`.
    pub async fn history(&self, _limit: usize) -> Result<Vec<HistoryEntry>> {
        unwritten()
    }

    /// Writes the ended query's history and removes its records and blobs (its shuffles are the
    /// caller's to delete). Idempotent. `Invalid`: the query still runs.
    pub async fn remove(&self, _query: QueryId) -> Result<()> {
        unwritten()
    }

    /// Removes what was left behind: ended queries after [`Tuning::hold`], blobs without a query
    /// after [`Tuning::grace`], history beyond its limit. Takes overdue steps. `now` is in
    /// milliseconds since 1970. Any number of processes may sweep.
    pub async fn sweep(&self, _now_unix_ms: u64) -> Result<Swept> {
        unwritten()
    }
}
