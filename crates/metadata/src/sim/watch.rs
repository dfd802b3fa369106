//! A watch is a cursor into the store's log of recent changes and a bell: nothing is buffered for
//! it, and one that lags behind the log is told to resync.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::Revision;
use futures::Stream;
use tokio::sync::Notify;

use super::SimStore;
use super::state::Found;
use crate::store::Event;

pub(super) struct Watcher {
    store: SimStore,
    prefix: String,
    cursor: i64,
    id: u64,
    bell: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new(store: SimStore, prefix: String, from: Revision) -> Self {
        let (id, bell) = store.locked(|state, _| state.watcher_add(prefix.clone()));
        Self { store, prefix, cursor: from.0, id, bell }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Vec<Event>> + Send {
        futures::stream::unfold(self, |mut watcher| async move {
            let events = watcher.next().await;
            Some((events, watcher))
        })
    }

    async fn next(&mut self) -> Vec<Event> {
        loop {
            let (found, now) = {
                let cursor = &mut self.cursor;
                let prefix = &self.prefix;
                self.store.locked(|state, now| (state.changes(prefix, cursor), now))
            };
            match found {
                Found::Events(events) => return self.deliver(events).await,
                Found::Lagged => return vec![self.resync()],
                Found::Nothing(due) => self.wait(due.saturating_sub(now)).await,
            }
        }
    }

    /// Waits for the bell, or until a lease of the store runs out: with nobody calling the store,
    /// it is this watch that must notice.
    async fn wait(&self, limit: Duration) {
        if limit > Duration::from_secs(86_400) {
            self.bell.notified().await;
        } else {
            self.store.env.timeout(limit, self.bell.notified()).await;
        }
    }

    async fn deliver(&mut self, events: Vec<Event>) -> Vec<Event> {
        let dice = &self.store.inner.dice;
        if !dice.armed() {
            return events;
        }
        dice.wait_delivery().await;
        if dice.drop_delivery() { vec![self.resync()] } else { events }
    }

    /// Events go on after the revision that it names.
    fn resync(&mut self) -> Event {
        let revision = self.store.locked(|state, _| state.revision());
        self.cursor = self.cursor.max(revision.0 + 1);
        Event::Resync(revision)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.store.locked(|state, _| state.watcher_remove(self.id));
    }
}
