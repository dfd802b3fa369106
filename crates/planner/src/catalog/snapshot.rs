//! The catalog at one version, as one statement sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_base::{Result, Revision};
use parking_lot::{Mutex, RwLock};

use super::definition::PUBLIC;
use super::table::Resolved;
use super::{CatalogStoreRef, Definition, Name, Stored};

/// A definition and what was learned about its files.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) definition: Definition,
    pub(crate) revision: Revision,
    /// The table as last resolved; valid while its files are the same.
    pub(crate) resolved: Mutex<Option<Arc<Resolved>>>,
}

impl Entry {
    pub(crate) fn new(stored: Stored) -> Arc<Self> {
        let Stored { name, definition, revision } = stored;
        Arc::new(Self { name, definition, revision, resolved: Mutex::new(None) })
    }
}

/// All objects at one version. Tables of folders are laid over it by the scope.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    version: Revision,
    objects: BTreeMap<Name, Arc<Entry>>,
}

impl Snapshot {
    pub(crate) fn get(&self, name: &Name) -> Option<&Arc<Entry>> {
        self.objects.get(name)
    }

    pub(crate) fn stored(&self, name: &Name) -> Option<Stored> {
        let entry = self.objects.get(name)?;
        Some(Stored {
            name: entry.name.clone(),
            definition: entry.definition.clone(),
            revision: entry.revision,
        })
    }

    pub(crate) fn has_schema(&self, schema: &str) -> bool {
        schema == PUBLIC || self.objects.contains_key(&Name::schema(schema))
    }

    pub(crate) fn schemas(&self) -> Vec<String> {
        let known = self.objects.keys().filter(|name| name.object.is_none());
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

    /// Every external table.
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
        let snapshot = Arc::new(Snapshot { version: loaded.version, objects });
        let mut last = self.last.write();
        if last.as_ref().is_none_or(|last| last.version < snapshot.version) {
            *last = Some(Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }
}
