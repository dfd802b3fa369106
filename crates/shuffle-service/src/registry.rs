//! All shuffles of a worker by id, and the queries that have ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_base::{Error, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use parking_lot::RwLock;

use crate::bounded::BoundedSet;
use crate::partition::Partition;
use crate::shuffle::Shuffle;

/// The table of shuffles.
pub(crate) struct Registry(RwLock<Inner>);

struct Inner {
    shuffles: BTreeMap<ShuffleId, Arc<Shuffle>>,
    /// For whom queries run that have pushed.
    users: BTreeMap<QueryId, Arc<str>>,
    ended: BoundedSet<QueryId>,
}

/// Whose share of memory it is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    User(&'a str),
    Query(QueryId),
}

impl Registry {
    pub(crate) fn new(tombstones: usize) -> Self {
        let ended = BoundedSet::new(tombstones);
        Self(RwLock::new(Inner { shuffles: BTreeMap::new(), users: BTreeMap::new(), ended }))
    }

    pub(crate) fn get(&self, id: ShuffleId) -> Option<Arc<Shuffle>> {
        self.0.read().shuffles.get(&id).cloned()
    }

    /// The shuffle, made known if need be. `Fenced` if its query has ended.
    pub(crate) fn open(&self, id: ShuffleId) -> Result<Arc<Shuffle>> {
        if let Some(shuffle) = self.get(id) {
            return Ok(shuffle);
        }
        let mut inner = self.0.write();
        if inner.ended.contains(&id.query) {
            return Err(Error::fenced(format!("query {} has ended", id.query)));
        }
        let new = || Arc::new(Shuffle::new(id));
        Ok(Arc::clone(inner.shuffles.entry(id).or_insert_with(new)))
    }

    /// Takes out all shuffles of a query and remembers that it has ended.
    pub(crate) fn end(&self, query: QueryId) -> Vec<Arc<Shuffle>> {
        let at = |word| ShuffleId { query, stage: StageId(word), epoch: StageEpoch(word) };
        let mut inner = self.0.write();
        inner.ended.insert(query);
        inner.users.remove(&query);
        let ids: Vec<_> = inner.shuffles.range(at(0)..=at(u32::MAX)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| inner.shuffles.remove(id)).collect()
    }

    /// Remembers for whom a query runs; the first word counts. Forgotten when the query ends.
    pub(crate) fn is_for(&self, query: QueryId, user: &Arc<str>) {
        if self.0.read().users.contains_key(&query) {
            return;
        }
        let mut inner = self.0.write();
        if !inner.ended.contains(&query) {
            inner.users.entry(query).or_insert_with(|| Arc::clone(user));
        }
    }

    /// Body bytes in memory: of the user of this query, of all, and how many users have any. A query
    /// of which nobody has said for whom it runs counts as a user of its own.
    pub(crate) fn shares(&self, query: QueryId) -> (u64, u64, u64) {
        let inner = self.0.read();
        let who = |query: QueryId| match inner.users.get(&query) {
            Some(user) => Who::User(user),
            None => Who::Query(query),
        };
        let mut shares = BTreeMap::new();
        for (id, shuffle) in &inner.shuffles {
            let bytes = shuffle.memory_bytes();
            if bytes > 0 {
                *shares.entry(who(id.query)).or_insert(0) += bytes;
            }
        }
        let mine = shares.get(&who(query)).copied().unwrap_or_default();
        (mine, shares.values().sum(), shares.len() as u64)
    }

    /// Takes back what a former life knew; see `take_over`.
    pub(crate) fn restore(&self, shuffles: Vec<Shuffle>, ended: impl Iterator<Item = QueryId>) {
        let mut inner = self.0.write();
        ended.for_each(|query| inner.ended.insert(query));
        inner.shuffles.extend(shuffles.into_iter().map(|one| (one.id(), Arc::new(one))));
    }

    /// Queries that have ended, the latest last.
    pub(crate) fn ended(&self) -> Vec<QueryId> {
        self.0.read().ended.iter().copied().collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Shuffle>> {
        self.0.read().shuffles.values().cloned().collect()
    }

    pub(crate) fn ids(&self) -> Vec<ShuffleId> {
        self.0.read().shuffles.keys().copied().collect()
    }

    /// All partitions.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.all().iter().flat_map(|shuffle| shuffle.partitions()).collect()
    }

    /// All partitions with bodies in memory, the largest first.
    pub(crate) fn largest(&self) -> Vec<Arc<Partition>> {
        let mut sized: Vec<_> = self
            .partitions()
            .into_iter()
            .map(|partition| (partition.memory_bytes(), partition))
            .filter(|(bytes, _)| *bytes > 0)
            .collect();
        sized.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        sized.into_iter().map(|(_, partition)| partition).collect()
    }
}
