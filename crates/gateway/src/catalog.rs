//! The catalog in the metadata store: `cat/o/{schema}` and `cat/o/{schema}/{object}`, one object
//! each with who may use it, so that every gateway sees the same tables and grants. What is granted
//! on the catalog itself is in `cat/root`. Users (`cat/user/`, `cat/admin/`) are [`crate::flight`]'s;
//! every change of them is a change of the catalog, too.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dunlin_base::{Error, Result, Revision};
use dunlin_metadata::{Compare, Entry, Op, StoreRef, Txn, TxnOutcome};
use dunlin_planner::catalog::{CatalogStore, Loaded, Name, Object, Stored, Swapped};

/// Below it are the definitions.
const OBJECTS: &str = "cat/o/";
/// The catalog itself.
const ROOT: &str = "cat/root";
/// Below it are the users, a verifier each.
pub(crate) const USERS: &str = "cat/user/";
/// Below it are the names of those who are administrators.
pub(crate) const ADMINS: &str = "cat/admin/";
/// Written with every change; its revision is the catalog's version.
const VERSION: &str = "cat/version";

/// How often an object's record is written anew because another was faster.
const FORGET_TRIES: usize = 16;

/// Definitions in the metadata store.
#[derive(Debug)]
pub struct MetadataCatalog {
    store: StoreRef,
}

impl MetadataCatalog {
    /// The catalog in `store`.
    pub fn new(store: StoreRef) -> Self {
        Self { store }
    }

    /// Every user, and whether it is an administrator.
    async fn users(&self) -> Result<BTreeMap<String, bool>> {
        let (users, admins) = (self.names(USERS).await?, self.names(ADMINS).await?);
        // Whoever is no user is no administrator either.
        Ok(users.into_iter().map(|user| (user.clone(), admins.contains(&user))).collect())
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let found = self.store.range(prefix).await?.entries;
        let name = |entry: &Entry| entry.key.strip_prefix(prefix).and_then(unescape);
        Ok(found.iter().filter_map(name).collect())
    }

