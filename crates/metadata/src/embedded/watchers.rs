//! Who waits for changes below which prefix: a publication wakes those whom it concerns and nobody
//! else. With a wake-up for everybody, each of many short queries would be woken by all others.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_base::Revision;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ring::has_prefix;
use crate::store::Event;

#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    next_id: u64,
    watchers: HashMap<u64, Watcher>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    rung: Arc<Notify>,
    /// It was rung and has not looked since.
    pending: bool,
    /// Nothing up to here concerns it that it was not rung for: it need not look there, and the
    /// ring may forget it.
    clean: Revision,
}

/// A place among the watchers. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    watchers: Arc<Watchers>,
    id: u64,
    rung: Arc<Notify>,
}

impl Watchers {
    /// Waits below `prefix` from now on.
    pub(super) fn sit(self: &Arc<Self>, prefix: &str) -> Seat {
        let rung = Arc::new(Notify::new());
        let mut registry = self.0.lock();
        let id = registry.next_id;
        registry.next_id += 1;
        let watcher = Watcher {
            prefix: prefix.to_owned(),
            rung: Arc::clone(&rung),
            pending: false,
            clean: Revision(0),
        };
        registry.watchers.insert(id, watcher);
        Seat { watchers: Arc::clone(self), id, rung }
    }

    /// Rings those whom the events concern. Called after they were published, in their order.
    pub(super) fn ring(&self, events: &[Vec<Event>], revision: Revision) {
        for watcher in self.0.lock().watchers.values_mut() {
            if events.iter().flatten().any(|event| has_prefix(event, &watcher.prefix)) {
                watcher.pending = true;
                watcher.rung.notify_one();
            } else if !watcher.pending {
                watcher.clean = revision;
            }
        }
    }

    /// Rings everybody.
    pub(super) fn ring_all(&self) {
        for watcher in self.0.lock().watchers.values_mut() {
            watcher.pending = true;
            watcher.rung.notify_one();
        }
    }
}

impl Seat {
    /// Called before a look at the ring: what is published after this rings again. Returns up to
    /// where there is nothing to look for, if the look before found all there was.
    pub(super) fn before_look(&self) -> Revision {
        let mut registry = self.watchers.0.lock();
        let Some(watcher) = registry.watchers.get_mut(&self.id) else { return Revision(0) };
        watcher.pending = false;
        watcher.clean
    }

    /// Returns once it was rung; a ring before the call counts.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.watchers.0.lock().watchers.remove(&self.id);
    }
}
