//! The gateway: publishes planned queries, reads results back, removes what ended queries leave.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use dunlin_base::env::Task;
use dunlin_base::{Env, Kind, ProcessId, QueryId, Result};
use dunlin_metadata::blob::ObjectPlace;
use dunlin_metadata::{Compare, StoreRef};
use dunlin_planner::{Contexts, ObjectStores};
use dunlin_proto::queue::Card;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_queue::{LiveSet, NewQuery, Published, Queue, Role, Seat, SeatOptions};
use dunlin_shuffle::Workers;
use futures::StreamExt;
use parking_lot::Mutex;

use crate::face::{Progress, Rows, StageProgress};
use crate::forsaken;
use crate::orphans::Orphans;
use crate::query::{Reading, RowStream};
use crate::removals::Removals;
use crate::writes::{LostWrites, View};

/// What a gateway works with; made by the node.
#[derive(Clone)]
pub struct Parts {
    /// The control runtime.
    pub env: Env,
    /// The CPU runtime: planning runs there.
    pub cpu: Env,
    /// A runtime that nothing else keeps busy: leases are kept there.
    pub leases: Env,
    /// The metadata store.
    pub store: StoreRef,
    /// The queue.
    pub queue: Queue,
    /// How to reach shuffle workers.
    pub workers: Arc<dyn Workers>,
    /// Contexts for plans.
    pub contexts: Contexts,
    /// The stores that statements write to.
    pub stores: Arc<ObjectStores>,
}

/// Limits of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Time to live of its lease.
    pub lease_ttl: Duration,
    /// What its card says.
    pub card: Card,
    /// How often it sweeps what crashed processes left behind.
    pub sweep_every: Duration,
    /// How long a query waits while no executor is alive; then it fails.
    pub executor_wait: Duration,
    /// Where shuffle workers have their objects, below `shuffle/`: those of dead ones are removed, and
    /// uploads that they began are aborted.
    pub shuffle_objects: Option<ObjectPlace>,
    /// For how long these must have had neither worker nor query.
    pub shuffle_grace: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            lease_ttl: Duration::from_secs(10),
            card: Card::default(),
            sweep_every: Duration::from_secs(60),
            executor_wait: Duration::from_secs(300),
            shuffle_objects: None,
            shuffle_grace: Duration::from_secs(600),
        }
    }
}

/// A gateway. Cheap to clone; all clones are one. It holds nothing that a restart would lose: any
/// gateway answers for any query id.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    seat: Seat,
    shuffles: LiveSet,
    background: Mutex<BTreeMap<u64, Task<()>>>,
    removals: Removals,
    orphans: Option<Orphans>,
    last_view: Mutex<Option<Arc<View>>>,
    lost_writes: LostWrites,
    killed: AtomicBool,
    leaving: AtomicBool,
}

/// A query ready to be published.
pub struct Prepared {
    /// Its text, for people.
    pub sql: String,
    /// Who asks.
    pub user: String,
    /// The encoded stage graph.
    pub graph: Bytes,
    /// Columns of the result.
    pub schema: SchemaRef,
    /// When its time is up, in milliseconds since 1970.
    pub deadline_unix_ms: Option<u64>,
    /// What must still be so in the store when it is published: what its plan was made of.
    pub(crate) guards: Vec<Compare>,
}

impl Gateway {
    /// Joins the cluster and starts sweeping. `Retry` if the store is out of reach.
    pub async fn start(parts: Parts, options: GatewayOptions) -> Result<Self> {
        let (store, env) = (Arc::clone(&parts.store), parts.env.clone());
        let shuffles = LiveSet::follow(Arc::clone(&store), &env, Role::Shuffle).await?;
        let executors = LiveSet::follow(Arc::clone(&store), &env, Role::Executor).await?;
        let role = SeatOptions { role: Role::Gateway, card: options.card, ttl: options.lease_ttl };
        let seat = Seat::take(store, parts.leases.clone(), role, |_| ()).await?;
        let background = Mutex::new(BTreeMap::new());
        let (killed, leaving) = (AtomicBool::new(false), AtomicBool::new(false));
        let inner = Inner {
            parts,
            seat,
            shuffles,
            background,
            removals: Removals::default(),
            orphans: options
                .shuffle_objects
                .map(|place| Orphans::new(&place, &env, options.shuffle_grace)),
            last_view: Mutex::default(),
            lost_writes: LostWrites::default(),
            killed,
            leaving,
        };
        let gateway = Self { inner: Arc::new(inner) };
        gateway.keep_sweeping(options.sweep_every);
        let weak = Arc::downgrade(&gateway.inner);
        env.spawn("forsaken", forsaken::watch(weak, executors, options.executor_wait));
        Ok(gateway)
    }

