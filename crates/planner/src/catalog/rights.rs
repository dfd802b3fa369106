//! What one user may do by one snapshot of the catalog: every check of a statement ends here.
//!
//! The one thing to know: what a user may not see is not in its snapshot ([`Rights::seen`]), so that
//! lists, suggestions and errors cannot tell of it.

use std::sync::Arc;

use dunlin_base::{Error, Result};

use super::access::{Privilege, Privileges};
use super::{Access, Entry, Name, Snapshot};

/// For whom a statement is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody is asked who they are: everything is allowed.
    Anyone,
    /// A user. The empty name is nobody's: it has what all users have.
    User(String),
}

/// A user and the catalog by which it is judged.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    all: Arc<Snapshot>,
    seen: Arc<Snapshot>,
    who: Who,
    /// Somebody is asked who they are, whosever rights these are.
    asked: bool,
}

impl Rights {
    pub(crate) fn new(all: &Arc<Snapshot>, who: &Who) -> Self {
        let (asked, who) = (*who != Who::Anyone, who.clone());
        let mut rights = Self { all: Arc::clone(all), seen: Arc::clone(all), who, asked };
        let seen = rights.limited().map(|user| all.seen_by(user, |all| rights.filtered(all)));
        rights.seen = seen.unwrap_or(rights.seen);
        rights
    }

    /// The rights with which a view reads: those of its owner. Where nobody is asked who they are,
    /// and in views from there, everything is allowed; but not in the views that those read.
    pub(crate) fn of_owner(&self, access: &Access) -> Self {
        let who = match &access.owner {
            Some(owner) if self.asked => Who::User(owner.clone()),
            _ => Who::Anyone,
        };
        Self { asked: self.asked, ..Self::new(&self.all, &who) }
    }

    /// All that the user may see.
    pub(crate) fn seen(&self) -> &Arc<Snapshot> {
        &self.seen
    }

    /// Everything there is.
    pub(crate) fn all(&self) -> &Arc<Snapshot> {
        &self.all
    }

    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// The user, for messages, if what it may do is limited.
    pub(crate) fn limited(&self) -> Option<&str> {
        match &self.who {
            Who::User(user) if !self.is_master() => Some(user),
            _ => None,
        }
    }

    /// Owner of what the statement makes.
    pub(crate) fn owner(&self) -> Option<String> {
        match &self.who {
            Who::Anyone => None,
            Who::User(user) => Some(user.clone()),
        }
    }

    /// Everything is allowed.
    fn is_master(&self) -> bool {
        match &self.who {
            Who::Anyone => true,
            Who::User(user) => self.all.users().get(user).copied().unwrap_or(false),
        }
    }

    /// What it may do with an object that has this access, by itself or by what it is in.
    fn held(&self, name: &Name, access: &Access) -> Privileges {
        let Who::User(user) = &self.who else { return Privileges::ALL };
        if self.owns(name, access) {
            return Privileges::ALL;
        }
        let above = self.above(name);
        let granted = |all: Privileges, access: &Access| all.and(access.granted(user));
        above.iter().fold(access.granted(user), |all, entry| granted(all, &entry.access))
    }

    /// Whether it is an administrator or owns the object or what that is in.
    pub(crate) fn owns(&self, name: &Name, access: &Access) -> bool {
        let Who::User(user) = &self.who else { return true };
        self.is_master()
            || access.is_owner(user)
            || self.above(name).iter().any(|entry| entry.access.is_owner(user))
    }

    /// The schema and the catalog that an object is in, as far as they have records.
    fn above(&self, name: &Name) -> Vec<&Arc<Entry>> {
        let schema = name.object.is_some().then(|| Name::schema(&name.schema));
        let catalog = (!name.is_catalog()).then(Name::catalog);
        schema.iter().chain(&catalog).filter_map(|name| self.all.get(name)).collect()
    }

    pub(crate) fn may(&self, privilege: Privilege, name: &Name, access: &Access) -> bool {
        self.held(name, access).has(privilege)
    }

    /// `Invalid` unless it may. The message tells that the object exists: for what is seen only.
    pub(crate) fn check(
        &self,
        privilege: Privilege,
        kind: &str,
        name: &Name,
        access: &Access,
    ) -> Result<()> {
        if self.may(privilege, name, access) {
            return Ok(());
        }
        let Who::User(user) = &self.who else { return Ok(()) };
        Err(Error::invalid(format!("user '{user}' has no {privilege} on {kind} '{name}'"))
            .with_hint("an administrator or its owner can GRANT it"))
    }

    /// [`Rights::check`] for an object of the catalog.
    pub(crate) fn check_entry(&self, privilege: Privilege, entry: &Entry) -> Result<()> {
        self.check(privilege, entry.definition.kind(), &entry.name, &entry.access)
    }

    /// `Invalid` unless it may make objects in the schema, which exists.
    pub(crate) fn check_create_in(&self, schema: &str) -> Result<()> {
        let name = Name::schema(schema);
        let none = Access::default();
        let access = self.all.get(&name).map_or(&none, |entry| &entry.access);
        self.check(Privilege::Create, "schema", &name, access)
    }

