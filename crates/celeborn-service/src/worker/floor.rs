//! What all of a worker's ports share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Env, QueryId, Result};
use dunlin_celeborn::ids::ShuffleKey;
use dunlin_celeborn::storage::StorageType;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_shuffle_service::ShuffleWorker;
use parking_lot::{Mutex, RwLock};

use super::peers::Peers;
use super::shuffle::AppShuffle;
use super::stats::{Counters, Timers};
use super::streams::Streams;
use crate::net::Tls;
use crate::records::Records;

pub(crate) struct Floor {
    pub(super) core: Arc<ShuffleWorker>,
    pub(super) records: Records,
    pub(super) env: Env,
    pub(super) peers: Peers,
    pub(super) streams: Streams,
    pub(super) counters: Counters,
    pub(super) timers: Timers,
    /// What drivers are told that locations lie on.
    pub(super) storage_type: StorageType,
    /// By the text that each push has.
    shuffles: RwLock<HashMap<String, Arc<AppShuffle>>>,
    /// Shuffles without a record, at the last look.
    gone: Mutex<HashSet<QueryId>>,
    /// When the core had no room last.
    full_at: Mutex<Option<Duration>>,
}

/// For how long a core that had no room is taken for full.
const FULL_FOR: Duration = Duration::from_secs(1);

impl Floor {
    pub(super) fn new(
        core: Arc<ShuffleWorker>,
        records: Records,
        env: &Env,
        tls: Option<Tls>,
    ) -> Self {
        let disks = core.stats().disks;
        let ssd = |disk: &dunlin_shuffle_service::DiskStats| {
            disk.class == dunlin_shuffle_service::Class::Ssd
        };
        let storage_type =
            if disks.first().is_some_and(ssd) { StorageType::Ssd } else { StorageType::Hdd };
        Self {
            core,
            records,
            env: env.clone(),
            peers: Peers::new(env.clone(), tls),
            streams: Streams::default(),
            counters: Counters::default(),
            timers: Timers::default(),
            storage_type,
            shuffles: RwLock::default(),
            gone: Mutex::default(),
            full_at: Mutex::default(),
        }
    }

    /// A shuffle, by the text that names it, if something of it was asked for before.
    pub(super) fn by_name(&self, key: &str) -> Option<Arc<AppShuffle>> {
        self.shuffles.read().get(key).cloned()
    }

    /// The same by its key.
    pub(super) fn known(&self, key: &ShuffleKey) -> Option<Arc<AppShuffle>> {
        self.by_name(&key.to_string())
    }

    /// A shuffle that has a record. `None`: it has none. What is known is not looked up again.
    pub(super) async fn shuffle(&self, key: &ShuffleKey) -> Result<Option<Arc<AppShuffle>>> {
        match self.known(key) {
            Some(known) => Ok(Some(known)),
            None => self.recorded(key, "").await,
        }
    }

    /// The same by its record, and whose it is if it is not known yet. If the record is another one than
    /// before, the shuffle began anew: what is known of the former one is forgotten.
    pub(super) async fn recorded(
        &self,
        key: &ShuffleKey,
        user: &str,
    ) -> Result<Option<Arc<AppShuffle>>> {
        let Some(query) = self.records.find(&key.application, key.shuffle).await? else {
            return Ok(None);
        };
        let mut shuffles = self.shuffles.write();
        let entry = shuffles.entry(key.to_string());
        let new = || Arc::new(AppShuffle::new(key.clone(), query, user.into()));
        let known = entry.or_insert_with(new);
        if known.query != query {
            *known = new();
        }
        Ok(Some(Arc::clone(known)))
    }

    pub(super) fn all(&self) -> Vec<Arc<AppShuffle>> {
        self.shuffles.read().values().cloned().collect()
    }

    /// The core has no room for something.
    pub(super) fn has_no_room(&self) {
        *self.full_at.lock() = Some(self.env.now());
    }

    /// The core had no room a moment ago.
    pub(super) fn is_full(&self) -> bool {
        let now = self.env.now();
        self.full_at.lock().is_some_and(|at| now.saturating_sub(at) < FULL_FOR)
    }

    /// Removes the data of these shuffles, whose records somebody has removed, if a look at the records says
    /// so, too. An error removes nothing.
    pub(super) async fn ended(&self, names: Vec<(String, i32)>) -> Result<()> {
        let key = |(app, shuffle): (String, i32)| ShuffleKey {
            application: app.as_str().into(),
            shuffle,
        };
        let known: Vec<_> = names.into_iter().filter_map(|name| self.known(&key(name))).collect();
        if known.is_empty() {
            return Ok(());
        }
        let wanted: HashSet<QueryId> = self.records.queries().await?.into_iter().collect();
        for shuffle in known.iter().filter(|shuffle| !wanted.contains(&shuffle.query)) {
            self.remove(shuffle.query).await?;
        }
        Ok(())
    }

    async fn remove(&self, query: QueryId) -> Result<()> {
        self.core.delete_query(query).await?;
        self.shuffles.write().retain(|_, shuffle| shuffle.query != query);
        tracing::info!(%query, "the data of a Celeborn shuffle are removed");
        Ok(())
    }

    /// Removes what no record names any more, if that was so at the last look, too. An error removes
    /// nothing.
    pub(super) async fn clean(&self) -> Result<()> {
        let held: HashSet<QueryId> = self
            .core
            .shuffles()
            .await?
            .into_iter()
            .filter(|shuffle| shuffle.is_foreign())
            .map(|shuffle| shuffle.query)
            .chain(self.all().iter().map(|shuffle| shuffle.query))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        // What is held was asked for first: a shuffle that comes now is not in it.
        let wanted: HashSet<QueryId> = self.records.queries().await?.into_iter().collect();
        let unwanted: HashSet<QueryId> = held.difference(&wanted).copied().collect();
        let before = std::mem::replace(&mut *self.gone.lock(), unwanted.clone());
        for query in unwanted.intersection(&before) {
            self.remove(*query).await?;
        }
        Ok(())
    }
}
