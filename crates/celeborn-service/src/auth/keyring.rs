//! What proofs are checked with: the keys in the records of applications.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Env, Error, Result, Revision};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::sasl::{Claim, Key};
use parking_lot::Mutex;

use super::caller::{Identity, over};
use super::itself::Itself;
use super::steps::{Stage, Step, registered, step};
use crate::records::Records;

/// The keys, for one master or worker.
#[derive(Debug)]
pub(crate) struct Keyring {
    records: Records,
    env: Env,
    part: Part,
}

/// Whose it is.
#[derive(Debug)]
enum Part {
    /// It registers applications, and looks at the record each time: only drivers connect to it.
    Master,
    /// It keeps what it has read: each executor connects to each worker.
    Worker(Mutex<HashMap<Arc<str>, Known>>),
}

/// An application whose key a worker has read.
#[derive(Debug)]
struct Known {
    identity: Arc<Identity>,
    /// When the record was written in which it was read.
    written: Revision,
}

/// What came of a step.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer, and how far the connection is with it.
    On(Bytes, Stage),
    /// The answer, and who it is.
    Proved(Bytes, Arc<Identity>),
}

impl Keyring {
    pub(crate) fn of_master(records: Records, env: Env) -> Self {
        Self { records, env, part: Part::Master }
    }

    pub(crate) fn of_worker(records: Records, env: Env) -> Self {
        Self { records, env, part: Part::Worker(Mutex::default()) }
    }

    /// Takes the next step of a connection. `Invalid`: it cannot prove anything; the text is for the
    /// client. `Retry`: the store does not answer.
    pub(crate) async fn take(&self, stage: Stage, message: Message) -> Result<Outcome> {
        let chance = self.env.secret()?;
        let random = std::array::from_fn(|at| chance[at]);
        let registers = matches!(self.part, Part::Master);
        match step(stage, message, (registers, random))? {
            Step::Say(token, stage) => Ok(Outcome::On(token, stage)),
            Step::Register(application, key) => {
                self.records.beat(&application, None, Some(key)).await?;
                tracing::info!(app = application, "a Celeborn application registers its secret");
                Ok(Outcome::Proved(registered()?, Identity::new(&application, key)))
            }
            Step::Check(claim) => self.check(&claim).await,
        }
    }

    /// What a worker proves to itself who it is with. It is known until the next [`Keyring::clean`].
    /// `Retry`: the system has no entropy to give.
    pub(crate) fn of_itself(&self) -> Result<Itself> {
        let itself = Itself::new(&self.env)?;
        self.enter(&itself.name, itself.key(), Revision::default())?;
        Ok(itself)
    }

    async fn check(&self, claim: &Claim) -> Result<Outcome> {
        let application = claim.application();
        if let Some(known) = self.known(application)
            && let Some(token) = claim.check(&known.key)
        {
            return Ok(Outcome::Proved(token, known));
        }
        // It is not known, or began anew with another secret.
        let Some((key, written)) = self.records.key(application).await? else {
            return Err(unproved(application));
        };
        let token = claim.check(&key).ok_or_else(|| unproved(application))?;
        Ok(Outcome::Proved(token, self.enter(application, key, written)?))
    }

    /// Who the application of an identity is that is over: the same, if it came back with the same key.
    /// `Invalid`: it has ended. `Retry`: the store does not answer.
    pub(crate) async fn renewed(&self, former: &Identity) -> Result<Arc<Identity>> {
        let application = &former.application;
        match self.records.key(application).await? {
            Some((key, written)) if key == former.key => self.enter(application, key, written),
            _ => Err(over(application)),
        }
    }

    fn known(&self, application: &str) -> Option<Arc<Identity>> {
        match &self.part {
            Part::Master => None,
            Part::Worker(known) => {
                known.lock().get(application).map(|known| Arc::clone(&known.identity))
            }
        }
    }

    /// Who proved this key, as it was read. An identity with an older one is over.
    fn enter(&self, application: &str, key: Key, written: Revision) -> Result<Arc<Identity>> {
        let new = Identity::new(application, key);
        let Part::Worker(all) = &self.part else { return Ok(new) };
        let mut all = all.lock();
        if let Some(known) = all.get_mut(application) {
            if known.identity.key == key {
                known.written = known.written.max(written);
                return Ok(Arc::clone(&known.identity));
            }
            if known.written > written {
                return Err(unproved(application));
            }
            known.identity.end();
        }
        let identity = Arc::clone(&new);
        all.insert(Arc::clone(&new.application), Known { identity, written });
        Ok(new)
    }

    /// A worker forgets the applications that no record names with the same key any more; their
    /// connections may do nothing more. `Retry`: the store does not answer, and nothing is forgotten.
    pub(crate) async fn clean(&self) -> Result<()> {
        let Part::Worker(all) = &self.part else { return Ok(()) };
        // What is known was asked for first: an application that comes now is not in it.
        let known: Vec<Arc<Identity>> =
            all.lock().values().map(|known| Arc::clone(&known.identity)).collect();
        if known.is_empty() {
            return Ok(());
        }
        let alive: HashMap<String, Option<Key>> =
            self.records.apps().await?.into_iter().map(|(name, app)| (name, app.key())).collect();
        for identity in known {
            if alive.get(&*identity.application) == Some(&Some(identity.key)) {
                continue;
            }
            identity.end();
            let mut all = all.lock();
            let same = |known: &Known| Arc::ptr_eq(&known.identity, &identity);
            if all.get(&identity.application).is_some_and(same) {
                all.remove(&identity.application);
            }
        }
        Ok(())
    }
}

/// One text, whatever it was: who guesses names learns nothing.
fn unproved(application: &str) -> Error {
    Error::invalid(format!("{application} is no application with this secret"))
        .with_hint("it has ended, or another one with its id has registered")
}