    /// `Invalid` unless it may make schemas, and name places for files.
    pub(crate) fn check_create(&self) -> Result<()> {
        let name = Name::catalog();
        let none = Access::default();
        let access = self.all.get(&name).map_or(&none, |entry| &entry.access);
        self.check(Privilege::Create, "catalog", &name, access)
    }

    /// Objects with which it may do anything, and their schemas.
    fn filtered(&self, all: &Snapshot) -> Snapshot {
        let of_tables = Privileges::of(&[Privilege::Select, Privilege::Insert, Privilege::Drop]);
        let seen = |entry: &Entry| {
            let held = self.held(&entry.name, &entry.access);
            held.any(if entry.name.object.is_some() { of_tables } else { Privileges::ALL })
        };
        all.only(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CatalogCache, Definition, MemoryCatalog, Object};
    use super::*;
    use crate::catalog::CatalogStore;

    /// Ann's table and view in her schema, a table of nobody, and what was granted to Bob.
    async fn snapshot(grants: &[(Name, Privileges)]) -> Arc<Snapshot> {
        let store = Arc::new(MemoryCatalog::default());
        for (user, admin) in [("ann", false), ("bob", false), ("root", true)] {
            store.set_user(user, admin);
        }
        let names = [
            (Name::schema("lab"), Some("ann".to_owned())),
            (Name::object("lab", "t"), Some("ann".to_owned())),
            (Name::object("public", "old"), None),
            (Name::catalog(), None),
        ];
        for (name, owner) in names {
            let mut access = Access { owner, grants: Vec::new() };
            for (_, privileges) in grants.iter().filter(|(on, _)| *on == name) {
                access.grant("bob", *privileges);
            }
            let definition = match (&name.object, name.is_catalog()) {
                (Some(_), _) => Definition::Table(Box::default()),
                (None, true) => Definition::Catalog,
                (None, false) => Definition::Schema,
            };
            let object = Object { definition, access };
            store.swap(&name, None, Some(object)).await.expect("swaps");
        }
        CatalogCache::new(store).current().await.expect("loads")
    }

    fn may(all: &Arc<Snapshot>, user: &str, privilege: Privilege, name: &Name) -> bool {
        let access = all.get(name).map(|entry| entry.access.clone()).unwrap_or_default();
        Rights::new(all, &Who::User(user.to_owned())).may(privilege, name, &access)
    }

    #[tokio::test]
    async fn rights_come_from_owners_grants_and_what_an_object_is_in() {
        use Privilege::{Create, Drop, Insert, Select};
        let (schema, t) = (Name::schema("lab"), Name::object("lab", "t"));
        let old = Name::object("public", "old");
        let all = snapshot(&[]).await;
        for (user, privilege, name, yes) in [
            ("ann", Drop, &t, true),
            ("ann", Create, &schema, true),
            ("ann", Select, &old, false),
            ("bob", Select, &t, false),
            ("bob", Create, &schema, false),
            ("root", Drop, &old, true),
            ("", Select, &t, false),
        ] {
            assert_eq!(may(&all, user, privilege, name), yes, "{user} {privilege} {name}");
        }
        for on in [&t, &schema, &Name::catalog()] {
            let all = snapshot(&[(on.clone(), Privileges::of(&[Select]))]).await;
            assert!(may(&all, "bob", Select, &t), "SELECT on '{on}'");
            assert!(!may(&all, "bob", Insert, &t) && !may(&all, "ann", Select, &old), "'{on}'");
        }
    }

    #[tokio::test]
    async fn what_may_not_be_used_is_not_seen() {
        let all = snapshot(&[]).await;
        let seen = |user: &str| Rights::new(&all, &Who::User(user.to_owned())).seen().clone();
        assert_eq!(seen("ann").names_in("lab"), ["t"]);
        assert_eq!(
            (seen("bob").schemas(), seen("bob").names_in("lab").len()),
            (vec!["public".to_owned()], 0)
        );
        let create = Privileges::of(&[Privilege::Create]);
        let all = snapshot(&[(Name::schema("lab"), create)]).await;
        let bob = Rights::new(&all, &Who::User("bob".to_owned()));
        assert!(bob.seen().has_schema("lab"), "to make tables in it");
        assert!(bob.seen().names_in("lab").is_empty(), "and not to see others'");
        assert!(bob.check_create_in("lab").is_ok());
        let error = bob.check_create().expect_err("not granted");
        assert_eq!(error.message(), "user 'bob' has no CREATE on catalog 'dunlin'");
    }

    #[tokio::test]
    async fn a_view_reads_as_its_owner_and_never_as_more() {
        let all = snapshot(&[]).await;
        let bob = Rights::new(&all, &Who::User("bob".to_owned()));
        let of = |owner: Option<&str>| {
            bob.of_owner(&Access { owner: owner.map(str::to_owned), grants: Vec::new() })
        };
        let t = all.get(&Name::object("lab", "t")).expect("there");
        assert!(of(Some("ann")).check_entry(Privilege::Select, t).is_ok());
        assert!(of(Some("bob")).check_entry(Privilege::Select, t).is_err());
        assert!(of(Some("")).check_entry(Privilege::Select, t).is_err(), "its owner was removed");
        assert!(of(None).check_entry(Privilege::Select, t).is_ok(), "made where all may all");
    }
}
