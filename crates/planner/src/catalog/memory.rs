//! A catalog store in memory: for tests, and for a shell that keeps nothing.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dunlin_base::{Result, Revision};
use parking_lot::Mutex;

use super::{CatalogStore, Loaded, Name, Object, Stored, Swapped};

/// Keeps definitions until it is dropped.
#[derive(Debug, Default)]
pub struct MemoryCatalog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Name, Stored>,
    users: BTreeMap<String, bool>,
    version: i64,
}

impl MemoryCatalog {
    /// Makes a user, or changes whether it is an administrator.
    pub fn set_user(&self, user: &str, admin: bool) {
        let mut state = self.state.lock();
        state.version += 1;
        state.users.insert(user.to_owned(), admin);
    }
}

#[async_trait]
impl CatalogStore for MemoryCatalog {
    async fn version(&self) -> Result<Revision> {
        Ok(Revision(self.state.lock().version))
    }

    async fn load(&self) -> Result<Loaded> {
        let state = self.state.lock();
        let objects = state.objects.values().cloned().collect();
        let users = state.users.clone();
        Ok(Loaded { objects, users, version: Revision(state.version) })
    }

    async fn swap(
        &self,
        name: &Name,
        expected: Option<Revision>,
        new: Option<Object>,
    ) -> Result<Swapped> {
        let mut state = self.state.lock();
        let current = state.objects.get(name);
        if current.map(|stored| stored.revision) != expected {
            return Ok(Swapped::Conflict(current.cloned()));
        }
        let made = expected.is_none() && new.is_some();
        if made && name.needs().is_some_and(|schema| !state.objects.contains_key(&schema)) {
            return Ok(Swapped::NoSchema);
        }
        let inside = |there: &&Name| name.holds(there);
        if new.is_none() && state.objects.keys().find(inside).is_some() {
            return Ok(Swapped::NotEmpty);
        }
        state.version += 1;
        let revision = Revision(state.version);
        match new {
            Some(Object { definition, access }) => {
                let stored = Stored { name: name.clone(), definition, access, revision };
                state.objects.insert(name.clone(), stored)
            }
            None => state.objects.remove(name),
        };
        Ok(Swapped::Done)
    }
}
