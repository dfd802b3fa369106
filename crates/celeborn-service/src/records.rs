//! What masters remember, in the metadata store: applications and their shuffles. Everything is under
//! the application's lease, so an application that says nothing any more leaves nothing behind.
//!
//! | key | record |
//! |---|---|
//! | `cb/apps/{app}` | [`App`] |
//! | `cb/shuffles/{app}/{shuffle}` | [`Shuffle`] |
//!
//! Names of applications come from clients; what a key could not hold is written as `%` and two digits.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, LeaseId, QueryId, Result, Revision};
use dunlin_metadata::{Compare, Entry, Event, LEASE_TTL_MIN, Op, StoreRef, Txn, TxnOutcome};
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;

const APPS: &str = "cb/apps/";
const SHUFFLES: &str = "cb/shuffles/";

/// A name that is longer as a key is refused.
const NAME_LEN_MAX: usize = 400;

/// How often a change is tried that others were quicker with.
const TRIES: usize = 5;

/// An application that is alive.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct App {
    /// Each heartbeat of the application keeps it.
    #[prost(int64, tag = "1")]
    lease: i64,
    /// Who runs it.
    #[prost(string, tag = "2")]
    pub(crate) tenant: String,
    #[prost(string, tag = "3")]
    pub(crate) user: String,
    /// When it was seen first, in milliseconds since 1970.
    #[prost(uint64, tag = "4")]
    pub(crate) since: u64,
    /// What it said of itself.
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) extra: BTreeMap<String, String>,
}

/// A shuffle that has slots.
#[derive(Clone, PartialEq, Message)]
struct Shuffle {
    /// The name of its data in the core: a [`QueryId`].
    #[prost(bytes = "bytes", tag = "1")]
    query: Bytes,
}

/// The records. Cheap to clone. Every call is one or a few transactions and may be repeated; `Retry`:
/// the store does not answer.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    store: StoreRef,
    env: Env,
    /// How long an application lives after its last word.
    ttl: Duration,
}

impl Records {
    pub(crate) fn new(store: StoreRef, env: Env, ttl: Duration) -> Self {
        Self { store, env, ttl }
    }

    /// The same for who only looks things up.
    pub(crate) fn of_worker(store: StoreRef, env: Env) -> Self {
        Self::new(store, env, LEASE_TTL_MIN)
    }