    /// The present life of the gateway.
    pub fn id(&self) -> ProcessId {
        self.inner.seat.member().id()
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// Publishes a query that may be read later, here or elsewhere. Once this returns, the query
    /// survives the crash of any process, this one included. Nobody reading it, it is removed some
    /// time after its end. `None`: one of its guards does not hold, and nothing was done.
    pub(crate) async fn publish(&self, query: Prepared) -> Result<Option<QueryId>> {
        let id = QueryId::generate(&self.parts().env);
        let published = self.publish_as(id, query).await?;
        Ok((published == Published::Here).then_some(id))
    }

    /// Publishes a query under an id that is the caller's alone.
    pub(crate) async fn publish_as(&self, id: QueryId, query: Prepared) -> Result<Published> {
        let new = NewQuery {
            id,
            sql: query.sql,
            user: query.user,
            gateway: self.id(),
            deadline_unix_ms: query.deadline_unix_ms,
            graph: query.graph,
            guards: query.guards,
        };
        self.parts().queue.publish(new).await
    }

    /// The writes as this gateway last looked at them.
    pub(crate) fn last_view(&self) -> Option<Arc<View>> {
        self.inner.last_view.lock().clone()
    }

    /// Remembers a look at the writes.
    pub(crate) fn looked(&self, view: &Arc<View>) {
        let mut last = self.inner.last_view.lock();
        if last.as_ref().is_none_or(|last| last.revision() < view.revision()) {
            *last = Some(Arc::clone(view));
        }
    }

    pub(crate) fn lost_writes(&self) -> &LostWrites {
        &self.inner.lost_writes
    }

    /// The rows of a query that any gateway published.
    pub fn attach(&self, id: QueryId, schema: SchemaRef) -> Rows {
        let rows = RowStream::new(self.clone(), id, Arc::clone(&schema), Reading::default());
        let batches = rows.map(|chunk| chunk.map(|chunk| chunk.batch)).boxed();
        Rows { query: Some(id), schema, batches }
    }

    /// How far a query has come; `None` when it has ended and been removed.
    pub async fn progress(&self, id: QueryId) -> Result<Option<Progress>> {
        let status = self.parts().queue.status(id).await?;
        let stage = |s: &dunlin_queue::StageStatus| StageProgress {
            stage: s.stage,
            slices: s.slices_total,
            done: s.slices_done,
            running: s.slices_running,
        };
        Ok(status.map(|s| Progress { stages: s.stages.iter().map(stage).collect() }))
    }

    /// Cancels a query. Ended and unknown ones are left as they are.
    pub async fn cancel(&self, id: QueryId) -> Result<()> {
        self.parts().queue.cancel(id).await
    }

    /// The queue, for listings.
    pub fn queue(&self) -> &Queue {
        &self.parts().queue
    }

    /// Waits until everything that ended queries left has been removed.
    pub async fn settle(&self) {
        loop {
            let next = self.inner.background.lock().pop_first();
            let Some((_, task)) = next else { return };
            let _ = task.join().await;
        }
    }

    /// Ends it as a crash would: nothing is removed, the lease runs out.
    pub fn kill(&self) {
        for (_, task) in std::mem::take(&mut *self.inner.background.lock()) {
            task.abort();
        }
        self.inner.seat.abandon();
        self.inner.killed.store(true, Ordering::Release);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.inner.killed.load(Ordering::Acquire)
    }

    /// From now on a reader that goes early cancels nothing: its client goes on at another gateway.
    pub(crate) fn hand_over(&self) {
        self.inner.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.inner.leaving.load(Ordering::Acquire)
    }

    /// Finishes removals and leaves. Queries that run go on; other gateways answer for them.
    pub async fn leave(&self) -> Result<()> {
        self.settle().await;
        self.inner.seat.leave().await
    }

    /// Removes an ended query: records, blobs, shuffle blocks. Queries that end at about the same
    /// time go together: when this returns, the query may still be another call's to remove.
    pub(crate) async fn clean_up(&self, id: QueryId) {
        self.inner.removals.add(id, |ids| self.remove_all(ids)).await;
    }

    async fn remove_all(&self, ids: Vec<QueryId>) {
        let queue = &self.parts().queue;
        let pushed: Vec<QueryId> =
            ids.iter().copied().filter(|id| !queue.pushed_nothing(*id)).collect();
        for (id, removed) in queue.remove_all(ids).await {
            match removed {
                // Records first: of a query that still runs nothing may go.
                Ok(()) if pushed.contains(&id) => self.delete_shuffles(id).await,
                Ok(()) => {}
                Err(error) => tracing::debug!(query = %id, %error, "left to the sweeper"),
            }
        }
    }

    async fn delete_shuffles(&self, id: QueryId) {
        for (worker, _) in self.inner.shuffles.cards() {
            let deleted = match self.parts().workers.connect(worker) {
                Ok(api) => api.delete_query(id).await,
                Err(error) => Err(error),
            };
            if let Err(error) = deleted {
                tracing::debug!(query = %id, %worker, %error, "shuffle blocks left to the sweeper");
            }
        }
    }

    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.is_killed() {
            return;
        }
        let task = self.parts().env.spawn("clean up", work);
        let mut background = self.inner.background.lock();
        background.retain(|_, task| !task.is_finished());
        let number = background.last_key_value().map_or(0, |(n, _)| n + 1);
        background.insert(number, task);
    }

