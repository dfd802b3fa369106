//! Objects of dead shuffle workers: this process's worker takes them in when it is its turn, and its
//! card says so then. See `design/2026-11-28-shuffle-adoption.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dunlin_base::{Env, Error, ProcessId, Result, Revision};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use dunlin_queue::{Estate, LiveSet, Peer, Role, Seat, TURN};
use dunlin_shuffle_service::{Adopted, ShuffleWorker};

/// Between two looks while nothing is to be done, and while something is.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_SOON: Duration = Duration::from_secs(1);

/// A folder in which nothing was found is not looked into again for this long.
const VAIN: Duration = Duration::from_secs(60);

/// Has one worker adopt what it is to adopt.
pub struct Adopter {
    seat: Weak<Seat>,
    worker: Weak<ShuffleWorker>,
    answer: Box<dyn Fn(ProcessId) + Send + Sync>,
    store: StoreRef,
    env: Env,
    /// Since when it is known that somebody is to adopt an estate.
    due: BTreeMap<ProcessId, Duration>,
    /// Estates of which no objects were found, and when.
    vain: BTreeMap<(ProcessId, Revision), Duration>,
}

/// A worker and its place, for as long as they are needed.
struct Own {
    seat: Arc<Seat>,
    worker: Arc<ShuffleWorker>,
}

/// Takes in the objects of the former lives of this process, before anybody can ask for them: their
/// files are here already, and who asks misses what is not. What their estates name is added to the
/// card. What cannot be had is `Lost` for its readers.
pub(super) async fn reclaim(
    store: &StoreRef,
    worker: &ShuffleWorker,
    place: &str,
    card: &mut Card,
) {
    if place.is_empty() || card.former.is_empty() {
        return;
    }
    let estates = match Estate::all(store.as_ref()).await {
        Ok(estates) => estates,
        Err(error) => return failed(&error, "former lives"),
    };
    let own = |estate: &Estate| {
        let former = card.former.iter().any(|id| estate.record.lives.contains(id));
        former && estate.record.place == place
    };
    for estate in estates.into_iter().filter(own).collect::<Vec<_>>() {
        match worker.adopt(&estate.record.folders).await {
            Ok(adopted) => done(&adopted, estate.id),
            Err(error) => failed(&error, &estate.id.to_string()),
        }
        card.adopted.extend(estate.record.adopted);
    }
}

fn done(adopted: &Adopted, worker: ProcessId) {
    let Adopted { objects, blocks, bytes, refused } = *adopted;
    tracing::info!(%worker, objects, blocks, bytes, refused, "adopted objects of a shuffle worker");
}

fn failed(error: &Error, worker: &str) {
    tracing::warn!(worker, %error, "objects of a shuffle worker are not adopted");
}

impl Adopter {
    /// For this worker at this place. `answer` is told each id of a dead worker that clients may mean
    /// this one by, before any of them can; it must not block.
    pub fn new(
        (seat, worker): (&Arc<Seat>, &Arc<ShuffleWorker>),
        (store, env): (StoreRef, Env),
        answer: impl Fn(ProcessId) + Send + Sync + 'static,
    ) -> Self {
        let (seat, worker) = (Arc::downgrade(seat), Arc::downgrade(worker));
        let (due, vain) = (BTreeMap::new(), BTreeMap::new());
        Self { seat, worker, answer: Box::new(answer), store, env, due, vain }
    }

    /// Looks whenever a worker has gone, and every few seconds, until place or worker are gone. `live`:
    /// all shuffle workers. Dropping the future in the middle leaves the estate to the next one.
    pub async fn adopt_for_ever(mut self, live: LiveSet) {
        let mut known = ids(&live);
        loop {
            let limit = if self.due.is_empty() { LOOK } else { LOOK_SOON };
            let gone = async {
                loop {
                    live.changed().await;
                    let before = std::mem::replace(&mut known, ids(&live));
                    if !before.is_subset(&known) {
                        return;
                    }
                }
            };
            self.env.timeout(limit, gone).await;
            let (Some(seat), Some(worker)) = (self.seat.upgrade(), self.worker.upgrade()) else {
                return;
            };
            if let Err(error) = self.look(&Own { seat, worker }).await {
                tracing::debug!(%error, "what dead shuffle workers left");
            }
        }
    }

    async fn look(&mut self, me: &Own) -> Result<()> {
        // Estates first: a process that comes back has its card before its old estate is gone.
        let estates = Estate::all(self.store.as_ref()).await?;
        let peers = match estates.len() {
            0 => Vec::new(),
            _ => Peer::all(&self.store, Role::Shuffle).await?,
        };
        let (own, now) = (me.seat.member().id(), self.env.now());
        let turn = |estate: &Estate| estate.turn(own, &peers);
        let due: Vec<_> = estates.iter().filter_map(|one| Some((one, turn(one)?))).collect();
        self.vain.retain(|_, since| now < *since + VAIN);
        let is_vain = |one: &Estate| self.vain.contains_key(&(one.id, one.modified));
        let due: Vec<_> = due.into_iter().filter(|(one, _)| !is_vain(one)).collect();
        self.due.retain(|id, _| due.iter().any(|(one, _)| one.id == *id));
        for (estate, turn) in due {
            let since = *self.due.entry(estate.id).or_insert(now);
            if now >= since + TURN * turn
                && let Err(error) = self.adopt(me, estate).await
            {
                failed(&error, &estate.id.to_string());
            }
        }
        Ok(())
    }

    /// Errors are those of the object store and the metadata store; it is tried again then.
    async fn adopt(&mut self, me: &Own, estate: &Estate) -> Result<()> {
        let (worker, folders) = (estate.id, &estate.record.folders);
        if me.worker.objects_in(folders).await? == 0 {
            // It wrote none, or to a store that only has the same name.
            tracing::debug!(%worker, "nothing is known here of what a dead shuffle worker left");
            self.vain.insert((estate.id, estate.modified), self.env.now());
            return Ok(());
        }
        let member = me.seat.member();
        let Some(claimed) = estate.claim(&member).await? else { return Ok(()) };
        tracing::info!(%worker, ?folders, "adopts the objects of a dead shuffle worker");
        let adopted = me.worker.adopt(folders).await?;
        let ids = claimed.record.lives.iter().chain(&claimed.record.adopted);
        ids.filter_map(|id| id.parse().ok()).for_each(&self.answer);
        match me.seat.inherit(&claimed).await? {
            true => done(&adopted, worker),
            false => tracing::info!(%worker, "a shuffle worker whose objects were adopted is back"),
        }
        Ok(())
    }
}

fn ids(live: &LiveSet) -> BTreeSet<ProcessId> {
    live.cards().into_iter().map(|(id, _)| id).collect()
}
