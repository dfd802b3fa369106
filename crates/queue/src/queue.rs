//! The handle that gateways and executors call, and what its methods share. The methods are in
//! modules by who calls them: `publish`, `claim`, `commit`, `release`, `advance`, `end`, `wait`,
//! `status`, `sweep`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, ProcessId, QueryId, Result, Revision, StageEpoch, StageId};
use dunlin_metadata::blob::BlobsRef;
use dunlin_metadata::{Compare, Entry, Key, Store, StoreRef, Txn, TxnOutcome};
use dunlin_proto::decide::Decide;
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Plan, Stage, StagePhase};
use parking_lot::Mutex;

use crate::bounded::Bounded;
use crate::changes::Changes;
use crate::claimed::StageView;
use crate::depot::{self, Depot};
use crate::ends::{Ends, Following, Seen};
use crate::keys;
use crate::mirror::jittered;
use crate::record::{Batch, Stored};
use crate::records::{Purpose, Records};
use crate::unfold;

/// Stages whose fixed parts, and outputs, are remembered.
const STAGES_REMEMBERED: usize = 64;

/// Tries of one transaction whose outcome is unknown, and the first and longest wait between them.
const SETTLE_TRIES: u32 = 10;
const SETTLE_WAIT_MIN: Duration = Duration::from_millis(4);
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Tries of a change whose transaction meets others' changes. Each conflict means that somebody
/// else got on.
pub(crate) const CONFLICTS_MAX: u32 = 64;

/// Sizes and times of the queue. The defaults are what production uses; tests make them small.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Slices per segment, between 1 and 256 segments in a stage. Default 64.
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
    /// The build of the process. Queries that it publishes are for processes of this build, and it
    /// claims nothing of queries of another one and takes no step of theirs. Default empty: any.
    pub build: String,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            segment_slices: 64,
            hold: Duration::from_secs(600),
            grace: Duration::from_secs(600),
            reread: Duration::from_secs(5),
            history: 200,
            build: String::new(),
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
    /// What must still be so in the store when it is published: what the graph was made of.
    pub guards: Vec<Compare>,
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
/// Errors of all calls, beside those named: `Retry` (store or blobs unreachable: what was asked may
/// or may not have happened, call again), `Bug` (a broken invariant: nothing was written).
/// Dropping a future leaves its outcome unknown and the records consistent.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    store: StoreRef,
    depot: Depot,
    env: Env,
    decide: Arc<dyn Decide>,
    tuning: Tuning,
    views: Mutex<Bounded<(QueryId, StageId), Arc<StageView>>>,
    outputs: Mutex<Bounded<(QueryId, StageId), SealedStage>>,
    ends: Ends,
    /// Queries that a sweep saw blobs but no records of, and when it first did.
    orphans: Mutex<BTreeMap<QueryId, u64>>,
}

/// Whether a process of build `own` can read plans of another one.
pub(crate) fn is_readable(own: &str, build: &str) -> bool {
    own.is_empty() || build.is_empty() || own == build
}

/// A sealed stage's epoch and output.
pub(crate) type SealedStage = (StageEpoch, Arc<StageOutput>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

/// What became of a batch.
pub(crate) enum Outcome {
    /// It happened, at this revision.
    Committed(Revision),
    /// It did not happen, or happened at an earlier try whose answer was lost: the entries tell.
    Conflict(Found),
}

/// The entries of the compared keys at a conflict.
pub(crate) struct Found(BTreeMap<Key, Option<Entry>>);

impl Found {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)?.as_ref()
    }

    /// Executors whose cards were compared and are there.
    pub(crate) fn executors(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(|(_, entry)| entry.is_some())
            .filter_map(|(key, _)| key.strip_prefix("ex/"))
    }
}

