//! The contract of the metadata store. Three backends keep it (embedded, etcd, sim) and one
//! conformance suite pins it on all three.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{LeaseId, Result, Revision};
use futures::stream::BoxStream;

/// A key: `/`-separated printable words, such as `q/{query}/meta`. At most 512 bytes.
pub type Key = String;

/// One key with its value and when it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value, at most 64 KiB and a record's overhead (see [`VALUE_LEN_MAX`]).
    pub value: Bytes,
    /// Revision at which the key came into being.
    pub created: Revision,
    /// Revision of the last write.
    pub modified: Revision,
    /// The lease that the key dies with, if any.
    pub lease: Option<LeaseId>,
}

/// All keys of a prefix at one revision, in key order.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The store's revision when they were read: watch from `revision + 1` to miss nothing.
    pub revision: Revision,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(Key),
    /// The key exists.
    Present(Key),
    /// The key exists and was last written at this revision.
    Modified(Key, Revision),
    /// The key exists and came into being at this revision (the fence of an owner's card).
    Created(Key, Revision),
    /// No key that begins with this prefix was written after this revision. Deletions do not count.
    Unwritten(Key, Revision),
}

impl Compare {
    /// The key that the condition is on, or the prefix of the keys.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key) | Self::Present(key) => key,
            Self::Modified(key, _) | Self::Created(key, _) | Self::Unwritten(key, _) => key,
        }
    }
}

/// A change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key; with a lease, the key is deleted when the lease ends.
    Put(Key, Bytes, Option<LeaseId>),
    /// Deletes a key if it exists.
    Delete(Key),
    /// Deletes all keys that begin with the prefix.
    DeletePrefix(Key),
}

/// Conditions and the changes that happen if all of them hold. At most 128 of each and 1 MiB in
/// all; no key is written twice (a put or delete below a deleted prefix counts as twice).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Applied together, at one revision.
    pub ops: Vec<Op>,
    /// What the answer stands for.
    pub durability: Durability,
}

/// What a committed transaction may be lost to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it is on disk when the answer comes.
    #[default]
    Synced,
    /// Power that fails within moments, and with it every process that saw the change. Never
    /// while a later change survives. For changes that mean nothing once those processes are gone,
    /// such as claims. A backend that other machines use (etcd) syncs these, too.
    Lazy,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// It happened, at this revision. Every changed key carries it as `modified`. A transaction
    /// that changes nothing (no changes, or only deletes of absent keys) makes no new revision and
    /// commits at the current one.
    Committed(Revision),
    /// A condition did not hold: nothing changed. The current entries of the compared keys, in the
    /// order of the conditions, spare the caller a read. (Of a prefix: the entry of the key that is
    /// the prefix itself.)
    Conflict(Vec<Option<Entry>>),
}

/// One change, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was written.
    Put(Entry),
    /// A key was deleted (or its lease ended), at this revision.
    Delete(Key, Revision),
    /// Changes were missed (the store compacted them, or the watcher was too slow): the receiver
    /// must read the prefix again. All later events are of later revisions than this one.
    Resync(Revision),
}

/// Changes of a prefix in revision order, none twice. A watch is a hint: it survives reconnects,
/// may say [`Event::Resync`], and ends only when the store closes. Dropping it ends it.
pub type Watch = BoxStream<'static, Vec<Event>>;

/// A lease: keys bound to it die when it is not kept for its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// How long it lives after the last keep. Backends may end it later, never earlier.
    pub ttl: Duration,
}

/// A shared store.
pub type StoreRef = Arc<dyn Store>;

/// The metadata store.
///
/// All calls are linearizable. Durability: a committed transaction survives a crash of the process
/// (embedded: fsynced; etcd: by consensus; sim: by decree). Every call has a bounded wait.
/// Errors: `Retry` (unreachable or overloaded; the outcome of a `txn` is then *unknown*: read back
/// before trying again), `Invalid` (a broken limit), `Fenced` (a lease that has ended; conditions
/// are judged first, and nothing has changed), `Exhausted` (the disk is full), `Lost` (what is
/// stored is corrupt).
/// Dropping a `txn` future leaves its outcome unknown; dropping any other call has no effect.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// One key.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// All keys that begin with `prefix`, at one revision.
    async fn range(&self, prefix: &str) -> Result<Snapshot>;

    /// Compares and swaps.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome>;

    /// Changes of keys that begin with `prefix`, from revision `from` on (inclusive; 0 and below
    /// mean the first). Changes of one transaction arrive in one batch.
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch>;

    /// A new lease that lives for `ttl` (at least a second) after the last keep.
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease>;

    /// The same for a holder that lives elsewhere and may outlive this process. In a store that is a part
    /// of the process, leases end with it; one like this goes on with the next process, which gives it
    /// another time to live, if keys are bound to it. `ttl` counts in whole seconds, at most 3 days.
    async fn lease_grant_lasting(&self, ttl: Duration) -> Result<Lease> {
        self.lease_grant(ttl).await
    }

    /// Keeps a lease alive for another time to live. `Fenced` if it has ended.
    async fn lease_keep(&self, lease: LeaseId) -> Result<()>;

    /// Ends a lease and deletes its keys now. Ending it twice is once.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<()>;
}

/// Longest value: an inlined plan of 64 KiB and the record around it.
pub const VALUE_LEN_MAX: usize = 96 * 1024;

/// Longest key.
pub const KEY_LEN_MAX: usize = 512;

/// Most conditions, and most changes, in one transaction.
pub const TXN_OPS_MAX: usize = 128;

/// Most bytes of keys and values in one transaction: etcd takes requests of 1.5 MiB.
pub const TXN_LEN_MAX: usize = 1024 * 1024;

/// Shortest lease.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(1);
