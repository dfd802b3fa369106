//! The store of simulations and of the `memory:` setting: everything in one process's memory.
//!
//! Without [`Faults`] it answers at once, from behind one short lock, and is safe to share between
//! threads. With faults it delays calls, loses acknowledgements and drops watch events, all drawn
//! from the [`Env`]'s seed: on one thread with paused time a run is a function of that seed. It
//! never lies: a conflict is a conflict, and what it says was committed was committed.
//!
//! It spawns nothing. Leases end, and late transactions happen, when the next call or the next poll
//! of a watch notices that their time has come.

mod faults;
mod state;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Env, Error, LeaseId, Result, Revision};
use futures::StreamExt;
use parking_lot::Mutex;

pub use faults::{Faults, Fired};

use crate::limits;
use crate::store::{Entry, Event, Lease, Snapshot, Store, Txn, TxnOutcome, Watch};
use faults::Dice;
use state::State;

/// An in-memory store. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct SimStore {
    env: Env,
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    dice: Dice,
}

impl std::fmt::Debug for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimStore")
    }
}

impl SimStore {
    /// An empty store without faults. Time and chance come from `env`.
    pub fn new(env: Env) -> Self {
        let inner = Inner { state: Mutex::new(State::new()), dice: Dice::new(env.clone()) };
        Self { env, inner: Arc::new(inner) }
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.dice.set(faults);
    }

    /// How often each fault has fired: a test of faults asserts that they did.
    pub fn fired(&self) -> Fired {
        self.inner.dice.fired()
    }

    /// Calls `observer` with the changes of every transaction and every ended lease, in revision
    /// order, at the moment they take effect and under the store's lock: it must not call the
    /// store. For checkers.
    pub fn observe(&self, observer: impl Fn(Revision, &[Event]) + Send + Sync + 'static) {
        self.inner.state.lock().observe(Box::new(observer));
    }

    /// Runs `call` on the state, after everything whose time has come.
    fn locked<T>(&self, call: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.env.now();
        let mut state = self.inner.state.lock();
        state.settle(now);
        call(&mut state, now)
    }

    /// One call that changes no keys by a transaction: delayed, perhaps refused.
    async fn call<T>(&self, call: impl FnOnce(&mut State, Duration) -> T) -> Result<T> {
        if !self.inner.dice.armed() {
            return Ok(self.locked(call));
        }
        self.inner.dice.wait_before().await;
        if self.inner.dice.refuse() {
            return Err(unreachable());
        }
        let answer = self.locked(call);
        self.inner.dice.wait_after().await;
        Ok(answer)
    }

    async fn faulty_txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let dice = &self.inner.dice;
        dice.wait_before().await;
        if dice.refuse() {
            return Err(unreachable());
        }
        if let Some(delay) = dice.late() {
            self.locked(|state, now| state.apply_later(now + delay, txn))?;
            return Err(unreachable());
        }
        let outcome = self.locked(|state, _| state.apply(txn))?;
        dice.wait_after().await;
        if dice.lose_acknowledgement() {
            return Err(unreachable());
        }
        Ok(outcome)
    }
}

fn unreachable() -> Error {
    Error::retry("the metadata store did not answer")
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        limits::check_key(key)?;
        self.call(|state, _| state.get(key)).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        limits::check_prefix(prefix)?;
        self.call(|state, _| state.range(prefix)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        limits::check_txn(&txn)?;
        if self.inner.dice.armed() {
            return self.faulty_txn(txn).await;
        }
        self.locked(|state, _| state.apply(txn))
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        self.call(|_, _| ()).await?;
        Ok(watch::Watcher::new(self.clone(), prefix.to_owned(), from).into_stream().boxed())
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        limits::check_ttl(ttl)?;
        self.call(|state, now| state.lease_grant(ttl, now)).await
    }

    async fn lease_keep(&self, lease: LeaseId) -> Result<()> {
        self.call(|state, now| state.lease_keep(lease, now)).await?
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.call(|state, _| state.lease_revoke(lease)).await
    }
}

#[cfg(test)]
mod tests;
