//! Who may do what with an object of the catalog. Data and pure rules; [`super::rights`] applies them
//! to a user and a snapshot.
//!
//! The one thing to know: an [`Access`] is part of the object's record, so it changes and goes with
//! the object in one step.

use std::fmt;

use dunlin_proto::catalog::v1;

/// Something that may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// Read a table or view.
    Select,
    /// Add rows to a table.
    Insert,
    /// Make tables and views in a schema; on the catalog also schemas, and files at places that SQL
    /// names.
    Create,
    /// Remove or replace an object.
    Drop,
}

impl Privilege {
    pub(crate) const EACH: [Self; 4] = [Self::Select, Self::Insert, Self::Create, Self::Drop];

    fn bit(self) -> u32 {
        match self {
            Self::Select => 1,
            Self::Insert => 2,
            Self::Create => 4,
            Self::Drop => 8,
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Create => "CREATE",
            Self::Drop => "DROP",
        })
    }
}

/// Several privileges. Bits that a later build knows are kept and mean nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges(u32);

impl Privileges {
    pub(crate) const ALL: Self = Self(15);

    pub(crate) fn of(all: &[Privilege]) -> Self {
        Self(all.iter().fold(0, |bits, one| bits | one.bit()))
    }

    pub(crate) fn has(self, one: Privilege) -> bool {
        self.0 & one.bit() != 0
    }

    pub(crate) fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(crate) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(crate) fn each(self) -> impl Iterator<Item = Privilege> {
        Privilege::EACH.into_iter().filter(move |one| self.has(*one))
    }
}

/// What one user, or all, may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Empty: all users.
    pub(crate) user: String,
    pub(crate) privileges: Privileges,
}

/// Who may do what with an object, and with what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Who made it; `None` where there were no users, empty when its owner is no user any more.
    pub(crate) owner: Option<String>,
    pub(crate) grants: Vec<Grant>,
}

impl Access {
    /// What all users may read and only administrators change: the tables of an opened folder.
    pub(crate) fn readable() -> Self {
        let grant = Grant { user: String::new(), privileges: Privileges::of(&[Privilege::Select]) };
        Self { owner: None, grants: vec![grant] }
    }

    /// What was granted to a user or to all.
    pub(crate) fn granted(&self, user: &str) -> Privileges {
        let to = self.grants.iter().filter(|grant| grant.user.is_empty() || grant.user == user);
        to.fold(Privileges::default(), |all, grant| all.and(grant.privileges))
    }

    pub(crate) fn is_owner(&self, user: &str) -> bool {
        !user.is_empty() && self.owner.as_deref() == Some(user)
    }

    /// Grants to a user, or to all if it is empty.
    pub(crate) fn grant(&mut self, user: &str, privileges: Privileges) {
        match self.grants.iter_mut().find(|grant| grant.user == user) {
            Some(grant) => grant.privileges = grant.privileges.and(privileges),
            None => self.grants.push(Grant { user: user.to_owned(), privileges }),
        }
    }

    pub(crate) fn revoke(&mut self, user: &str, privileges: Privileges) {
        for grant in self.grants.iter_mut().filter(|grant| grant.user == user) {
            grant.privileges = grant.privileges.without(privileges);
        }
        self.grants.retain(|grant| grant.privileges != Privileges::default());
    }

    /// Forgets a user that is removed: another of the same name inherits nothing. True if that
    /// changed anything.
    pub fn forget(&mut self, user: &str) -> bool {
        let before = self.grants.len();
        self.grants.retain(|grant| grant.user.is_empty() || grant.user != user);
        let owned = self.is_owner(user);
        if owned {
            self.owner = Some(String::new());
        }
        owned || self.grants.len() != before
    }

    pub(super) fn to_proto(&self) -> Option<v1::Access> {
        let grant = |g: &Grant| v1::Grant { user: g.user.clone(), privileges: g.privileges.0 };
        let grants = self.grants.iter().map(grant).collect();
        (*self != Self::default()).then(|| v1::Access { owner: self.owner.clone(), grants })
    }

    pub(super) fn from_proto(access: Option<v1::Access>) -> Self {
        let access = access.unwrap_or_default();
        let grant = |g: v1::Grant| Grant { user: g.user, privileges: Privileges(g.privileges) };
        Self { owner: access.owner, grants: access.grants.into_iter().map(grant).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_revoked_alone() {
        let mut access = Access::default();
        access.grant("ann", Privileges::ALL);
        access.grant("", Privileges::of(&[Privilege::Select]));
        access.revoke("ann", Privileges::of(&[Privilege::Select, Privilege::Drop]));
        let held = |user| access.granted(user).each().map(|p| p.to_string()).collect::<Vec<_>>();
        assert_eq!(held("ann"), ["SELECT", "INSERT", "CREATE"], "SELECT is everybody's");
        assert_eq!(held("bob"), ["SELECT"]);
    }

    #[test]
    fn a_removed_user_leaves_nothing_to_its_name() {
        let mut access = Access { owner: Some("ann".to_owned()), grants: Vec::new() };
        access.grant("ann", Privileges::ALL);
        assert!(access.forget("ann") && !access.forget("ann"));
        assert!(!access.is_owner("ann") && access.grants.is_empty());
        assert!(!access.is_owner(""), "nobody owns what was a removed user's");
        assert_eq!(Access::from_proto(access.to_proto()), access);
    }
}
