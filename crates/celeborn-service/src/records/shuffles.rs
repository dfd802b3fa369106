//! Shuffles: each is a record under the lease of its application, and once more under one that lasts longer.

use std::collections::BTreeSet;

use bytes::Bytes;
use dunlin_base::{Error, Kind, LeaseId, QueryId, Result, Revision};
use dunlin_celeborn::sasl::Key;
use dunlin_metadata::{Compare, Entry, Event, Op};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;

use super::{
    APPS, IDS, Records, SHUFFLES, TRIES, decoded, escaped, id_key, shuffle_key, unescaped,
};

/// A shuffle that has slots.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shuffle {
    /// The name of its data in the core: a [`QueryId`].
    #[prost(bytes = "bytes", tag = "1")]
    query: Bytes,
    /// The host of the driver that asked for slots.
    #[prost(string, tag = "10")]
    host: String,
    /// The [`Key`] of its application, empty if it has none: a later one of the same name does not get it.
    #[prost(bytes = "bytes", tag = "11")]
    pub(super) key: Bytes,
}

impl Records {
    /// The shuffle has slots from now on; the id that it has or gets. Durable when this returns.
    /// `host`: where its driver is.
    pub(crate) async fn open(
        &self,
        (app, shuffle): (&str, i32),
        host: &str,
        proved: Option<Key>,
    ) -> Result<QueryId> {
        let (key, id_key) = (shuffle_key(app, shuffle)?, id_key(app, shuffle)?);
        for _ in 0..TRIES {
            if let Some(entry) = self.store.get(&key).await? {
                return query(&entry);
            }
            let owner = self.beat(app, None, proved).await?;
            let id = QueryId::generate(&self.env);
            let query = Bytes::copy_from_slice(&id.to_u128().to_be_bytes());
            let shuffle = Shuffle { query, host: host.to_owned(), key: owner.key.clone() };
            let record = Bytes::from(shuffle.encode_to_vec());
            let puts = vec![
                Op::Put(key.clone(), record.clone(), Some(LeaseId(owner.lease))),
                Op::Put(id_key.clone(), record, Some(LeaseId(owner.memory))),
            ];
            match self.change(vec![Compare::Absent(key.clone())], puts).await {
                Ok(true) => return Ok(id),
                Ok(false) => {}
                Err(error) if error.kind() == Kind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry(format!("shuffle {shuffle} of application {app} cannot be registered")))
    }

    /// The id of a shuffle that has slots.
    pub(crate) async fn find(&self, app: &str, shuffle: i32) -> Result<Option<QueryId>> {
        let entry = self.store.get(&shuffle_key(app, shuffle)?).await?;
        entry.as_ref().map(query).transpose()
    }

    /// The shuffles of an application, in order.
    pub(crate) async fn shuffles(&self, app: &str) -> Result<Vec<i32>> {
        let prefix = format!("{SHUFFLES}{}/", escaped(app)?);
        let entries = self.store.range(&prefix).await?.entries;
        let number = |entry: &Entry| entry.key.strip_prefix(&prefix)?.parse().ok();
        let mut all: Vec<i32> = entries.iter().filter_map(number).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// The ids of all shuffles that have slots.
    pub(crate) async fn queries(&self) -> Result<Vec<QueryId>> {
        self.store.range(SHUFFLES).await?.entries.iter().map(query).collect()
    }

    /// All shuffles that have slots: application and number.
    pub(crate) async fn all_shuffles(&self) -> Result<Vec<(String, i32)>> {
        let named = |entry: &Entry| {
            let (app, shuffle) = entry.key.strip_prefix(SHUFFLES)?.rsplit_once('/')?;
            Some((unescaped(app), shuffle.parse().ok()?))
        };
        Ok(self.store.range(SHUFFLES).await?.entries.iter().filter_map(named).collect())
    }

    /// The hosts of drivers whose shuffles have slots.
    pub(crate) async fn hosts(&self) -> Result<BTreeSet<String>> {
        let entries = self.store.range(SHUFFLES).await?.entries;
        let host = |entry: &Entry| decoded::<Shuffle>(entry).map(|shuffle| shuffle.host);
        let hosts: Result<BTreeSet<String>> = entries.iter().map(host).collect();
        hosts.map(|mut hosts| {
            hosts.remove("");
            hosts
        })
    }

    /// Tells of shuffles that are given up from now on, some or none at a time: nobody remembers their ids, so
    /// they cannot come back. A hint: what the store's watch misses is not told, and it ends when the store closes. `Retry`: the store does not answer.
    pub(crate) async fn ends(&self) -> Result<BoxStream<'static, Vec<(String, i32)>>> {
        let from = Revision(self.store.range(APPS).await?.revision.0 + 1);
        let watch = self.store.watch(IDS, from).await?;
        Ok(watch.map(|events| events.iter().filter_map(ended).collect()).boxed())
    }

    /// The shuffle is not wanted any more.
    pub(crate) async fn close(&self, app: &str, shuffle: i32) -> Result<()> {
        let (key, id) = (shuffle_key(app, shuffle)?, id_key(app, shuffle)?);
        self.change(Vec::new(), vec![Op::Delete(key), Op::Delete(id)]).await.map(drop)
    }
}

/// The application and the number of a shuffle whose id an event removes.
fn ended(event: &Event) -> Option<(String, i32)> {
    let Event::Delete(key, _) = event else { return None };
    let (app, shuffle) = key.strip_prefix(IDS)?.rsplit_once('/')?;
    Some((unescaped(app), shuffle.parse().ok()?))
}

pub(super) fn query(entry: &Entry) -> Result<QueryId> {
    let record: Shuffle = decoded(entry)?;
    let bytes = record.query.as_ref().try_into();
    let number = bytes.map(u128::from_be_bytes);
    number.map(QueryId::from_u128).map_err(|_| Error::lost(format!("{} has no id", entry.key)))
}
