//! Object stores by URL, made when first used. Gateway and executors share this registry: a table's
//! options reach the executors as [`StoreSpec`]s in the plan header.
//!
//! The one thing to know: a store is known by scheme and authority (`s3://bucket`), so all tables
//! on one bucket share its options.

mod allowed;
mod build;
mod fence;
mod guard;
mod hidden;
mod options;
mod spec;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use dunlin_base::{Env, Result};
use object_store::ObjectStore;
use parking_lot::RwLock;
use url::Url;

use crate::errors::into_datafusion;

pub use allowed::Allowed;
pub(crate) use allowed::refused;
pub(crate) use hidden::STAGING;
pub use spec::StoreSpec;
pub(crate) use spec::{is_store_option, store_key};

/// How long a store may take to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// For one connection to be made.
    pub connect: Duration,
    /// For one answer to begin, all retries included; after it the call fails with `Retry`.
    pub answer: Duration,
    /// For one body to arrive.
    pub body: Duration,
    /// How often a failed request is sent again.
    pub retries: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(4),
            answer: Duration::from_secs(20),
            body: Duration::from_secs(120),
            retries: 4,
        }
    }
}

/// The object stores of one process. Stores are made on first use and kept.
#[derive(Debug)]
pub struct ObjectStores {
    env: Env,
    limits: StoreLimits,
    allowed: Allowed,
    known: RwLock<HashMap<String, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// What tables say about the store; empty leaves it to the environment.
    options: Vec<(String, String)>,
    store: Option<Arc<dyn ObjectStore>>,
}

impl ObjectStores {
    /// A registry that knows the local disk and what the environment says, and opens everything.
    pub fn new(env: Env, limits: StoreLimits) -> Arc<Self> {
        Self::limited(env, limits, Allowed::everything())
    }

    /// A registry whose stores open nothing but the allowed places, whoever asks.
    pub fn limited(env: Env, limits: StoreLimits, allowed: Allowed) -> Arc<Self> {
        Arc::new(Self { env, limits, allowed, known: RwLock::default() })
    }

    /// The places that may be opened.
    pub(crate) fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// Says how to reach a store. The same options again change nothing; others replace the store,
    /// for requests that begin later. `Invalid`: a URL or an option that no store knows, or a place that
    /// is not allowed.
    pub fn configure(&self, spec: &StoreSpec) -> Result<()> {
        let url = spec::parse(&spec.url)?;
        let key = store_key(&url);
        let same = |k: &Known| k.store.is_some() && k.options == spec.options;
        if self.known.read().get(&key).is_some_and(same) {
            return Ok(());
        }
        let store = self.build(&url, &spec.options)?;
        let known = Known { options: spec.options.clone(), store: Some(store) };
        self.known.write().insert(key, known);
        Ok(())
    }

    /// To be called before a statement says how to reach a store: unless [`Tentative::keep`] is
    /// called, what it says is forgotten again.
    pub(crate) fn tentative(self: &Arc<Self>, said: StoreSpec) -> Tentative {
        let before = self.options_for(&said.url).map(|spec| spec.options).unwrap_or_default();
        Tentative { stores: Arc::clone(self), said, before, kept: false }
    }

    /// Forgets how to reach a store, if it is still reached in this way.
    pub(crate) fn forget(&self, said: &StoreSpec) {
        self.take_back(said, Vec::new());
    }

    fn take_back(&self, said: &StoreSpec, before: Vec<(String, String)>) {
        let Ok(url) = spec::parse(&said.url) else { return };
        if let Some(known) = self.known.write().get_mut(&store_key(&url))
            && known.options == said.options
        {
            // Made again when it is next used.
            *known = Known { options: before, store: None };
        }
    }

    /// Takes over what another process exported. `Invalid` as for [`ObjectStores::configure`].
    pub fn import(&self, specs: &[StoreSpec]) -> Result<()> {
        specs.iter().try_for_each(|spec| self.configure(spec))
    }

    /// What this process knows beyond its environment, for plan headers. Holds secrets.
    pub fn export(&self) -> Vec<StoreSpec> {
        let known = self.known.read();
        let with_options = known.iter().filter(|(_, k)| !k.options.is_empty());
        let mut specs: Vec<_> = with_options
            .map(|(key, k)| StoreSpec { url: key.clone(), options: k.options.clone() })
            .collect();
        specs.sort_by(|a, b| a.url.cmp(&b.url));
        specs
    }

    /// What this process knows of the store of `url` beyond its environment.
    pub fn options_for(&self, url: &str) -> Option<StoreSpec> {
        let key = store_key(&spec::parse(url).ok()?);
        let known = self.known.read();
        let options = known.get(&key)?.options.clone();
        (!options.is_empty()).then_some(StoreSpec { url: key, options })
    }

    fn build(&self, url: &Url, options: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
        self.allowed.check_store(url, options)?;
        build::build(url, options, &self.env, self.limits, &self.allowed)
    }

    /// The store of a URL, made if need be. `Invalid`: a scheme or an environment it cannot be made
    /// of, or a place that is not allowed.
    pub fn get(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = store_key(url);
        if let Some(store) = self.known.read().get(&key).and_then(|k| k.store.clone()) {
            return Ok(store);
        }
        let mut known = self.known.write();
        let entry = known.entry(key).or_default();
        if let Some(store) = &entry.store {
            return Ok(Arc::clone(store));
        }
        let store = self.build(url, &entry.options)?;
        entry.store = Some(Arc::clone(&store));
        Ok(store)
    }
}

/// How a store is reached while nobody knows whether the statement that says so succeeds. Dropping
/// it takes that back.
pub(crate) struct Tentative {
    stores: Arc<ObjectStores>,
    said: StoreSpec,
    before: Vec<(String, String)>,
    kept: bool,
}

impl Tentative {
    /// The statement has succeeded.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Tentative {
    fn drop(&mut self) {
        if !self.kept && self.before != self.said.options {
            self.stores.take_back(&self.said, std::mem::take(&mut self.before));
        }
    }
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let store: Arc<dyn ObjectStore> = Arc::new(hidden::Hidden::new(store));
        let known = Known { options: Vec::new(), store: Some(store) };
        self.known.write().insert(store_key(url), known).and_then(|old| old.store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        self.get(url).map_err(into_datafusion)
    }
}

#[cfg(test)]
mod tests;
