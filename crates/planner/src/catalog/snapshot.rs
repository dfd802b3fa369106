//! The catalog at one version, as one statement sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dunlin_base::{Result, Revision};
use parking_lot::{Mutex, RwLock};

use super::definition::PUBLIC;
use super::table::{Resolved, store_spec};
use super::{Access, CatalogStoreRef, Definition, Name, Stored};
use crate::object_stores::StoreSpec;

/// A definition and what was learned about its files.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) definition: Definition,
    pub(crate) access: Access,
    pub(crate) revision: Revision,
    /// The table as last resolved; valid while its files are the same.
    pub(crate) resolved: Mutex<Option<Arc<Resolved>>>,
}

impl Entry {
    pub(crate) fn new(stored: Stored) -> Arc<Self> {
        let Stored { name, definition, access, revision } = stored;
        Arc::new(Self { name, definition, access, revision, resolved: Mutex::new(None) })
    }
}

/// Users whose part of a snapshot is kept.
const SEEN_MAX: usize = 256;

/// All objects at one version, or those that one user sees. Tables of folders are laid over it by
/// the scope.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    version: Revision,
    objects: BTreeMap<Name, Arc<Entry>>,
    users: Arc<BTreeMap<String, bool>>,
    /// What each user sees of it.
    seen: Mutex<HashMap<String, Arc<Snapshot>>>,
}

impl Snapshot {
    /// Which version of the catalog it is.
    pub(crate) fn version(&self) -> Revision {
        self.version
    }

    /// Every user, and whether it is an administrator.
    pub(crate) fn users(&self) -> &BTreeMap<String, bool> {
        &self.users
    }

    /// What a user sees of it, made by `filter` and kept as long as the snapshot.
    pub(super) fn seen_by(
        self: &Arc<Self>,
        user: &str,
        filter: impl FnOnce(&Self) -> Self,
    ) -> Arc<Self> {
        if let Some(known) = self.seen.lock().get(user) {
            return Arc::clone(known);
        }
        let part = Arc::new(filter(self));
        let mut seen = self.seen.lock();
        if seen.len() >= SEEN_MAX {
            seen.clear();
        }
        seen.insert(user.to_owned(), Arc::clone(&part));
        part
    }

    /// The objects that are wanted, and the schemas that those are in.
    pub(super) fn only(&self, wanted: impl Fn(&Entry) -> bool) -> Self {
        let mut objects = BTreeMap::new();
        for (name, entry) in self.objects.iter().filter(|(_, entry)| wanted(entry)) {
            objects.insert(name.clone(), Arc::clone(entry));
            let schema = Name::schema(&name.schema);
            if let Some(entry) = self.objects.get(&schema) {
                objects.insert(schema, Arc::clone(entry));
            }
        }
        let users = Arc::clone(&self.users);
        Self { version: self.version, objects, users, seen: Mutex::default() }
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&Arc<Entry>> {
        self.objects.get(name)
    }

    pub(crate) fn stored(&self, name: &Name) -> Option<Stored> {
        let entry = self.objects.get(name)?;
        Some(Stored {
            name: entry.name.clone(),
            definition: entry.definition.clone(),
            access: entry.access.clone(),
            revision: entry.revision,
        })
    }

    pub(crate) fn has_schema(&self, schema: &str) -> bool {
        let name = Name::schema(schema);
        schema == PUBLIC || (!name.is_catalog() && self.objects.contains_key(&name))
    }

    pub(crate) fn schemas(&self) -> Vec<String> {
        let known = self.objects.keys().filter(|n| n.object.is_none() && !n.is_catalog());
        let mut names: Vec<_> = known.map(|name| name.schema.clone()).collect();
        if !names.iter().any(|name| name == PUBLIC) {
            names.push(PUBLIC.to_owned());
        }
        names
    }

    /// Tables and views of a schema, by name.
    pub(crate) fn in_schema(&self, schema: &str) -> Vec<&Arc<Entry>> {
        let inside = |e: &&Arc<Entry>| e.name.schema == schema && e.name.object.is_some();
        self.objects.values().filter(inside).collect()
    }

    pub(crate) fn names_in(&self, schema: &str) -> Vec<String> {
        self.in_schema(schema).iter().filter_map(|e| e.name.object.clone()).collect()
    }

    /// How stores are reached, as tables say; each once.
    pub(crate) fn store_specs(&self) -> Vec<StoreSpec> {
        let mut specs: Vec<StoreSpec> = Vec::new();
        for entry in self.objects.values() {
            if let Definition::Table(table) = &entry.definition
                && let Ok(Some(spec)) = store_spec(table)
                && !specs.contains(&spec)
            {
                specs.push(spec);
            }
        }
        specs
    }

    /// Every object.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.objects.values()
    }
}

/// The newest snapshot of a store.
#[derive(Debug)]
pub(crate) struct CatalogCache {
    store: CatalogStoreRef,
    last: RwLock<Option<Arc<Snapshot>>>,
}

impl CatalogCache {
    pub(crate) fn new(store: CatalogStoreRef) -> Self {
        Self { store, last: RwLock::new(None) }
    }

    pub(crate) fn store(&self) -> &CatalogStoreRef {
        &self.store
    }

    /// The catalog as it was last loaded.
    pub(crate) fn last(&self) -> Option<Arc<Snapshot>> {
        self.last.read().clone()
    }

    /// The catalog as it is now. What is known about the files of unchanged tables is kept.
    pub(crate) async fn current(&self) -> Result<Arc<Snapshot>> {
        let version = self.store.version().await?;
        let last = self.last.read().clone();
        if let Some(last) = last.as_ref().filter(|last| last.version == version) {
            return Ok(Arc::clone(last));
        }
        let loaded = self.store.load().await?;
        let known = last.unwrap_or_default();
        let entry = |stored: Stored| match known.get(&stored.name) {
            Some(entry) if entry.revision == stored.revision => Arc::clone(entry),
            _ => Entry::new(stored),
        };
        let objects = loaded.objects.into_iter().map(|s| (s.name.clone(), entry(s))).collect();
        let (version, users) = (loaded.version, Arc::new(loaded.users));
        let snapshot = Arc::new(Snapshot { version, objects, users, seen: Mutex::default() });
        let mut last = self.last.write();
        if last.as_ref().is_none_or(|last| last.version < snapshot.version) {
            *last = Some(Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }
}
