//! etcd as a [`Store`].

use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Env, Error, Kind, LeaseId, Result, Revision};
use etcd_client::{
    Client, ConnectOptions, GetOptions, GetResponse, KvClient, LeaseClient, WatchClient,
};

use super::convert::{Root, revision};
use super::error::from_etcd;
use super::watch;
use crate::limits;
use crate::store::{Entry, Lease, Snapshot, Store, Txn, TxnOutcome, VALUE_LEN_MAX, Watch};

/// Longest wait of one call. A leader election takes 1 to 2 s; a call that spans one may succeed.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A peer that is silent for the sum is gone. etcd refuses pings more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys per page of a range, so that a page of the longest values fits into a message.
const PAGE_KEYS: i64 = 512;

/// Longest message that we take: a page, or many transactions that a watch catches up with.
const MESSAGE_LEN_MAX: usize = 128 << 20;
const _: () = assert!(PAGE_KEYS as usize * (VALUE_LEN_MAX + 2048) < MESSAGE_LEN_MAX);

/// The store of a cluster: the keys below one root of an etcd.
///
/// Cheap to share: one channel, over which calls run side by side. Its watches go on until they are
/// dropped themselves.
pub struct EtcdStore {
    env: Env,
    root: Root,
    endpoints: String,
    kv: KvClient,
    leases: LeaseClient,
    watches: WatchClient,
}

impl std::fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EtcdStore({}, {:?})", self.endpoints, self.root)
    }
}

impl EtcdStore {
    /// Connects to the members at `endpoints` (each `host:port`) and reads once, so that a wrong
    /// address fails here. All keys lie below `root`, such as `/dunlin/`. `Retry`: no member
    /// answers; `Invalid`: an address that cannot be one, or no permission.
    pub async fn connect(endpoints: &[String], root: &str, env: Env) -> Result<Self> {
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(true)
            // A member that is cut off from the others must say so, not keep a watch waiting.
            .with_require_leader(true);
        let names = endpoints.join(",");
        let client = Client::connect(endpoints, Some(options))
            .await
            .map_err(|e| from_etcd("connect", e).context(&names))?;
        let store = Self {
            env,
            root: Root::new(root),
            endpoints: names,
            kv: client.kv_client().max_decoding_message_size(MESSAGE_LEN_MAX),
            leases: client.lease_client(),
            watches: client.watch_client().max_decoding_message_size(MESSAGE_LEN_MAX),
        };
        store.read("connect", "probe", None).await?;
        Ok(store)
    }

    /// Runs one call with its bounded wait.
    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T> {
        match self.env.timeout(CALL_TIMEOUT, call).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(e)) => Err(from_etcd(what, e).context(&self.endpoints)),
            None => Err(Error::retry(format!(
                "{}: etcd {what}: no answer within {CALL_TIMEOUT:?}",
                self.endpoints
            ))
            .with_hint("look whether etcd runs and has a leader")),
        }
    }

    async fn read(
        &self,
        what: &str,
        key: &str,
        options: Option<GetOptions>,
    ) -> Result<GetResponse> {
        self.call(what, self.kv.clone().get(self.root.key(key), options)).await
    }

    /// The next page of a range: from a key of etcd's on, at a revision (0 is now).
    async fn page(&self, from: Vec<u8>, end: Vec<u8>, at: i64) -> Result<GetResponse> {
        let options = GetOptions::new().with_range(end).with_limit(PAGE_KEYS).with_revision(at);
        self.call("range", self.kv.clone().get(from, Some(options))).await
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        limits::check_key(key)?;
        let response = self.read("get", key, None).await?;
        response.kvs().first().map(|kv| self.root.entry(kv)).transpose()
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        limits::check_prefix(prefix)?;
        let end = self.root.end_of(prefix);
        let mut page = self.page(self.root.key(prefix), end.clone(), 0).await?;
        // All pages are of the first one's revision.
        let revision = revision(page.header())?;
        let mut entries = Vec::with_capacity(page.kvs().len());
        loop {
            for kv in page.kvs() {
                entries.push(self.root.entry(kv)?);
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    let next = [last.key(), &[0]].concat();
                    page = self.page(next, end.clone(), revision.0).await?;
                }
                _ => return Ok(Snapshot { entries, revision }),
            }
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        limits::check_txn(&txn)?;
        let txn = self.root.txn(txn);
        let response = self.call("txn", self.kv.clone().txn(txn)).await?;
        self.root.outcome(&response)
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        limits::check_prefix(prefix)?;
        let source = watch::Source {
            env: self.env.clone(),
            root: self.root.clone(),
            prefix: prefix.to_owned(),
            watches: self.watches.clone(),
            kv: self.kv.clone(),
        };
        Ok(watch::start(source, from))
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        limits::check_ttl(ttl)?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let granted = self.call("lease grant", self.leases.clone().grant(seconds, None)).await?;
        // etcd may grant more than was asked, never less.
        let ttl = Duration::from_secs(granted.ttl().unsigned_abs());
        Ok(Lease { id: LeaseId(granted.id()), ttl })
    }

    async fn lease_keep(&self, lease: LeaseId) -> Result<()> {
        self.call("lease keep", self.leases.clone().keep_alive(lease.0)).await.map(drop)
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        match self.call("lease revoke", self.leases.clone().revoke(lease.0)).await {
            Err(e) if e.kind() != Kind::Fenced => Err(e),
            // Done, or it had ended before.
            _ => Ok(()),
        }
    }
}
