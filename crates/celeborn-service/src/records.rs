//! What masters remember, in the metadata store: applications and their shuffles. Everything is under
//! a lease of the application, so an application that says nothing any more leaves nothing behind.
//!
//! | key | record |
//! |---|---|
//! | `cb/apps/{app}` | [`App`] |
//! | `cb/shuffles/{app}/{shuffle}` | [`Shuffle`] |
//! | `cb/ids/{app}/{shuffle}` | the same; it outlives the others for some time, see `lost` |
//! | `cb/excluded/{worker}` | that an administrator has excluded it, see `excluded` |
//!
//! Names of applications come from clients; what a key could not hold is written as `%` and two digits.

mod excluded;
mod lost;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, LeaseId, QueryId, Result, Revision};
use dunlin_celeborn::sasl::Key;
use dunlin_metadata::{Compare, Entry, Event, LEASE_TTL_MIN, Op, StoreRef, Txn, TxnOutcome};
use futures::StreamExt;
use futures::future::try_join;
use futures::stream::BoxStream;
use prost::Message;

const APPS: &str = "cb/apps/";
const SHUFFLES: &str = "cb/shuffles/";
const IDS: &str = "cb/ids/";

/// For how many lives of a silent application the ids of its shuffles are remembered.
const MEMORY: u32 = 2;

/// A name that is longer as a key is refused.
const NAME_LEN_MAX: usize = 400;

/// How often a change is tried that others were quicker with.
const TRIES: usize = 5;

/// An application that is alive. `Debug` does not show its key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
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
    /// What it proves itself with, a [`Key`]; empty if it never registered a secret.
    #[prost(bytes = "bytes", tag = "6")]
    key: Bytes,
    /// The lease of what is remembered longer. Kept together with the other one.
    #[prost(int64, tag = "10")]
    memory: i64,
}

impl Debug for App {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { lease, tenant, user, since, .. } = self;
        write!(f, "App({tenant}/{user} since {since}, lease {lease})")
    }
}

