//! The ends of queries, told to all who wait for them in this process: one watch on `live/`.
//!
//! Not a watch for each query: etcd serves one that begins at a revision which has passed (and with
//! any traffic it has) only at its next look, up to 100 ms later, and then sends at once what
//! follows. A watch that stays open is told of a change as it happens.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Env, QueryId, Revision};
use dunlin_metadata::{Entry, StoreRef};
use dunlin_proto::queue::Live;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

use crate::keys;
use crate::mirror::{Mirror, Touched, jittered};

/// The queries that have records, for those who wait.
#[derive(Default)]
pub(crate) struct Ends {
    shared: Arc<Shared>,
    task: OnceLock<Task<()>>,
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    live: BTreeMap<QueryId, Seen>,
    waiting: BTreeMap<QueryId, Vec<Arc<Notify>>>,
}

/// An entry of `live/` as it was last seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) live: Live,
    pub(crate) modified: Revision,
}

/// One who waits. Dropping it ends that.
pub(crate) struct Following {
    shared: Arc<Shared>,
    query: QueryId,
    notify: Arc<Notify>,
}

impl Ends {
    /// Begins to follow a query; the first call starts the watch.
    pub(crate) fn follow(
        &self,
        query: QueryId,
        store: &StoreRef,
        env: &Env,
        reread: Duration,
    ) -> Following {
        let notify = Arc::new(Notify::new());
        let shared = Arc::clone(&self.shared);
        shared.0.lock().waiting.entry(query).or_default().push(Arc::clone(&notify));
        self.task.get_or_init(|| {
            let (shared, store, env_) = (Arc::clone(&shared), Arc::clone(store), env.clone());
            env.spawn("ends", async move { watch(&shared, store, env_, reread).await })
        });
        Following { shared, query, notify }
    }

    /// A query's entry as the watch last saw it; `None` if it has not seen it, or saw it go.
    pub(crate) fn seen(&self, query: QueryId) -> Option<Seen> {
        self.shared.0.lock().live.get(&query).cloned()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Following {
    /// The query's entry as the watch last saw it; `None` if it has not seen it, or saw it go.
    pub(crate) fn live(&self) -> Option<Live> {
        self.shared.0.lock().live.get(&self.query).map(|seen| seen.live.clone())
    }

    /// Returns when the entry may have changed since the last call returned.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.shared.0.lock();
        if let Some(waiting) = state.waiting.get_mut(&self.query) {
            waiting.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if waiting.is_empty() {
                state.waiting.remove(&self.query);
            }
        }
    }
}

impl Shared {
    fn take(&self, mirror: &mut Mirror) {
        let touched = mirror.take_touched();
        let mut state = self.0.lock();
        match touched {
            Touched::Keys(keys) => {
                for key in keys {
                    let Some(query) = keys::parse_live(&key) else { continue };
                    match mirror.entries().get(&key).and_then(read) {
                        Some(live) => state.live.insert(query, live),
                        None => state.live.remove(&query),
                    };
                    state.waiting.get(&query).into_iter().flatten().for_each(|n| n.notify_one());
                }
            }
            Touched::All => {
                let all = mirror.entries().iter();
                let all =
                    all.filter_map(|(key, entry)| Some((keys::parse_live(key)?, read(entry)?)));
                state.live = all.collect();
                state.waiting.values().flatten().for_each(|n| n.notify_one());
            }
        }
    }
}

fn read(entry: &Entry) -> Option<Seen> {
    let live = Live::decode(entry.value.clone()).ok()?;
    Some(Seen { live, modified: entry.modified })
}

async fn watch(shared: &Shared, store: StoreRef, env: Env, reread: Duration) {
    let mut mirror = loop {
        let opened = Mirror::open(store.clone(), env.clone(), keys::LIVE.to_owned(), reread).await;
        match opened {
            Ok(mirror) => break mirror,
            Err(error) => tracing::debug!(%error, "the ends of queries cannot be read"),
        }
        env.sleep(jittered(&env, reread / 5)).await;
    };
    loop {
        shared.take(&mut mirror);
        if let Err(error) = mirror.changed().await {
            tracing::debug!(%error, "the ends of queries cannot be followed");
            env.sleep(jittered(&env, reread / 5)).await;
        }
    }
}
