//! What the writer thread, readers and watchers share.
//!
//! Readers look only at published state, and only the writer publishes, after its sync.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use dunlin_base::{Env, Error, Result, Revision};
use futures::stream::{self, StreamExt};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::group::Changes;
use super::lease::Leases;
use super::ring::{Found, RING_LEN_MAX, RING_TXNS_MAX, Ring};
use super::watchers::{Seat, Watchers};
use crate::store::{Entry, Event, Key, Watch};

/// The published state: durable, hence for everybody.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) entries: BTreeMap<Key, Entry>,
    pub(super) revision: Revision,
    ring: Ring,
}

/// The store without its writer.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) published: RwLock<Published>,
    pub(super) leases: Mutex<Leases>,
    /// Rung when a lease is granted: the next deadline may now be sooner.
    pub(super) lease_granted: Notify,
    watchers: Arc<Watchers>,
    /// Why the store has ended, once it has.
    failure: OnceLock<Error>,
}

impl Shared {
    pub(super) fn new(env: Env, entries: BTreeMap<Key, Entry>, revision: Revision) -> Self {
        let leases = Mutex::new(Leases::of_former_life(&entries, env.now()));
        let ring = Ring::new(revision, RING_TXNS_MAX, RING_LEN_MAX);
        Self {
            env,
            published: RwLock::new(Published { entries, revision, ring }),
            leases,
            lease_granted: Notify::new(),
            watchers: Arc::default(),
            failure: OnceLock::new(),
        }
    }

    /// Why the store has ended, if it has: then nothing it says may be believed.
    pub(super) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Shows a durable group to everybody.
    pub(super) fn publish(&self, changes: Changes) {
        let mut published = self.published.write();
        for (key, change) in changes.entries {
            match change {
                Some(entry) => published.entries.insert(key, entry),
                None => published.entries.remove(&key),
            };
        }
        published.revision = changes.revision;
        for events in &changes.events {
            published.ring.push(events.clone());
        }
        drop(published);
        self.watchers.ring(&changes.events, changes.revision);
    }

    /// Ends the store for all callers and watchers. The first reason stays.
    pub(super) fn close(&self, reason: Error) -> Error {
        let reason = self.failure.get_or_init(|| reason).clone();
        self.watchers.ring_all();
        reason
    }

    /// Changes from `from` on. Holds a cursor into the ring, nothing else.
    pub(super) fn watch(self: &Arc<Self>, prefix: &str, from: Revision) -> Watch {
        let cursor = Cursor {
            seat: self.watchers.sit(prefix),
            shared: Arc::clone(self),
            prefix: prefix.to_owned(),
            next: from.max(Revision(1)),
            caught_up: false,
        };
        stream::unfold(cursor, |mut cursor| async {
            cursor.advance().await.map(|events| (events, cursor))
        })
        .boxed()
    }
}

struct Cursor {
    shared: Arc<Shared>,
    seat: Seat,
    prefix: String,
    next: Revision,
    /// The last look found nothing more.
    caught_up: bool,
}

impl Cursor {
    /// The next events that match, or `None` once the store is closed and all are told.
    /// Dropping it loses nothing: the cursor moves only together with a return or past events
    /// that do not match.
    async fn advance(&mut self) -> Option<Vec<Event>> {
        loop {
            // Before the look, so that what comes after the look is not missed.
            let closed = self.shared.failure.get().is_some();
            let clean = self.seat.before_look();
            if self.caught_up {
                self.next = self.next.max(Revision(clean.0 + 1));
            }
            let found = self.look();
            self.caught_up = found.is_none();
            if found.is_some() {
                return found;
            }
            if closed {
                return None;
            }
            self.seat.rung().await;
        }
    }

    fn look(&mut self) -> Option<Vec<Event>> {
        loop {
            let published = self.shared.published.read();
            match published.ring.since(&self.prefix, self.next) {
                Found::Missed => {
                    let revision = published.revision;
                    self.next = Revision(revision.0 + 1);
                    return Some(vec![Event::Resync(revision)]);
                }
                Found::Events(events, next) => {
                    let moved = next > self.next;
                    self.next = next;
                    if !events.is_empty() {
                        return Some(events);
                    }
                    if !moved {
                        return None;
                    }
                }
            }
        }
    }
}
