//! The executor itself: its parts, its life from join to drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Env, ProcessId, Result};
use dunlin_metadata::StoreRef;
use dunlin_planner::{Contexts, ObjectStores};
use dunlin_proto::queue::Card;
use dunlin_queue::{LiveSet, Member, Queue, Role, WeakMember};
use dunlin_shuffle::{Traffic, TrafficStats, Workers};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

use crate::claim_loop::ClaimLoop;
use crate::leaving::{self, Leaving};
use crate::looks;
use crate::options::ExecutorOptions;
use crate::recover::Avoided;
use crate::slots::Slots;
use crate::upgrade;

/// What an executor works with; made by the node.
#[derive(Clone)]
pub struct Parts {
    /// The control runtime: claims, leases, wake-ups.
    pub env: Env,
    /// The CPU runtime: plans.
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
    /// Object stores; a plan's header says with which options its tables are reached.
    pub stores: Arc<ObjectStores>,
}

/// What the tasks of an executor share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) options: ExecutorOptions,
    pub(crate) slots: Arc<Slots>,
    pub(crate) avoided: Avoided,
    shuffles: LiveSet,
    /// What the writers of its tasks measure.
    pub(crate) traffic: Arc<Traffic>,
    id: Mutex<Option<ProcessId>>,
    /// Its present life, which ends when its loop does.
    pub(crate) member: Mutex<WeakMember>,
    draining: AtomicBool,
    /// All stages that are ready are of one query, as the claim loop last saw them.
    pub(crate) one_query: AtomicBool,
    /// The stages that may have slices to claim, as the claim loop last saw them.
    pub(crate) open_stages: Mutex<Vec<looks::Name>>,
    /// Slices that came with commits since then: their queries have had a turn, too.
    pub(crate) followed: Mutex<Vec<(looks::Name, u32)>>,
    stop: Notify,
    pub(crate) leaving: Leaving,
    /// Ids of former lives, the newest last.
    former: Mutex<Vec<String>>,
}

/// A running executor. Dropping it kills it: see [`Executor::kill`].
pub struct Executor {
    shared: Arc<Shared>,
    life: Mutex<Option<Task<()>>>,
}

impl Executor {
    /// Joins and starts claiming. `Retry` if the store is out of reach.
    pub async fn start(parts: Parts, options: ExecutorOptions) -> Result<Self> {
        let shuffles = LiveSet::follow(Arc::clone(&parts.store), &parts.env, Role::Shuffle).await?;
        let shared = Arc::new(Shared {
            slots: Slots::new(options.slots),
            traffic: Arc::new(Traffic::new(parts.env.clone())),
            parts,
            options,
            avoided: Avoided::default(),
            shuffles,
            id: Mutex::default(),
            member: Mutex::default(),
            draining: AtomicBool::new(false),
            one_query: AtomicBool::new(false),
            open_stages: Mutex::default(),
            followed: Mutex::default(),
            stop: Notify::new(),
            leaving: Leaving::default(),
            former: Mutex::default(),
        });
        let first = join(&shared).await?;
        let env = shared.parts.env.clone();
        let life = env.spawn("executor", live(Arc::clone(&shared), first));
        Ok(Self { shared, life: Mutex::new(Some(life)) })
    }

    /// The id of its present life.
    pub fn id(&self) -> Option<ProcessId> {
        *self.shared.id.lock()
    }

    /// Task slots that are free now.
    pub fn free_slots(&self) -> u32 {
        self.shared.slots.free()
    }

    /// What its tasks have encoded and pushed to shuffle workers.
    pub fn traffic(&self) -> TrafficStats {
        self.shared.traffic.stats()
    }

    /// False once it was drained or killed.
    pub fn is_alive(&self) -> bool {
        !self.shared.draining()
    }

