//! Shuffle workers of this process, by id: the transport of a single machine and of tests.

use std::collections::HashMap;
use std::sync::Arc;

use dunlin_base::{ProcessId, Result};
use dunlin_proto::shuffle::ShuffleApi;
use parking_lot::RwLock;

use crate::fault::WorkerGone;
use crate::read::Workers;

/// A registry of workers that live in this process. Blocks pass through it by reference.
#[derive(Default)]
pub struct LocalWorkers {
    workers: RwLock<HashMap<ProcessId, Arc<dyn ShuffleApi>>>,
}

impl LocalWorkers {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a worker known. A worker of the same id is replaced.
    pub fn insert(&self, id: ProcessId, worker: Arc<dyn ShuffleApi>) {
        self.workers.write().insert(id, worker);
    }

    /// Forgets a worker, as if its process had ended: later [`Workers::connect`] calls say `Lost`.
    pub fn remove(&self, id: ProcessId) {
        self.workers.write().remove(&id);
    }

    /// The ids of all known workers, in order.
    pub fn ids(&self) -> Vec<ProcessId> {
        let mut ids: Vec<_> = self.workers.read().keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

impl Workers for LocalWorkers {
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        let known = self.workers.read().get(&worker).cloned();
        known.ok_or_else(|| WorkerGone::error(worker, ""))
    }
}