    /// A loop that ends with the gateway's death or with its last handle.
    fn keep_sweeping(&self, every: Duration) {
        let weak = Arc::downgrade(&self.inner);
        let env = self.parts().env.clone();
        self.parts().env.spawn("sweep", async move {
            loop {
                let jitter = env.random_below(every.as_millis() as u64 / 2 + 1);
                env.sleep(every + Duration::from_millis(jitter)).await;
                let Some(inner) = weak.upgrade() else { return };
                let gateway = Self { inner };
                if gateway.is_killed() {
                    return;
                }
                match gateway.sweep().await {
                    Ok(()) => {}
                    Err(error) if error.kind() == Kind::Retry => {}
                    Err(error) => tracing::warn!(%error, "sweep"),
                }
            }
        });
    }

    /// Removes what crashed processes left: records and blobs of ended queries, blocks of queries
    /// without records. Any number of gateways may sweep at once.
    pub async fn sweep(&self) -> Result<()> {
        let parts = self.parts();
        // First: writes need the results of their queries.
        self.sweep_writes().await?;
        let swept = parts.queue.sweep(parts.env.unix_ms()).await?;
        for query in swept.queries {
            self.delete_shuffles(query).await;
        }
        // A worker with a sick disk does not keep the rest from being swept.
        let mut outcome = Ok(());
        for (worker, card) in self.inner.shuffles.read() {
            let Ok(api) = parts.workers.connect(worker) else { continue };
            let swept = self.sweep_blocks(api.as_ref(), card.celeborn.is_some()).await;
            outcome = outcome.and(swept);
        }
        let orphans = match &self.inner.orphans {
            Some(orphans) => orphans.sweep(parts).await,
            None => Ok(()),
        };
        outcome.and(orphans)
    }

    /// `door`: the worker serves another system's clients, too, and removes what was theirs itself.
    async fn sweep_blocks(&self, worker: &dyn ShuffleApi, door: bool) -> Result<()> {
        let shuffles = worker.shuffles().await?.into_iter();
        let ours = shuffles.filter(|shuffle| !(door && shuffle.is_foreign()));
        let mut queries: Vec<QueryId> = ours.map(|shuffle| shuffle.query).collect();
        queries.dedup();
        let mut outcome = Ok(());
        for query in queries {
            // The records are written before the first block and removed after the last.
            if self.parts().queue.status(query).await?.is_none() {
                let deleted = worker.delete_query(query).await;
                outcome = outcome.and(deleted);
            }
        }
        outcome
    }
}