    /// Drains once others can do without it, within `limit`, of which running tasks have `tasks_min`
    /// in any case.
    ///
    /// The last executor of its build goes on while executors of another build are alive and queries
    /// of its own run or gateways of its own are alive: nobody else can run their queries, so an
    /// upgrade would lose them.
    pub async fn retire(&self, limit: Duration, tasks_min: Duration) {
        let env = &self.shared.parts.env;
        let until = env.now() + limit.max(tasks_min);
        upgrade::stay(&self.shared, limit.saturating_sub(tasks_min)).await;
        self.drain(until.saturating_sub(env.now())).await;
    }

    /// Takes nothing new, hands back what is not started, finishes what runs, leaves. Costs no
    /// recomputation, unless tasks still run after `limit`: those are stopped and handed back.
    pub async fn drain(&self, limit: Duration) {
        self.shared.leaving.limit(limit);
        self.shared.draining.store(true, Ordering::Release);
        self.shared.stop.notify_waiters();
        let life = self.life.lock().take();
        if let Some(life) = life {
            let _ = life.join().await;
        }
    }

    /// Ends everything at once, as a crash would: nothing is committed, handed back or revoked.
    /// Others take its slices when its lease ends.
    pub fn kill(&self) {
        self.shared.draining.store(true, Ordering::Release);
        if let Some(life) = self.life.lock().take() {
            life.abort();
        }
        self.shared.leaving.abort();
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn id_text(&self) -> String {
        self.id.lock().map(|id| id.to_string()).unwrap_or_default()
    }

    /// The shuffle workers, by their cards.
    pub(crate) fn workers_alive(&self) -> &LiveSet {
        &self.shuffles
    }
}

/// Former lives that a card names.
const FORMER_MAX: usize = 32;

async fn join(shared: &Arc<Shared>) -> Result<ClaimLoop> {
    let parts = &shared.parts;
    let build = parts.queue.build().to_owned();
    // Others see that this process did not die of what its former lives held.
    let former = shared.former.lock().clone();
    let card = Card { build, slots: shared.options.slots, former, ..Card::default() };
    let card = card.encode_to_vec().into();
    let (store, ttl) = (Arc::clone(&parts.store), shared.options.lease_ttl);
    let member = Member::join(store, parts.leases.clone(), Role::Executor, card, ttl).await?;
    *shared.id.lock() = Some(member.id());
    *shared.member.lock() = member.downgrade();
    remember(&mut shared.former.lock(), member.id());
    let live = LiveSet::follow(Arc::clone(&parts.store), &parts.env, Role::Executor).await?;
    let ready = parts.queue.watch_ready().await?;
    let live = Arc::new(live);
    Ok(ClaimLoop { shared: Arc::clone(shared), member, live, ready })
}

fn remember(former: &mut Vec<String>, life: ProcessId) {
    former.push(life.to_string());
    let extra = former.len().saturating_sub(FORMER_MAX);
    former.drain(..extra);
}

/// One life after the other: a fenced executor joins again under a new id.
async fn live(shared: Arc<Shared>, first: ClaimLoop) {
    let mut current = Some(first);
    let mut wait = Duration::from_millis(50);
    while !shared.draining() {
        let mut claims = match current.take() {
            Some(claims) => claims,
            None => match join(&shared).await {
                Ok(claims) => claims,
                Err(error) => {
                    tracing::warn!(%error, "executor can not join");
                    shared.parts.env.sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                    continue;
                }
            },
        };
        wait = Duration::from_millis(50);
        let member = claims.member.clone();
        let ended = tokio::select! {
            biased;
            ended = claims.run() => ended,
            () = shared.stop.notified() => Ok(()),
        };
        if shared.draining() {
            leaving::finish(&shared).await;
            if let Err(error) = member.leave().await {
                tracing::warn!(%error, "executor could not end its lease");
            }
            return;
        }
        if let Err(error) = ended {
            tracing::warn!(%error, "executor starts over");
            shared.parts.env.sleep(wait).await;
            if member.check().is_ok() {
                let _ = member.leave().await;
            }
        }
    }
}
