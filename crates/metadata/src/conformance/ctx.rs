//! What a case works with: a store, short forms of its calls, and checks that fail with a text.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, LeaseId, Result, Revision};
use futures::StreamExt;

use crate::store::{Compare, Entry, Event, Op, StoreRef, Txn, TxnOutcome, Watch};

/// Longest wait for an event that must come.
const EVENT_TIMEOUT: Duration = Duration::from_secs(15);

/// Fails the case with a text unless the condition holds.
macro_rules! check {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(dunlin_base::Error::bug(format!($($text)+)));
        }
    };
}
pub(super) use check;

/// Fails the case unless both are equal.
pub(super) fn check_eq<T: PartialEq + Debug>(what: &str, is: T, should: T) -> Result<()> {
    check!(is == should, "{what}: is {is:?}, should be {should:?}");
    Ok(())
}

/// Fails the case unless the result is an error of this kind.
pub(super) fn check_kind<T: Debug>(what: &str, is: Result<T>, should: Kind) -> Result<()> {
    match is {
        Err(e) if e.kind() == should => Ok(()),
        Err(e) => Err(Error::bug(format!("{what}: is {} ({e}), should be {should}", e.kind()))),
        Ok(value) => Err(Error::bug(format!("{what}: is {value:?}, should be {should}"))),
    }
}

/// A write without a lease.
pub(super) fn put(key: &str, value: &str) -> Op {
    Op::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), None)
}

/// A write bound to a lease.
pub(super) fn bind(key: &str, lease: LeaseId) -> Op {
    Op::Put(key.to_owned(), Bytes::from_static(b"bound"), Some(lease))
}

/// The case's world.
#[derive(Clone)]
pub(super) struct Ctx {
    pub(super) store: StoreRef,
    pub(super) env: Env,
    pub(super) lease_ttl: Duration,
    pub(super) lease_slack: Duration,
}

impl Ctx {
    /// A transaction.
    pub(super) async fn txn(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<TxnOutcome> {
        self.store.txn(Txn { compares, ops, ..Txn::default() }).await
    }

    /// A transaction without conditions, which must commit.
    pub(super) async fn write(&self, ops: Vec<Op>) -> Result<Revision> {
        self.commit(vec![], ops).await
    }

    /// A transaction that must commit.
    pub(super) async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Revision> {
        match self.txn(compares, ops).await? {
            TxnOutcome::Committed(revision) => Ok(revision),
            TxnOutcome::Conflict(entries) => {
                Err(Error::bug(format!("a conflict where none should be: {entries:?}")))
            }
        }
    }

    /// A transaction that must meet a conflict.
    pub(super) async fn conflict(
        &self,
        compares: Vec<Compare>,
        ops: Vec<Op>,
    ) -> Result<Vec<Option<Entry>>> {
        match self.txn(compares, ops).await? {
            TxnOutcome::Conflict(entries) => Ok(entries),
            TxnOutcome::Committed(revision) => {
                Err(Error::bug(format!("committed at {revision} where a conflict should be")))
            }
        }
    }

    /// The text of a key, if it exists.
    pub(super) async fn text(&self, key: &str) -> Result<Option<String>> {
        let entry = self.store.get(key).await?;
        Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
    }

    /// An entry that must exist.
    pub(super) async fn entry(&self, key: &str) -> Result<Entry> {
        let entry = self.store.get(key).await?;
        entry.ok_or_else(|| Error::bug(format!("key '{key}' does not exist")))
    }

    /// The keys below a prefix.
    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let snapshot = self.store.range(prefix).await?;
        Ok(snapshot.entries.into_iter().map(|entry| entry.key).collect())
    }

    /// A watch that can be waited on.
    pub(super) async fn watch(&self, prefix: &str, from: Revision) -> Result<Events> {
        let watch = self.store.watch(prefix, from).await?;
        Ok(Events { env: self.env.clone(), watch, waiting: VecDeque::new() })
    }

    /// Longest life of an unkept lease.
    pub(super) fn lease_end(&self, ttl: Duration) -> Duration {
        ttl + self.lease_slack
    }
}

/// The events of a watch, one by one.
pub(super) struct Events {
    env: Env,
    watch: Watch,
    waiting: VecDeque<Event>,
}

impl Events {
    /// The next batch, which must come within `limit`.
    pub(super) async fn batch(&mut self, limit: Duration) -> Result<Vec<Event>> {
        match self.env.timeout(limit, self.watch.next()).await {
            Some(Some(batch)) => Ok(batch),
            Some(None) => Err(Error::bug("the watch ended")),
            None => Err(Error::bug(format!("no event within {limit:?}"))),
        }
    }

    /// The next event as text: `+key=value@revision` or `-key@revision`. A resync is an error:
    /// no case outruns what a store must remember.
    pub(super) async fn next(&mut self) -> Result<String> {
        self.next_within(EVENT_TIMEOUT).await
    }

    /// The next event within `limit`.
    pub(super) async fn next_within(&mut self, limit: Duration) -> Result<String> {
        while self.waiting.is_empty() {
            self.waiting = self.batch(limit).await?.into();
        }
        match self.waiting.pop_front() {
            Some(Event::Put(e)) => {
                let value = String::from_utf8_lossy(&e.value).into_owned();
                Ok(format!("+{}={value}@{}", e.key, e.modified))
            }
            Some(Event::Delete(key, revision)) => Ok(format!("-{key}@{revision}")),
            other => Err(Error::bug(format!("an event is missing: {other:?}"))),
        }
    }

    /// The next events must be these.
    pub(super) async fn expect(&mut self, events: &[String]) -> Result<()> {
        for (i, should) in events.iter().enumerate() {
            let is = self.next().await?;
            check!(is == *should, "event {i}: is {is}, should be {should}");
        }
        Ok(())
    }
}