/// A shuffle that has slots.
#[derive(Clone, PartialEq, Message)]
struct Shuffle {
    /// The name of its data in the core: a [`QueryId`].
    #[prost(bytes = "bytes", tag = "1")]
    query: Bytes,
    /// The host of the driver that asked for slots.
    #[prost(string, tag = "10")]
    host: String,
    /// The [`Key`] of its application, empty if it has none: a later one of the same name does not get it.
    #[prost(bytes = "bytes", tag = "11")]
    key: Bytes,
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
    /// up, begins anew: without shuffles, and with the key that it proved, if it did. `Invalid`: one of
    /// this name is alive that has another key.
    pub(crate) async fn beat(
        &self,
        app: &str,
        about: Option<&App>,
        proved: Option<Key>,
    ) -> Result<App> {
        let key = app_key(app)?;
        for _ in 0..TRIES {
            let found = self.store.get(&key).await?;
            let (known, modified) = match &found {
                Some(entry) => (decoded::<App>(entry)?, Some(entry.modified)),
                None => (App::default(), None),
            };
            let (kept, remembered) = match modified {
                Some(_) => try_join(self.keep(known.lease), self.keep(known.memory)).await?,
                None => (false, false),
            };
            if kept && proved.is_some_and(|key| known.key() != Some(key)) {
                return Err(another(app));
            }
            let news = about.filter(|about| !known.says(about));
            if kept && remembered && news.is_none() {
                return Ok(known);
            }
            let lease = self.lease(kept, known.lease, self.ttl).await?;
            let memory = self.lease(remembered, known.memory, self.ttl * MEMORY).await?.0;
            let said = news.unwrap_or(&known);
            let since = if kept { known.since } else { self.env.unix_ms() };
            let proof = match proved {
                Some(key) => Bytes::copy_from_slice(&key.to_bytes()),
                None if kept => known.key.clone(),
                None => Bytes::new(),
            };
            let app = App { lease: lease.0, memory, since, key: proof, ..said.clone() };
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

    /// The key of an application that is alive and has one, and when its record was written.
    pub(crate) async fn key(&self, app: &str) -> Result<Option<(Key, Revision)>> {
        let Some(entry) = self.store.get(&app_key(app)?).await? else { return Ok(None) };
        Ok(decoded::<App>(&entry)?.key().map(|key| (key, entry.modified)))
    }

    /// `Invalid`: an application of this name is alive that has another key.
    pub(crate) async fn is_still(&self, app: &str, proved: Key) -> Result<()> {
        match self.store.get(&app_key(app)?).await? {
            Some(entry) if decoded::<App>(&entry)?.key() != Some(proved) => Err(another(app)),
            _ => Ok(()),
        }
    }

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
        let (key, id) = (shuffle_key(app, shuffle)?, id_key(app, shuffle)?);
        self.change(Vec::new(), vec![Op::Delete(key), Op::Delete(id)]).await.map(drop)
    }

    /// The application has ended.
    pub(crate) async fn end(&self, app: &str) -> Result<()> {
        let known = self.store.get(&app_key(app)?).await?;
        let name = escaped(app)?;
        let all = |of: &str| Op::DeletePrefix(format!("{of}{name}/"));
        let ops = vec![Op::Delete(app_key(app)?), all(SHUFFLES), all(IDS)];
        self.change(Vec::new(), ops).await?;
        let Some(known) = known.as_ref().map(decoded::<App>).transpose()? else { return Ok(()) };
        self.store.lease_revoke(LeaseId(known.lease)).await?;
        self.store.lease_revoke(LeaseId(known.memory)).await
    }

    /// A lease that was kept, or one of this length.
    async fn lease(&self, kept: bool, known: i64, ttl: Duration) -> Result<LeaseId> {
        match kept {
            true => Ok(LeaseId(known)),
            // Its holder is a driver, whatever becomes of this process.
            false => Ok(self.store.lease_grant_lasting(ttl).await?.id),
        }
    }

    /// False: the lease has ended.
    async fn keep(&self, lease: i64) -> Result<bool> {
        match self.store.lease_keep(LeaseId(lease)).await {
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

    /// What it proves itself with.
    pub(crate) fn key(&self) -> Option<Key> {
        Key::from_bytes(&self.key).ok()
    }

    /// True if what `about` says is known.
    fn says(&self, about: &Self) -> bool {
        (&self.tenant, &self.user, &self.extra) == (&about.tenant, &about.user, &about.extra)
    }
}

fn another(app: &str) -> Error {
    Error::invalid(format!("application {app} is registered already, with another secret"))
}

fn app_key(app: &str) -> Result<String> {
    Ok(format!("{APPS}{}", escaped(app)?))
}

fn shuffle_key(app: &str, shuffle: i32) -> Result<String> {
    Ok(format!("{SHUFFLES}{}/{shuffle}", escaped(app)?))
}

fn id_key(app: &str, shuffle: i32) -> Result<String> {
    Ok(format!("{IDS}{}/{shuffle}", escaped(app)?))
}

/// The application and the number of a shuffle whose id an event removes.
fn ended(event: &Event) -> Option<(String, i32)> {
    let Event::Delete(key, _) = event else { return None };
    let (app, shuffle) = key.strip_prefix(IDS)?.rsplit_once('/')?;
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
pub(crate) mod tests {
    use std::sync::Arc;

    use dunlin_metadata::sim::SimStore;

    use super::*;

    pub(super) const TTL: Duration = Duration::from_secs(300);

    pub(super) fn records() -> (Records, Env) {
        let env = Env::seeded(3);
        (Records::new(Arc::new(SimStore::new(env.clone())), env.clone(), TTL), env)
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_lives_as_long_as_it_beats() {
        let (records, env) = records();
        records.open(("app", 4), "h", None).await.expect("a first shuffle");
        for _ in 0..4 {
            env.sleep(TTL / 2).await;
            records.beat("app", None, None).await.expect("alive");
        }
        assert_eq!(records.shuffles("app").await.expect("read"), [4]);
        env.sleep(TTL * 2).await;
        assert_eq!(records.apps().await.expect("read"), []);
        assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
        records.beat("app", None, None).await.expect("it begins anew");
        assert_eq!(records.shuffles("app").await.expect("read"), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shuffle_keeps_its_id_until_it_is_closed() {
        let (records, _) = records();
        let first = records.open(("a/b", 1), "h", None).await.expect("opened");
        assert_eq!(records.open(("a/b", 1), "h", None).await.expect("again"), first);
        let other = records.open(("a/b", 12), "h", None).await.expect("opened");
        assert_eq!(records.find("a/b", 1).await.expect("read"), Some(first));
        assert_eq!(records.find("a", 1).await.expect("read"), None);
        assert_eq!(records.shuffles("a/b").await.expect("read"), [1, 12]);
        records.close("a/b", 1).await.expect("closed");
        records.close("a/b", 1).await.expect("twice is once");
        assert_eq!(records.queries().await.expect("read"), [other]);
        let anew = records.open(("a/b", 1), "h", None).await.expect("opened anew");
        assert_ne!(anew, first, "data of the first may be left somewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_takes_the_shuffles_along_and_nobody_elses() {
        let (records, _) = records();
        for app in ["a", "a.1"] {
            records.open((app, 0), "h", None).await.expect("opened");
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
        let said = records.beat("app", Some(&about), None).await.expect("registered");
        let kept = records.beat("app", None, None).await.expect("alive");
        assert_eq!((&said, kept.user.as_str()), (&kept, "u"));
        let again = records.beat("app", Some(&about), None).await.expect("the same again");
        assert_eq!(again, said);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_bound_to_the_secret_that_came_first_until_the_application_ends() {
        let (records, env) = records();
        let [first, other] = ["first", "other"].map(|secret| Key::new("app", secret));
        let about = App::about("t".to_owned(), "u".to_owned(), BTreeMap::new());
        records.beat("app", None, Some(first)).await.expect("registered");
        records.beat("app", None, Some(first)).await.expect("the same again");
        records.beat("app", Some(&about), Some(first)).await.expect("alive");
        assert_eq!(records.key("app").await.expect("read").map(|(key, _)| key), Some(first));
        for refused in [
            records.beat("app", None, Some(other)).await.map(drop),
            records.open(("app", 0), "h", Some(other)).await.map(drop),
            records.is_still("app", other).await,
        ] {
            let error = refused.expect_err("another secret");
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
        }
        env.sleep(TTL * 2).await;
        assert_eq!(records.key("app").await.expect("read"), None);
        records.is_still("app", other).await.expect("it has ended");
        records.beat("app", None, Some(other)).await.expect("the name is free");
        records.end("app").await.expect("ended");
        records.beat("app", None, None).await.expect("one that was not asked");
        let error = records.beat("app", None, Some(first)).await.expect_err("it is taken");
        assert!(error.message().contains("registered already"), "{error}");
    }

    #[test]
    fn names_read_back_whatever_is_in_them() {
        for name in ["app-1_2.x", "a/b", "%", "%2", "ä\n", "%41"] {
            assert_eq!(unescaped(&escaped(name).expect("a name")), name);
        }
        assert!(escaped("").is_err() && escaped(&"/".repeat(200)).is_err());
    }
}