/// Sends a transaction until its outcome is known. Safe only for one that compares a key which it
/// writes: if an earlier try happened after all, the next one conflicts and its entries are the
/// read-back. `Retry` if the store stays away.
pub(crate) async fn settle(store: &StoreRef, env: &Env, txn: Txn) -> Result<TxnOutcome> {
    let mut wait = SETTLE_WAIT_MIN;
    let mut tries = 0;
    loop {
        tries += 1;
        match store.txn(txn.clone()).await {
            Err(error) if error.kind() == Kind::Retry && tries < SETTLE_TRIES => {
                tracing::debug!(%error, tries, "a transaction's outcome is unknown");
                env.sleep(jittered(env, wait)).await;
                wait = (wait * 2).min(SETTLE_WAIT_MAX);
            }
            outcome => return outcome,
        }
    }
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
        let inner = Inner {
            store,
            depot: Depot::new(blobs),
            env,
            decide,
            tuning,
            views: Mutex::new(Bounded::new(STAGES_REMEMBERED)),
            outputs: Mutex::new(Bounded::new(STAGES_REMEMBERED)),
            ends: Ends::default(),
            orphans: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    pub(crate) fn store_ref(&self) -> StoreRef {
        self.inner.store.clone()
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.env
    }

    pub(crate) fn depot(&self) -> &Depot {
        &self.inner.depot
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    pub(crate) fn views(&self) -> &Mutex<Bounded<(QueryId, StageId), Arc<StageView>>> {
        &self.inner.views
    }

    pub(crate) fn orphans(&self) -> &Mutex<BTreeMap<QueryId, u64>> {
        &self.inner.orphans
    }

    /// Follows a query to its end.
    pub(crate) fn follow(&self, query: QueryId) -> Following {
        let Inner { ends, store, env, tuning, .. } = &*self.inner;
        ends.follow(query, store, env, tuning.reread)
    }

    /// A query as the watch of ends last saw it.
    pub(crate) fn seen(&self, query: QueryId) -> Option<Seen> {
        self.inner.ends.seen(query)
    }

    /// Writes the batch's blobs, then sends its transaction until the outcome is known.
    pub(crate) async fn apply(&self, batch: Batch) -> Result<Outcome> {
        let txn = batch.into_txn(self.depot()).await?;
        let keys: Vec<Key> = txn.compares.iter().map(|c| c.key().clone()).collect();
        match settle(&self.inner.store, self.env(), txn).await? {
            TxnOutcome::Committed(revision) => Ok(Outcome::Committed(revision)),
            TxnOutcome::Conflict(found) => {
                Ok(Outcome::Conflict(Found(keys.into_iter().zip(found).collect())))
            }
        }
    }

    /// All records of a query, with the bodies that `purpose` needs.
    pub(crate) async fn load(&self, query: QueryId, purpose: Purpose) -> Result<Option<Records>> {
        let snapshot = self.store().range(&keys::query(query)).await?;
        let Some(mut records) = Records::read(query, &snapshot.entries)? else { return Ok(None) };
        records.fetch(self.depot(), purpose).await?;
        Ok(Some(records))
    }

    /// The meta record alone, as records without anything else.
    pub(crate) async fn load_meta(&self, query: QueryId) -> Result<Option<Records>> {
        let Some(entry) = self.store().get(&keys::meta(query)).await? else { return Ok(None) };
        let mut records = Records::new(query, Default::default(), Plan::default());
        records.meta = Stored::read(&entry)?;
        Ok(Some(records))
    }

    /// The build of this process.
    pub fn build(&self) -> &str {
        &self.tuning().build
    }

    /// Whether this process can read the plans of queries of a build.
    pub(crate) fn reads(&self, build: &str) -> bool {
        is_readable(self.build(), build)
    }

    /// The changes that are due by these records. Of a query that is for another build only its
    /// deadline is looked at.
    pub(crate) fn unfold(&self, records: &Records) -> Result<Option<Changes>> {
        if !self.reads(&records.meta.record.build) {
            return Ok(unfold::overdue(records, self.env().unix_ms()));
        }
        let segment_slices = self.tuning().segment_slices;
        unfold::unfold(records, &*self.inner.decide, self.env().unix_ms(), segment_slices)
    }

    /// Remembers the outputs of stages that were just sealed: this process may soon read them.
    pub(crate) fn remember(&self, query: QueryId, sealed: Vec<(StageId, StageEpoch, StageOutput)>) {
        let mut outputs = self.inner.outputs.lock();
        for (stage, epoch, output) in sealed {
            let known = outputs.get(&(query, stage));
            if known.is_none_or(|(known, _)| known < epoch) {
                outputs.insert((query, stage), (epoch, Arc::new(output)));
            }
        }
    }

    /// Forgets what is remembered of a query.
    pub(crate) fn forget_all(&self, query: QueryId, records: &Records) {
        for stage in records.stages.keys() {
            self.forget(query, StageId(*stage));
        }
    }

    /// Forgets what is remembered of a query's stage.
    pub(crate) fn forget(&self, query: QueryId, stage: StageId) {
        self.inner.views.lock().remove(&(query, stage));
        self.inner.outputs.lock().remove(&(query, stage));
    }

    /// The output of a sealed stage. `Lost`: the stage is not sealed or its query is gone.
    pub async fn stage_output(&self, query: QueryId, stage: StageId) -> Result<Arc<StageOutput>> {
        self.sealed_stage(query, stage, StageEpoch(0)).await.map(|(_, output)| output)
    }

    /// The output of a sealed stage, of the given epoch or a later one.
    pub(crate) async fn sealed_stage(
        &self,
        query: QueryId,
        stage: StageId,
        from: StageEpoch,
    ) -> Result<SealedStage> {
        let known = self.inner.outputs.lock().get(&(query, stage));
        if let Some(sealed) = known.filter(|(epoch, _)| *epoch >= from) {
            return Ok(sealed);
        }
        let gone = || Error::lost(format!("stage {stage} of query {query} has no sealed output"));
        let entry = self.store().get(&keys::stage(query, stage)).await?.ok_or_else(gone)?;
        let record = Stored::<Stage>::read(&entry)?.record;
        if record.phase() != StagePhase::Sealed {
            return Err(gone());
        }
        let bytes = self.depot().load(record.output.as_ref()).await?;
        let output = Arc::new(depot::decode(bytes, "the output of a stage")?);
        let sealed = (StageEpoch(record.epoch), output);
        self.inner.outputs.lock().insert((query, stage), sealed.clone());
        Ok(sealed)
    }
}
