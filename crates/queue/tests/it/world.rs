//! What the tests share: blobs in memory, a link that can freeze, outputs, and a queue on top.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Error, LeaseId, ProcessId, QueryId, Result, Revision};
use dunlin_metadata::blob::Blobs;
use dunlin_metadata::sim::SimStore;
use dunlin_metadata::{Entry, Lease, Snapshot, Store, Txn, TxnOutcome, Watch};
use dunlin_proto::output::{Location, MapOutput, PartitionOutput, TaskStats};
use dunlin_queue::{
    ClaimedSlices, LiveSet, Member, NewQuery, Offer, Queue, ReadyStage, Role, Room, Tuning,
};
use parking_lot::Mutex;

use crate::toy::{self, Graph, Toy};

#[derive(Debug, Default)]
pub(crate) struct MemoryBlobs {
    blobs: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryBlobs {
    pub(crate) fn names(&self) -> Vec<String> {
        self.blobs.lock().keys().cloned().collect()
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let old = self.blobs.lock().insert(name.to_owned(), content.clone());
        assert!(old.is_none_or(|old| old == content), "{name} is used for two contents");
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        let blob = self.blobs.lock().get(name).cloned();
        blob.ok_or_else(|| Error::lost(format!("there is no blob {name}")))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.names().into_iter().filter(|name| name.starts_with(prefix)).collect())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        self.blobs.lock().retain(|name, _| !name.starts_with(prefix));
        Ok(())
    }
}

/// One process's way to the store. Frozen, it holds every call until a given time and then lets it
/// through: what a process looks like from outside that was paused.
#[derive(Debug)]
pub(crate) struct Link {
    store: SimStore,
    env: Env,
    frozen_until: Mutex<Duration>,
    reads: AtomicU32,
}

impl Link {
    pub(crate) fn new(store: SimStore, env: Env) -> Arc<Self> {
        Arc::new(Self { store, env, frozen_until: Mutex::default(), reads: AtomicU32::new(0) })
    }

    /// How often the process has read so far.
    pub(crate) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn freeze(&self, duration: Duration) {
        *self.frozen_until.lock() = self.env.now() + duration;
    }

    async fn pass(&self) {
        let until = *self.frozen_until.lock();
        let wait = until.saturating_sub(self.env.now());
        if !wait.is_zero() {
            self.env.sleep(wait).await;
        }
    }
}

#[async_trait]
impl Store for Link {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.pass().await;
        self.store.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.pass().await;
        self.store.range(prefix).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.pass().await;
        self.store.txn(txn).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        self.pass().await;
        self.store.watch(prefix, from).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.pass().await;
        self.store.lease_grant(ttl).await
    }

    async fn lease_keep(&self, lease: LeaseId) -> Result<()> {
        self.pass().await;
        self.store.lease_keep(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.pass().await;
        self.store.lease_revoke(lease).await
    }
}

pub(crate) const TTL: Duration = Duration::from_secs(10);

/// A store, blobs and a toy planner.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: SimStore,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) toy: Arc<Toy>,
    pub(crate) tuning: Tuning,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let env = Env::seeded(seed);
        Self {
            store: SimStore::new(env.clone()),
            blobs: Arc::default(),
            toy: Arc::default(),
            tuning: Tuning { segment_slices: 3, ..Tuning::default() },
            env,
        }
    }

    /// A process of its own on the queue.
    pub(crate) fn process(&self) -> (Arc<Link>, Queue) {
        let link = Link::new(self.store.clone(), self.env.clone());
        let (blobs, toy) = (self.blobs.clone(), self.toy.clone());
        let tuning = self.tuning.clone();
        let queue = Queue::with_tuning(link.clone(), blobs, self.env.clone(), toy, tuning);
        (link, queue)
    }

    pub(crate) async fn executor(&self) -> Executor {
        let (link, queue) = self.process();
        let (env, card) = (self.env.clone(), Bytes::from_static(b"card"));
        let member = Member::join(link.clone(), env, Role::Executor, card, TTL).await;
        let live = LiveSet::follow(link.clone(), &self.env, Role::Executor).await;
        Executor {
            queue,
            link,
            member: member.expect("a store without faults"),
            live: live.expect("a store without faults"),
        }
    }

    pub(crate) fn new_query(&self, graph: &Graph) -> NewQuery {
        NewQuery {
            id: QueryId::generate(&self.env),
            sql: "SELECT 1".to_owned(),
            user: "ada".to_owned(),
            gateway: ProcessId::generate(&self.env),
            deadline_unix_ms: None,
            graph: graph.encode(),
            guards: Vec::new(),
        }
    }

    /// Keys in the store, without cards.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let entries = self.store.range("").await.expect("a store without faults").entries;
        entries.into_iter().map(|e| e.key).filter(|key| !key.starts_with("ex/")).collect()
    }
}

pub(crate) struct Executor {
    pub(crate) queue: Queue,
    pub(crate) link: Arc<Link>,
    pub(crate) member: Member,
    pub(crate) live: LiveSet,
}

impl Executor {
    pub(crate) async fn ready(&self) -> Vec<ReadyStage> {
        self.queue.ready_stages().await.expect("a store without faults")
    }

    /// Claims from the first ready stage that has something.
    pub(crate) async fn claim(&self, free_slots: u32) -> Option<ClaimedSlices> {
        for stage in self.ready().await {
            let room = Room { slots: free_slots, idle: true };
            if let Some(claim) = taken(self.offer(&stage, room).await) {
                return Some(claim);
            }
        }
        None
    }

    pub(crate) async fn offer(&self, stage: &ReadyStage, room: Room) -> Offer {
        let offer = self.queue.claim(&self.member, stage, room, &self.live).await;
        offer.expect("a store without faults")
    }

    /// Dies as a killed process does: nothing more is heard of it.
    pub(crate) fn kill(&self) {
        self.link.freeze(Duration::from_secs(1 << 20));
    }
}

pub(crate) fn taken(offer: Offer) -> Option<ClaimedSlices> {
    match offer {
        Offer::Taken(claim) => Some(claim),
        Offer::Nothing | Offer::Alone { .. } => None,
    }
}

/// The same output with its rows inside.
pub(crate) fn inlined(output: MapOutput) -> MapOutput {
    MapOutput { inlined: true, inline_blocks: vec![Bytes::from_static(b"rows")], ..output }
}

/// What a task over these slices reports: rows by the toy's rule.
pub(crate) fn output(claim: &ClaimedSlices, slices: std::ops::Range<u32>) -> MapOutput {
    let rows = toy::rows_of(slices.clone());
    MapOutput {
        first_slice: slices.start,
        slice_count: slices.end - slices.start,
        attempt: claim.attempt.0,
        epoch: claim.epoch.0,
        locations: vec![Location {
            worker: "w".to_owned(),
            peer: String::new(),
            in_object_store: false,
        }],
        partitions: vec![PartitionOutput {
            rows,
            bytes: 8 * rows,
            blocks: 1,
            ..PartitionOutput::default()
        }],
        stats: Some(TaskStats {
            rows_out: rows,
            bytes_out: 8 * rows,
            elapsed_us: 100,
            ..TaskStats::default()
        }),
        ..MapOutput::default()
    }
}
