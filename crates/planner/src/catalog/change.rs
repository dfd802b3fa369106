//! CREATE and DROP as compare-and-swap: what each means when the object is there, or is not.

use dunlin_base::{Error, Result};

use super::definition::PUBLIC;
use super::{CatalogStore, Definition, Name, Snapshot, Stored, Swapped};

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
const ATTEMPTS: usize = 16;

/// Writes a definition. True if it did, false if the one that was there is kept.
pub(crate) async fn put(
    store: &dyn CatalogStore,
    snapshot: &Snapshot,
    name: &Name,
    definition: Definition,
    existing: Existing,
) -> Result<bool> {
    if name.object.is_some() && !snapshot.has_schema(&name.schema) {
        return Err(no_schema(&name.schema, snapshot));
    }
    let mut current = snapshot.stored(name);
    for _ in 0..ATTEMPTS {
        if let Some(there) = &current {
            let same_kind = there.definition.kind() == definition.kind();
            match existing {
                Existing::Keep => return Ok(false),
                Existing::Replace if same_kind => {}
                _ => return Err(taken(there, same_kind)),
            }
        } else if *name == Name::schema(PUBLIC) {
            if existing == Existing::Keep {
                return Ok(false);
            }
            return Err(Error::invalid("schema 'public' already exists"));
        }
        let expected = current.as_ref().map(|c| c.revision);
        match store.swap(name, expected, Some(definition.clone())).await? {
            Swapped::Done => return Ok(true),
            Swapped::Conflict(there) => current = there,
        }
    }
    Err(busy(name))
}

/// Removes a table or view. True if it was there.
pub(crate) async fn drop_object(
    store: &dyn CatalogStore,
    snapshot: &Snapshot,
    name: &Name,
    kind: &'static str,
    if_exists: bool,
) -> Result<bool> {
    let mut current = snapshot.stored(name);
    for _ in 0..ATTEMPTS {
        let Some(there) = current else {
            return if if_exists { Ok(false) } else { Err(missing(name, kind, snapshot)) };
        };
        let is = there.definition.kind();
        if is != kind {
            return Err(Error::invalid(format!("'{name}' is a {is}, not a {kind}"))
                .with_hint(format!("use DROP {}", is.to_uppercase())));
        }
        match store.swap(name, Some(there.revision), None).await? {
            Swapped::Done => return Ok(true),
            Swapped::Conflict(there) => current = there,
        }
    }
    Err(busy(name))
}

/// Removes a schema, with `cascade` its tables and views first. True if it was there.
///
/// Not one step: a table that another session creates meanwhile stays behind, without a schema,
/// until the schema is created again.
pub(crate) async fn drop_schema(
    store: &dyn CatalogStore,
    snapshot: &Snapshot,
    schema: &str,
    if_exists: bool,
    cascade: bool,
) -> Result<bool> {
    if schema == PUBLIC {
        return Err(Error::invalid("schema 'public' cannot be dropped"));
    }
    if !snapshot.has_schema(schema) {
        return if if_exists { Ok(false) } else { Err(no_schema(schema, snapshot)) };
    }
    let inside = snapshot.in_schema(schema);
    if !inside.is_empty() && !cascade {
        let count = inside.len();
        let first = &inside[0].name;
        let and = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
        return Err(Error::invalid(format!("schema '{schema}' is not empty: it has {first}{and}"))
            .with_hint("DROP SCHEMA ... CASCADE drops them too"));
    }
    for object in inside {
        drop_object(store, snapshot, &object.name, object.definition.kind(), true).await?;
    }
    drop_object(store, snapshot, &Name::schema(schema), "schema", true).await
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

fn missing(name: &Name, kind: &str, snapshot: &Snapshot) -> Error {
    let error = Error::invalid(format!("there is no {kind} '{name}'"));
    let names = snapshot.names_in(&name.schema);
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

fn busy(name: &Name) -> Error {
    Error::retry(format!("'{name}' is being changed by others"))
}
