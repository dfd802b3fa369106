//! The processes that are alive, by their cards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::env::Task;
use dunlin_base::{Env, ProcessId, QueryId, Result, Revision, StageId};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use parking_lot::RwLock;
use prost::Message;
use tokio::sync::Notify;

use crate::choose;
use crate::member::Role;
use crate::mirror::Mirror;
use crate::queue::is_readable;
use crate::ready::ReadyStage;

/// Middle of the interval of safety re-reads, and of the wait after a failed one.
const REREAD: Duration = Duration::from_secs(5);

/// The live processes of a role, kept current by a watch in a task of its own. A hint: claims
/// verify a death against the store in their transaction.
#[derive(Debug)]
pub struct LiveSet {
    shared: Arc<Shared>,
    task: Task<()>,
}

#[derive(Debug, Default)]
struct Shared {
    cards: RwLock<BTreeMap<ProcessId, Seen>>,
    /// Who answers for a former life; changed after the cards.
    heirs: RwLock<BTreeMap<ProcessId, ProcessId>>,
    /// Who has adopted the objects of a dead worker; changed after the cards.
    adopters: RwLock<BTreeMap<ProcessId, ProcessId>>,
    changed: Notify,
}

/// A card as it was last seen.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    fence: Revision,
    card: Bytes,
    /// The same, read; the default if it cannot be.
    read: Arc<Card>,
    former: Vec<ProcessId>,
}

impl LiveSet {
    /// Reads the cards of a role and follows them until the set is dropped. `Retry` if the store
    /// cannot be read now.
    pub async fn follow(store: StoreRef, env: &Env, role: Role) -> Result<Self> {
        let mirror = Mirror::open(store, env.clone(), role.prefix().to_owned(), REREAD).await?;
        let shared = Arc::new(Shared::default());
        shared.take(&mirror, role);
        let task = env.spawn("live set", follow(shared.clone(), mirror, env.clone(), role));
        Ok(Self { shared, task })
    }

    /// How many are alive.
    pub fn count(&self) -> usize {
        self.shared.cards.read().len()
    }

    /// The fence (revision at which the card came into being) of a live process.
    pub fn fence(&self, id: ProcessId) -> Option<Revision> {
        self.shared.cards.read().get(&id).map(|seen| seen.fence)
    }

    /// All live processes with their cards.
    pub fn cards(&self) -> Vec<(ProcessId, Bytes)> {
        self.shared.cards.read().iter().map(|(id, seen)| (*id, seen.card.clone())).collect()
    }

    /// The same, read. A card that cannot be read says nothing.
    pub fn read(&self) -> Vec<(ProcessId, Arc<Card>)> {
        self.shared.cards.read().iter().map(|(id, seen)| (*id, Arc::clone(&seen.read))).collect()
    }

    /// The builds of the live processes.
    pub fn builds(&self) -> BTreeMap<ProcessId, String> {
        self.shared.cards.read().iter().map(|(id, seen)| (*id, seen.read.build.clone())).collect()
    }

    /// The card of the process that `id` is a life of, present or former. One that names it as a
    /// former life comes first: its own card may be what that life left behind. Without either, the
    /// card of a worker that has adopted its objects: that has less than the process itself.
    pub fn card_of(&self, id: ProcessId) -> Option<Card> {
        let heir = self.shared.heirs.read().get(&id).copied();
        let adopter = self.shared.adopters.read().get(&id).copied();
        let cards = self.shared.cards.read();
        let own = heir.and_then(|heir| cards.get(&heir)).or_else(|| cards.get(&id));
        let seen = own.or_else(|| adopter.and_then(|adopter| cards.get(&adopter)))?;
        Some(seen.read.as_ref().clone())
    }

    /// Of the live processes the first choice for a stage of one slice: the same wherever the same
    /// ones are known, another one for each stage.
    pub fn first_choice(&self, stage: &ReadyStage) -> Option<ProcessId> {
        self.first(&stage.build, (stage.query, stage.stage, 0))
    }

    /// Of the live processes that can run plans of a build the first choice for a segment.
    pub(crate) fn first(
        &self,
        build: &str,
        (query, stage, segment): (QueryId, StageId, u32),
    ) -> Option<ProcessId> {
        let cards = self.shared.cards.read();
        let able = cards.iter().filter(|(_, seen)| is_readable(&seen.read.build, build));
        choose::first(able.map(|(id, _)| *id), query, stage, segment)
    }

    /// Returns when a process came or went since the last call returned. For one waiter; dropping
    /// it loses nothing.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Drop for LiveSet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn take(&self, mirror: &Mirror, role: Role) {
        let cards: BTreeMap<_, _> = mirror
            .entries()
            .values()
            .filter_map(|entry| {
                let id = entry.key.strip_prefix(role.prefix())?.parse().ok()?;
                let read = Arc::new(Card::decode(entry.value.as_ref()).unwrap_or_default());
                let former = read.former.iter().filter_map(|id| id.parse().ok()).collect();
                let (fence, card) = (entry.created, entry.value.clone());
                Some((id, Seen { fence, card, read, former }))
            })
            .collect();
        let mut current = self.cards.write();
        if *current != cards {
            let heirs =
                cards.iter().flat_map(|(id, seen)| seen.former.iter().map(|one| (*one, *id)));
            let heirs = heirs.collect();
            let adopted = |(id, seen): (&ProcessId, &Seen)| {
                let (id, ids) = (*id, seen.read.adopted.clone());
                ids.into_iter().filter_map(move |one| Some((one.parse().ok()?, id)))
            };
            let adopters = cards.iter().flat_map(adopted).collect();
            *current = cards;
            drop(current);
            *self.heirs.write() = heirs;
            *self.adopters.write() = adopters;
            self.changed.notify_one();
        }
    }
}

async fn follow(shared: Arc<Shared>, mut mirror: Mirror, env: Env, role: Role) {
    loop {
        if let Err(error) = mirror.changed().await {
            tracing::debug!(%error, role = role.prefix(), "the live set cannot be read");
            env.sleep(crate::mirror::jittered(&env, REREAD / 5)).await;
        }
        shared.take(&mirror, role);
    }
}
