//! A prefix of the store kept in memory: read once, then followed by a watch, with a jittered
//! re-read as the safety net.

use std::collections::BTreeMap;
use std::time::Duration;

use dunlin_base::{Env, Result, Revision};
use dunlin_metadata::{Entry, Event, Key, StoreRef, Watch};
use futures::StreamExt;

/// Touched keys that are told one by one.
const TOUCHED_MAX: usize = 1024;

pub(crate) struct Mirror {
    store: StoreRef,
    env: Env,
    prefix: String,
    reread: Duration,
    entries: BTreeMap<Key, Entry>,
    /// What has changed since it was last asked.
    touched: Touched,
    watch: Option<Watch>,
    /// Changes up to here are in the entries.
    seen: Revision,
    /// The entries must be read again before anything else.
    stale: bool,
    /// When the safety re-read is due, however often the caller starts to wait anew.
    reread_at: Duration,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({}, {} entries)", self.prefix, self.entries.len())
    }
}

impl Mirror {
    pub(crate) async fn open(
        store: StoreRef,
        env: Env,
        prefix: String,
        reread: Duration,
    ) -> Result<Self> {
        let mut mirror = Self {
            store,
            env,
            prefix,
            reread,
            entries: BTreeMap::new(),
            touched: Touched::All,
            watch: None,
            seen: Revision(0),
            stale: true,
            reread_at: Duration::ZERO,
        };
        mirror.refresh().await?;
        Ok(mirror)
    }

    pub(crate) fn entries(&self) -> &BTreeMap<Key, Entry> {
        &self.entries
    }

    /// What has changed since the last call.
    pub(crate) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Returns after a change, and at the latest after the safety re-read. Dropping it loses
    /// nothing.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        loop {
            let Some(watch) = self.watch.as_mut().filter(|_| !self.stale) else {
                self.refresh().await?;
                return Ok(());
            };
            let limit = self.reread_at.saturating_sub(self.env.now());
            match self.env.timeout(limit, watch.next()).await {
                None => self.stale = true,
                Some(None) => self.watch = None,
                Some(Some(events)) => {
                    if self.apply(events) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn apply(&mut self, events: Vec<Event>) -> bool {
        let mut changed = false;
        for event in events {
            match event {
                Event::Put(entry) if entry.modified > self.seen => {
                    self.touched.add(&entry.key);
                    self.entries.insert(entry.key.clone(), entry);
                    changed = true;
                }
                Event::Delete(key, revision) if revision > self.seen => {
                    self.touched.add(&key);
                    changed |= self.entries.remove(&key).is_some();
                }
                Event::Put(_) | Event::Delete(..) => {}
                Event::Resync(_) => self.stale = true,
            }
        }
        changed
    }

    async fn refresh(&mut self) -> Result<()> {
        let snapshot = self.store.range(&self.prefix).await?;
        if self.watch.is_none() {
            let from = Revision(snapshot.revision.0 + 1);
            self.watch = Some(self.store.watch(&self.prefix, from).await?);
        }
        self.entries = snapshot.entries.into_iter().map(|e| (e.key.clone(), e)).collect();
        self.touched = Touched::All;
        self.seen = snapshot.revision;
        self.stale = false;
        self.reread_at = self.env.now() + jittered(&self.env, self.reread);
        Ok(())
    }
}

/// Which entries of a mirror have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// All may have.
    All,
    /// These.
    Keys(Vec<Key>),
}

impl Default for Touched {
    fn default() -> Self {
        Self::Keys(Vec::new())
    }
}

impl Touched {
    fn add(&mut self, key: &Key) {
        match self {
            Self::Keys(keys) if keys.len() < TOUCHED_MAX => keys.push(key.clone()),
            other => *other = Self::All,
        }
    }
}

/// Between half of `middle` and one and a half of it, so that processes do not re-read in step.
pub(crate) fn jittered(env: &Env, middle: Duration) -> Duration {
    let micros = middle.as_micros() as u64;
    Duration::from_micros(micros / 2 + env.random_below(micros.max(1)))
}