    /// The application says that it lives, and perhaps who it is. One that is not known, or was given
    /// up, begins anew: without shuffles.
    pub(crate) async fn beat(&self, app: &str, about: Option<&App>) -> Result<App> {
        let key = app_key(app)?;
        for _ in 0..TRIES {
            let found = self.store.get(&key).await?;
            let (known, modified) = match &found {
                Some(entry) => (decoded::<App>(entry)?, Some(entry.modified)),
                None => (App::default(), None),
            };
            let kept = match modified {
                Some(_) => self.keep(LeaseId(known.lease)).await?,
                None => false,
            };
            let news = about.filter(|about| !known.says(about));
            if kept && news.is_none() {
                return Ok(known);
            }
            let lease = match kept {
                true => LeaseId(known.lease),
                false => self.store.lease_grant(self.ttl).await?.id,
            };
            let said = news.unwrap_or(&known);
            let since = if kept { known.since } else { self.env.unix_ms() };
            let app = App { lease: lease.0, since, ..said.clone() };
            let compare = match modified {
                Some(revision) => Compare::Modified(key.clone(), revision),
                None => Compare::Absent(key.clone()),
            };
            let put = Op::Put(key.clone(), app.encode_to_vec().into(), Some(lease));
            match self.change(vec![compare], vec![put]).await {
                Ok(true) => return Ok(app),
                Ok(false) => {}
                Err(error) if error.kind() == Kind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry(format!("application {app} is changed by others all the time")))
    }

    /// The shuffle has slots from now on; the id that it has or gets. Durable when this returns.
    pub(crate) async fn open(&self, app: &str, shuffle: i32) -> Result<QueryId> {
        let key = shuffle_key(app, shuffle)?;
        for _ in 0..TRIES {
            if let Some(entry) = self.store.get(&key).await? {
                return query(&entry);
            }
            let owner = self.beat(app, None).await?;
            let id = QueryId::generate(&self.env);
            let record = Shuffle { query: Bytes::copy_from_slice(&id.to_u128().to_be_bytes()) };
            let lease = Some(LeaseId(owner.lease));
            let put = Op::Put(key.clone(), record.encode_to_vec().into(), lease);
            match self.change(vec![Compare::Absent(key.clone())], vec![put]).await {
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

    /// Tells of shuffles whose records are removed from now on, some or none at a time. A hint: what the store's
    /// watch misses is not told, and it ends when the store closes. `Retry`: the store does not answer.
    pub(crate) async fn ends(&self) -> Result<BoxStream<'static, Vec<(String, i32)>>> {
        let from = Revision(self.store.range(APPS).await?.revision.0 + 1);
        let watch = self.store.watch(SHUFFLES, from).await?;
        Ok(watch.map(|events| events.iter().filter_map(ended).collect()).boxed())
    }

    /// The applications that are alive, by name.
    pub(crate) async fn apps(&self) -> Result<Vec<(String, App)>> {
        let entries = self.store.range(APPS).await?.entries;
        let named = |entry: &Entry| {
            let name = unescaped(entry.key.strip_prefix(APPS).unwrap_or_default());
            Ok((name, decoded::<App>(entry)?))
        };
        entries.iter().map(named).collect()
    }

    /// The shuffle is not wanted any more.
    pub(crate) async fn close(&self, app: &str, shuffle: i32) -> Result<()> {
        let key = shuffle_key(app, shuffle)?;
        self.change(Vec::new(), vec![Op::Delete(key)]).await.map(drop)
    }

    /// The application has ended.
    pub(crate) async fn end(&self, app: &str) -> Result<()> {
        let lease = self.store.get(&app_key(app)?).await?.and_then(|entry| entry.lease);
        let shuffles = Op::DeletePrefix(format!("{SHUFFLES}{}/", escaped(app)?));
        self.change(Vec::new(), vec![Op::Delete(app_key(app)?), shuffles]).await?;
        match lease {
            Some(lease) => self.store.lease_revoke(lease).await,
            None => Ok(()),
        }
    }

    /// False: the lease has ended.
    async fn keep(&self, lease: LeaseId) -> Result<bool> {
        match self.store.lease_keep(lease).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Kind::Fenced => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn change(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<bool> {
        let txn = Txn { compares, ops, ..Txn::default() };
        Ok(matches!(self.store.txn(txn).await?, TxnOutcome::Committed(_)))
    }
}

impl App {
    /// Who the application is, by its own word.
    pub(crate) fn about(tenant: String, user: String, extra: BTreeMap<String, String>) -> Self {
        Self { tenant, user, extra, ..Self::default() }
    }

    /// True if what `about` says is known.
    fn says(&self, about: &Self) -> bool {
        (&self.tenant, &self.user, &self.extra) == (&about.tenant, &about.user, &about.extra)
    }
}

fn app_key(app: &str) -> Result<String> {
    Ok(format!("{APPS}{}", escaped(app)?))
}

fn shuffle_key(app: &str, shuffle: i32) -> Result<String> {
    Ok(format!("{SHUFFLES}{}/{shuffle}", escaped(app)?))
}

/// The application and the number of a shuffle whose record an event removes.
fn ended(event: &Event) -> Option<(String, i32)> {
    let Event::Delete(key, _) = event else { return None };
    let (app, shuffle) = key.strip_prefix(SHUFFLES)?.rsplit_once('/')?;
    Some((unescaped(app), shuffle.parse().ok()?))
}

fn decoded<T: Message + Default>(entry: &Entry) -> Result<T> {
    T::decode(entry.value.clone()).map_err(|e| {
        let key = &entry.key;
        Error::lost(format!("the record {key} cannot be read: {e}")).with_source(e)
    })
}

fn query(entry: &Entry) -> Result<QueryId> {
    let record: Shuffle = decoded(entry)?;
    let bytes = record.query.as_ref().try_into();
    let number = bytes.map(u128::from_be_bytes);
    number.map(QueryId::from_u128).map_err(|_| Error::lost(format!("{} has no id", entry.key)))
}

/// The name as a part of a key.
fn escaped(name: &str) -> Result<String> {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(byte as char),
            other => text.push_str(&format!("%{other:02x}")),
        }
    }
    if text.is_empty() || text.len() > NAME_LEN_MAX {
        return Err(Error::invalid("the id of an application is empty or too long"));
    }
    Ok(text)
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if *first == b'%' => {
                bytes.push(code);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dunlin_metadata::sim::SimStore;

    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn records() -> (Records, Env) {
        let env = Env::seeded(3);
        (Records::new(Arc::new(SimStore::new(env.clone())), env.clone(), TTL), env)
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_lives_as_long_as_it_beats() {
        let (records, env) = records();
        records.open("app", 4).await.expect("a first shuffle");
        for _ in 0..4 {
            env.sleep(TTL / 2).await;
            records.beat("app", None).await.expect("alive");
        }
        assert_eq!(records.shuffles("app").await.expect("read"), [4]);
        env.sleep(TTL * 2).await;
        assert_eq!(records.apps().await.expect("read"), []);
        assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
        records.beat("app", None).await.expect("it begins anew");
        assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shuffle_keeps_its_id_until_it_is_closed() {
        let (records, _) = records();
        let first = records.open("a/b", 1).await.expect("opened");
        assert_eq!(records.open("a/b", 1).await.expect("again"), first);
        let other = records.open("a/b", 12).await.expect("opened");
        assert_eq!(records.find("a/b", 1).await.expect("read"), Some(first));
        assert_eq!(records.find("a", 1).await.expect("read"), None);
        assert_eq!(records.shuffles("a/b").await.expect("read"), [1, 12]);
        records.close("a/b", 1).await.expect("closed");
        records.close("a/b", 1).await.expect("twice is once");
        assert_eq!(records.queries().await.expect("read"), [other]);
        let anew = records.open("a/b", 1).await.expect("opened anew");
        assert_ne!(anew, first, "data of the first may be left somewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_takes_the_shuffles_along_and_nobody_elses() {
        let (records, _) = records();
        for app in ["a", "a.1"] {
            records.open(app, 0).await.expect("opened");
        }
        records.end("a").await.expect("ended");
        records.end("a").await.expect("twice is once");
        let names: Vec<_> = records.apps().await.expect("read").into_iter().map(|a| a.0).collect();
        assert_eq!(names, ["a.1"]);
        assert_eq!(records.queries().await.expect("read").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_application_says_of_itself_is_kept() {
        let (records, _) = records();
        let extra = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let about = App::about("t".to_owned(), "u".to_owned(), extra);
        let said = records.beat("app", Some(&about)).await.expect("registered");
        let kept = records.beat("app", None).await.expect("alive");
        assert_eq!((&said, kept.user.as_str()), (&kept, "u"));
        let again = records.beat("app", Some(&about)).await.expect("the same again");
        assert_eq!(again, said);
    }

    #[test]
    fn names_read_back_whatever_is_in_them() {
        for name in ["app-1_2.x", "a/b", "%", "%2", "ä\n", "%41"] {
            assert_eq!(unescaped(&escaped(name).expect("a name")), name);
        }
        assert!(escaped("").is_err() && escaped(&"/".repeat(200)).is_err());
    }
}
