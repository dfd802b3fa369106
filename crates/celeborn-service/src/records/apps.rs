//! Applications: each is a record under two leases that its heartbeats keep.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Error, Kind, LeaseId, Result, Revision};
use dunlin_celeborn::sasl::Key;
use dunlin_metadata::{Compare, Entry, Op};
use futures::future::try_join;
use prost::Message;

use super::{APPS, IDS, Records, SHUFFLES, TRIES, app_key, decoded, escaped, unescaped};

/// For how many lives of a silent application the ids of its shuffles are remembered.
const MEMORY: u32 = 2;

/// An application that is alive. `Debug` does not show its key.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct App {
    /// Each heartbeat of the application keeps it.
    #[prost(int64, tag = "1")]
    pub(super) lease: i64,
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
    pub(super) key: Bytes,
    /// The lease of what is remembered longer. Kept together with the other one.
    #[prost(int64, tag = "10")]
    pub(super) memory: i64,
}

impl Debug for App {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { lease, tenant, user, since, .. } = self;
        write!(f, "App({tenant}/{user} since {since}, lease {lease})")
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

impl Records {
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

    /// The applications that are alive, by name.
    pub(crate) async fn apps(&self) -> Result<Vec<(String, App)>> {
        let entries = self.store.range(APPS).await?.entries;
        let named = |entry: &Entry| {
            let name = unescaped(entry.key.strip_prefix(APPS).unwrap_or_default());
            Ok((name, decoded::<App>(entry)?))
        };
        entries.iter().map(named).collect()
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
}

fn another(app: &str) -> Error {
    Error::invalid(format!("application {app} is registered already, with another secret"))
}