    /// Takes from a user that is removed what was granted to it and what it owns: another of the
    /// same name inherits nothing. Idempotent. `Retry`: out of reach, or an object is being changed
    /// all the time; call again.
    pub(crate) async fn forget_user(&self, user: &str) -> Result<()> {
        for mut stored in self.load().await?.objects {
            let mut tries = 0;
            while stored.access.forget(user) {
                let object = Object { definition: stored.definition, access: stored.access };
                match self.swap(&stored.name, Some(stored.revision), Some(object)).await? {
                    Swapped::Done
                    | Swapped::Conflict(None)
                    | Swapped::NoSchema
                    | Swapped::NotEmpty => break,
                    Swapped::Conflict(Some(there)) => stored = there,
                }
                tries += 1;
                if tries == FORGET_TRIES {
                    return Err(Error::retry(format!("'{}' is being changed", stored.name)));
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl CatalogStore for MetadataCatalog {
    async fn version(&self) -> Result<Revision> {
        Ok(self.store.get(VERSION).await?.map_or(Revision(0), |entry| entry.modified))
    }

    async fn load(&self) -> Result<Loaded> {
        // The version first: a change in between is then loaded once more, never missed.
        let version = self.version().await?;
        let entries = self.store.range(OBJECTS).await?.entries;
        let root = self.store.get(ROOT).await?;
        let objects = entries.iter().chain(&root).map(stored).collect::<Result<_>>()?;
        Ok(Loaded { objects, users: self.users().await?, version })
    }

    async fn swap(
        &self,
        name: &Name,
        expected: Option<Revision>,
        new: Option<Object>,
    ) -> Result<Swapped> {
        let key = key_of(name);
        let mut compares = vec![match expected {
            None => Compare::Absent(key.clone()),
            Some(revision) => Compare::Modified(key.clone(), revision),
        }];
        if expected.is_none() && new.is_some() {
            compares.extend(name.needs().map(|schema| Compare::Present(key_of(&schema))));
        }
        let empties = new.is_none() && name.object.is_none() && !name.is_catalog();
        if empties {
            // Whatever exists was written after revision 0.
            compares.push(Compare::Unwritten(format!("{key}/"), Revision(0)));
        }
        let change = match new {
            Some(object) => Op::Put(key, object.encode(), None),
            None => Op::Delete(key),
        };
        let txn = Txn { compares, ops: vec![change, version()], ..Txn::default() };
        match self.store.txn(txn).await? {
            TxnOutcome::Committed(_) => Ok(Swapped::Done),
            TxnOutcome::Conflict(entries) => {
                let mut entries = entries.into_iter();
                let now = entries.next().flatten();
                if expected.is_none()
                    && now.is_none()
                    && entries.next().is_some_and(|e| e.is_none())
                {
                    return Ok(Swapped::NoSchema);
                }
                if empties && now.as_ref().map(|entry| entry.modified) == expected {
                    return Ok(Swapped::NotEmpty);
                }
                Ok(Swapped::Conflict(now.as_ref().map(stored).transpose()?))
            }
        }
    }
}

/// Every change of the catalog has it.
pub(crate) fn version() -> Op {
    Op::Put(VERSION.to_owned(), bytes::Bytes::new(), None)
}

/// Holds while the catalog has this version.
pub(crate) fn unchanged(version: Revision) -> Compare {
    match version {
        Revision(0) => Compare::Absent(VERSION.to_owned()),
        version => Compare::Modified(VERSION.to_owned(), version),
    }
}

/// The key of a table, for transactions that create it with something else.
pub(crate) fn object_key(schema: &str, object: &str) -> String {
    key_of(&Name::object(schema, object))
}

/// The key of the schema that a new table needs; `None` if that is always there.
pub(crate) fn schema_key(schema: &str, object: &str) -> Option<String> {
    Name::object(schema, object).needs().map(|schema| key_of(&schema))
}

/// Holds as long as a table can be made: its name is free, its schema is there.
pub(crate) fn can_create(schema: &str, object: &str) -> Vec<Compare> {
    let free = Compare::Absent(object_key(schema, object));
    std::iter::once(free).chain(schema_key(schema, object).map(Compare::Present)).collect()
}

/// The changes that create a table, if it [`can_create`].
pub(crate) fn create(schema: &str, object: &str, definition: bytes::Bytes) -> [Op; 2] {
    [Op::Put(object_key(schema, object), definition, None), version()]
}

fn stored(entry: &Entry) -> Result<Stored> {
    let name = name_of(&entry.key)?;
    let Object { definition, access } = Object::decode(&entry.value)?;
    Ok(Stored { name, definition, access, revision: entry.modified })
}

fn key_of(name: &Name) -> String {
    match &name.object {
        None if name.is_catalog() => ROOT.to_owned(),
        None => format!("{OBJECTS}{}", escape(&name.schema)),
        Some(object) => format!("{OBJECTS}{}/{}", escape(&name.schema), escape(object)),
    }
}

fn name_of(key: &str) -> Result<Name> {
    if key == ROOT {
        return Ok(Name::catalog());
    }
    let path = key.strip_prefix(OBJECTS).unwrap_or(key);
    let bad = || Error::bug(format!("'{key}' is no key of the catalog"));
    match path.split_once('/') {
        None => Ok(Name::schema(unescape(path).ok_or_else(bad)?)),
        Some((schema, object)) => {
            let schema = unescape(schema).ok_or_else(bad)?;
            Ok(Name::object(schema, unescape(object).ok_or_else(bad)?))
        }
    }
}

/// Names hold any character; keys hold words between slashes.
pub(crate) fn escape(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

pub(crate) fn unescape(word: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dunlin_base::Env;
    use dunlin_metadata::sim::SimStore;
    use dunlin_planner::catalog::{Access, Definition};

    use super::*;

    #[tokio::test]
    async fn a_new_object_needs_its_schema() {
        let catalog = MetadataCatalog::new(Arc::new(SimStore::new(Env::seeded(1))));
        let schema = Object { definition: Definition::Schema, access: Access::default() };
        let table =
            Object { definition: Definition::Table(Box::default()), access: Access::default() };
        let make = async |name: &Name, object: &Object| {
            catalog.swap(name, None, Some(object.clone())).await.expect("no faults")
        };
        let (public, lab) = (Name::object("public", "t"), Name::object("lab", "t"));
        assert_eq!(make(&public, &table).await, Swapped::Done);
        assert_eq!(make(&lab, &table).await, Swapped::NoSchema);
        assert_eq!(make(&Name::schema("lab"), &schema).await, Swapped::Done);
        assert_eq!(make(&lab, &table).await, Swapped::Done);
        assert!(matches!(make(&lab, &table).await, Swapped::Conflict(Some(_))));
        let objects = catalog.load().await.expect("loaded").objects;
        // A schema goes only while nothing is in it, as seen in the same step.
        let revision = |wanted: &Name| {
            let there = objects.iter().find(|object| object.name == *wanted);
            there.expect("it is there").revision
        };
        let schema = Name::schema("lab");
        let gone = async |name: &Name| {
            catalog.swap(name, Some(revision(name)), None).await.expect("no faults")
        };
        assert_eq!(gone(&schema).await, Swapped::NotEmpty);
        assert_eq!(gone(&lab).await, Swapped::Done);
        assert_eq!(gone(&schema).await, Swapped::Done);
        assert_eq!(gone(&schema).await, Swapped::Conflict(None));
    }

    #[test]
    fn any_name_survives_its_key() {
        for name in [
            Name::catalog(),
            Name::schema("public"),
            Name::object("public", "a/b%c"),
            Name::object("Größe", "x y\u{1F426}"),
        ] {
            let back = name_of(&key_of(&name)).expect("own keys parse");
            assert_eq!((back.schema, back.object), (name.schema, name.object));
        }
    }
}
