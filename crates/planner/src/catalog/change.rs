//! CREATE and DROP as compare-and-swap: what each means when the object is there, or is not, and
//! whether the user may.

use dunlin_base::{Error, Result};

use super::access::Privilege;
use super::definition::PUBLIC;
use super::{Access, CatalogStore, Definition, Name, Object, Rights, Snapshot, Stored, Swapped};

/// What CREATE does when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Fail,
    /// IF NOT EXISTS.
    Keep,
    /// OR REPLACE.
    Replace,
}

/// Swaps that may lose against other writers of the same name before we give up.
pub(crate) const ATTEMPTS: usize = 16;

/// Writes a definition. True if it did, false if the one that was there is kept. What is replaced
/// keeps its grants and has a new owner: a view reads with the rights of who wrote it.
pub(crate) async fn put(
    store: &dyn CatalogStore,
    rights: &Rights,
    name: &Name,
    definition: Definition,
    existing: Existing,
) -> Result<bool> {
    check_may_create(rights, name)?;
    let mut current = rights.seen().stored(name);
    for _ in 0..ATTEMPTS {
        // Anew in each round: what was dropped meanwhile takes its grants along.
        let mut access = Access { owner: rights.owner(), grants: Vec::new() };
        if let Some(there) = &current {
            let same_kind = there.definition.kind() == definition.kind();
            match existing {
                Existing::Keep => return Ok(false),
                Existing::Replace if same_kind => {
                    rights.check(Privilege::Drop, there.definition.kind(), name, &there.access)?;
                    access.grants.clone_from(&there.access.grants);
                }
                _ => return Err(taken(there, same_kind)),
            }
        } else if *name == Name::schema(PUBLIC) {
            if existing == Existing::Keep {
                return Ok(false);
            }
            return Err(Error::invalid("schema 'public' already exists"));
        }
        let expected = current.as_ref().map(|c| c.revision);
        let object = Object { definition: definition.clone(), access };
        match store.swap(name, expected, Some(object)).await? {
            Swapped::Done => return Ok(true),
            Swapped::Conflict(there) => current = there,
            Swapped::NotEmpty => return Err(Error::bug(format!("'{name}' holds others"))),
            Swapped::NoSchema => return Err(schema_gone(&name.schema)),
        }
    }
    Err(busy(name))
}

/// `Invalid` unless the user may make an object of this name.
pub(crate) fn check_may_create(rights: &Rights, name: &Name) -> Result<()> {
    if name.object.is_none() {
        return rights.check_create();
    }
    if !rights.seen().has_schema(&name.schema) {
        return Err(no_schema(&name.schema, rights.seen()));
    }
    rights.check_create_in(&name.schema)
}

/// Removes a table or view. True if it was there: what the user does not see is not there.
pub(crate) async fn drop_object(
    store: &dyn CatalogStore,
    rights: &Rights,
    name: &Name,
    kind: &'static str,
    if_exists: bool,
) -> Result<bool> {
    let current = rights.seen().stored(name);
    drop_seen(store, rights, (name, current), kind, if_exists).await
}

/// The same of an object as it was last seen.
async fn drop_seen(
    store: &dyn CatalogStore,
    rights: &Rights,
    (name, mut current): (&Name, Option<Stored>),
    kind: &'static str,
    if_exists: bool,
) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let Some(there) = current else {
            return if if_exists { Ok(false) } else { Err(missing(name, kind, rights)) };
        };
        let is = there.definition.kind();
        if is != kind {
            return Err(Error::invalid(format!("'{name}' is a {is}, not a {kind}"))
                .with_hint(format!("use DROP {}", is.to_uppercase())));
        }
        rights.check(Privilege::Drop, kind, name, &there.access)?;
        match store.swap(name, Some(there.revision), None).await? {
            Swapped::Done => return Ok(true),
            Swapped::Conflict(there) => current = there,
            Swapped::NotEmpty => return Err(Error::bug(format!("{kind} '{name}' holds others"))),
            Swapped::NoSchema => return Err(schema_gone(&name.schema)),
        }
    }
    Err(busy(name))
}

/// Removes a schema, with `cascade` its tables and views first. True if it was there.
///
/// Not one step, but the schema goes only while nothing is in it: what others create meanwhile is
/// dropped, too, or keeps the schema.
pub(crate) async fn drop_schema(
    store: &dyn CatalogStore,
    rights: &Rights,
    schema: &str,
    if_exists: bool,
    cascade: bool,
) -> Result<bool> {
    if schema == PUBLIC {
        return Err(Error::invalid("schema 'public' cannot be dropped"));
    }
    let (snapshot, name) = (rights.seen(), Name::schema(schema));
    if !snapshot.has_schema(schema) {
        return if if_exists { Ok(false) } else { Err(no_schema(schema, snapshot)) };
    }
    for _ in 0..ATTEMPTS {
        let objects = store.load().await?.objects;
        let Some(there) = objects.iter().find(|object| object.name == name) else {
            return if if_exists { Ok(false) } else { Err(schema_gone(schema)) };
        };
        rights.check(Privilege::Drop, "schema", &name, &there.access)?;
        let inside: Vec<&Stored> = objects.iter().filter(|o| name.holds(&o.name)).collect();
        if let (Some(first), false) = (inside.first(), cascade) {
            return Err(not_empty(schema, &first.name, inside.len()));
        }
        for object in inside {
            let (kind, seen) = (object.definition.kind(), Some(object.clone()));
            drop_seen(store, rights, (&object.name, seen), kind, true).await?;
        }
        if store.swap(&name, Some(there.revision), None).await? == Swapped::Done {
            return Ok(true);
        }
    }
    Err(busy(&name))
}

