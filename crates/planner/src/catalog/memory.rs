//! A catalog store in memory: for tests, and for a shell that keeps nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dunlin_base::{Result, Revision};
use parking_lot::Mutex;

use super::{CatalogStore, Definition, Loaded, Name, Stored, Swapped};

/// Keeps definitions until it is dropped.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Name, Stored>,
    version: i64,
}

#[async_trait]
impl CatalogStore for MemoryCatalog {
    async fn version(&self) -> Result<Revision> {
        Ok(Revision(self.state.lock().version))
    }

    async fn load(&self) -> Result<Loaded> {
        let state = self.state.lock();
        let objects = state.objects.values().cloned().collect();
        Ok(Loaded { objects, version: Revision(state.version) })
    }

    async fn swap(
        &self,
        name: &Name,
        expected: Option<Revision>,
        new: Option<Definition>,
    ) -> Result<Swapped> {
        let mut state = self.state.lock();
        let current = state.objects.get(name);
        if current.map(|stored| stored.revision) != expected {
            return Ok(Swapped::Conflict(current.cloned()));
        }
        state.version += 1;
        let revision = Revision(state.version);
        match new {
            Some(definition) => {
                let stored = Stored { name: name.clone(), definition, revision };
                state.objects.insert(name.clone(), stored)
            }
            None => state.objects.remove(name),
        };
        Ok(Swapped::Done)
    }
}