fn not_empty(schema: &str, first: &Name, count: usize) -> Error {
    let and = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
    Error::invalid(format!("schema '{schema}' is not empty: it has {first}{and}"))
        .with_hint("DROP SCHEMA ... CASCADE drops them too")
}

fn taken(there: &Stored, same_kind: bool) -> Error {
    let kind = there.definition.kind();
    let error = Error::invalid(format!("{kind} '{}' already exists", there.name));
    match (kind, same_kind) {
        ("schema", _) => error.with_hint("use CREATE SCHEMA IF NOT EXISTS"),
        (_, true) => error.with_hint("use OR REPLACE, or IF NOT EXISTS"),
        (_, false) => error.with_hint(format!("DROP {} first", kind.to_uppercase())),
    }
}

pub(crate) fn missing(name: &Name, kind: &str, rights: &Rights) -> Error {
    let error = match rights.limited() {
        None => Error::invalid(format!("there is no {kind} '{name}'")),
        // The same for what is not seen.
        Some(user) => {
            Error::invalid(format!("there is no {kind} '{name}' that user '{user}' may see"))
        }
    };
    let names = rights.seen().names_in(&name.schema);
    let object = name.object.as_deref().unwrap_or_default();
    match crate::errors::nearest(object, names.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}

pub(crate) fn no_schema(schema: &str, snapshot: &Snapshot) -> Error {
    let error = Error::invalid(format!("there is no schema '{schema}'"));
    match crate::errors::did_you_mean(schema, "there are", &snapshot.schemas()) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The schema of a new object was dropped while the statement ran.
pub fn schema_gone(schema: &str) -> Error {
    Error::invalid(format!("there is no schema '{schema}' any more"))
}

fn busy(name: &Name) -> Error {
    Error::retry(format!("'{name}' is being changed by others"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use dunlin_base::Revision;

    use super::super::access::Privileges;
    use super::super::{CatalogCache, Loaded, MemoryCatalog, Who};
    use super::*;

    /// A store where somebody else drops what is about to be replaced.
    #[derive(Debug)]
    struct Dropping(Arc<MemoryCatalog>);

    #[async_trait]
    impl CatalogStore for Dropping {
        async fn version(&self) -> Result<Revision> {
            self.0.version().await
        }

        async fn load(&self) -> Result<Loaded> {
            self.0.load().await
        }

        async fn swap(
            &self,
            name: &Name,
            expected: Option<Revision>,
            new: Option<Object>,
        ) -> Result<Swapped> {
            if expected.is_some() {
                self.0.swap(name, expected, None).await?;
            }
            self.0.swap(name, expected, new).await
        }
    }

    #[tokio::test]
    async fn what_was_dropped_meanwhile_leaves_no_grants_to_what_replaces_it() {
        let store = Arc::new(MemoryCatalog::default());
        let (name, view) = (Name::object("public", "v"), Definition::View(Default::default()));
        let mut access = Access::default();
        access.grant("bob", Privileges::ALL);
        let old = Object { definition: view.clone(), access };
        store.swap(&name, None, Some(old)).await.expect("made");
        let all = CatalogCache::new(Arc::clone(&store) as _).current().await.expect("loads");
        let rights = Rights::new(&all, &Who::Anyone);
        let dropping = Dropping(Arc::clone(&store));
        let done = put(&dropping, &rights, &name, view, Existing::Replace).await;
        assert!(done.expect("made anew"));
        let now = store.load().await.expect("loads").objects;
        assert_eq!(now.first().map(|stored| &stored.access), Some(&Access::default()));
    }

    /// A store where somebody else makes a view in the schema that is about to go.
    #[derive(Debug)]
    struct Creating(Arc<MemoryCatalog>, std::sync::atomic::AtomicU32);

    #[async_trait]
    impl CatalogStore for Creating {
        async fn version(&self) -> Result<Revision> {
            self.0.version().await
        }

        async fn load(&self) -> Result<Loaded> {
            self.0.load().await
        }

        async fn swap(
            &self,
            name: &Name,
            expected: Option<Revision>,
            new: Option<Object>,
        ) -> Result<Swapped> {
            let left = self.1.load(std::sync::atomic::Ordering::Relaxed);
            if name.object.is_none() && new.is_none() && left > 0 {
                self.1.store(left - 1, std::sync::atomic::Ordering::Relaxed);
                let late = Name::object("lab", format!("late{left}"));
                self.0.swap(&late, None, Some(Definition::View(Default::default()).into())).await?;
            }
            self.0.swap(name, expected, new).await
        }
    }

    #[tokio::test]
    async fn what_is_made_while_a_schema_goes_goes_with_it_or_keeps_it() {
        for cascade in [true, false] {
            let store = Arc::new(MemoryCatalog::default());
            store
                .swap(&Name::schema("lab"), None, Some(Definition::Schema.into()))
                .await
                .expect("made");
            let all = CatalogCache::new(Arc::clone(&store) as _).current().await.expect("loads");
            let rights = Rights::new(&all, &Who::Anyone);
            let creating = Creating(Arc::clone(&store), 3.into());
            let done = drop_schema(&creating, &rights, "lab", false, cascade).await;
            let left = store.load().await.expect("loads").objects.len();
            match done {
                Ok(dropped) => assert_eq!((cascade, dropped, left), (true, true, 0)),
                Err(error) => {
                    assert_eq!(error.message(), "schema 'lab' is not empty: it has lab.late3");
                    assert_eq!((cascade, left), (false, 2));
                }
            }
        }
    }
}
