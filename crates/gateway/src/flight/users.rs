//! Who the users are: a seam with two sides, the metadata store and memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dunlin_base::{Env, Error, Result};
use dunlin_metadata::{Compare, Op, StoreRef, Txn, TxnOutcome};
use parking_lot::Mutex;

use super::password::{self, Cost};
use crate::catalog::{ADMINS, MetadataCatalog, USERS, escape, unescape, version};

/// Longest name.
const NAME_MAX: usize = 128;

/// What is kept of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A PHC string of argon2id.
    pub verifier: String,
    /// When it was made: one of the same name that is made later has another number, one with a new
    /// password has the same.
    pub created: u64,
}

/// Where users are looked up.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// A user; `None` if there is none of that name. `Retry`: out of reach.
    async fn user(&self, name: &str) -> Result<Option<User>>;
}

/// Users in the metadata store: the same for all gateways.
#[derive(Clone, Debug)]
pub struct MetadataUsers {
    store: StoreRef,
}

impl MetadataUsers {
    /// The users in `store`.
    pub fn new(store: StoreRef) -> Self {
        Self { store }
    }

    /// Makes a user, or gives it another password. Tokens that it has stay valid. Blocks a thread
    /// for the cost of hashing. `Invalid`: a name or password that is empty or too long.
    pub async fn set(&self, user: &str, password: &str, cost: Cost, env: &Env) -> Result<()> {
        check_name(user)?;
        if user.eq_ignore_ascii_case("public") {
            return Err(Error::invalid("'public' are all users: it is no name of one"));
        }
        let (password, env_) = (password.to_owned(), env.clone());
        let hashed = env.blocking(move || password::verifier(&password, cost, &env_)).await;
        let verifier = hashed.map_err(Error::bug)??;
        let ops = vec![Op::Put(key(user), verifier.into(), None), version()];
        self.store.txn(Txn { ops, ..Txn::default() }).await.map(|_| ())
    }

    /// Makes a user an administrator, who may do everything, or takes that away. Counts from the
    /// next statement on. `Invalid`: there is no such user.
    pub async fn set_admin(&self, user: &str, admin: bool) -> Result<()> {
        check_name(user)?;
        let change = match admin {
            true => Op::Put(admin_key(user), bytes::Bytes::new(), None),
            false => Op::Delete(admin_key(user)),
        };
        let (compares, ops) = (vec![Compare::Present(key(user))], vec![change, version()]);
        match self.store.txn(Txn { compares, ops, ..Txn::default() }).await? {
            TxnOutcome::Committed(_) => Ok(()),
            TxnOutcome::Conflict(_) => Err(Error::invalid(format!("there is no user '{user}'"))),
        }
    }

    /// The names of all administrators, sorted.
    pub async fn admins(&self) -> Result<Vec<String>> {
        self.below(ADMINS).await
    }

    /// Removes a user, its grants, and its name from what it owns: its tokens end within
    /// `DoorOptions::user_recheck`. Unknown ones are none. Idempotent: an error half-way is made
    /// good by another call.
    pub async fn remove(&self, user: &str) -> Result<()> {
        let ops = vec![Op::Delete(key(user)), Op::Delete(admin_key(user)), version()];
        self.store.txn(Txn { ops, ..Txn::default() }).await?;
        MetadataCatalog::new(StoreRef::clone(&self.store)).forget_user(user).await
    }

    /// The names of all users, sorted.
    pub async fn names(&self) -> Result<Vec<String>> {
        self.below(USERS).await
    }

    async fn below(&self, prefix: &str) -> Result<Vec<String>> {
        let found = self.store.range(prefix).await?;
        let name = |key: &str| key.strip_prefix(prefix).and_then(unescape);
        let mut names: Vec<_> = found.entries.iter().filter_map(|e| name(&e.key)).collect();
        names.sort();
        Ok(names)
    }
}

#[async_trait]
impl UserStore for MetadataUsers {
    async fn user(&self, name: &str) -> Result<Option<User>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let Some(entry) = self.store.get(&key(name)).await? else { return Ok(None) };
        let verifier = String::from_utf8(entry.value.to_vec())
            .map_err(|_| Error::lost(format!("the verifier of user '{name}' is damaged")))?;
        Ok(Some(User { verifier, created: entry.created.0.unsigned_abs() }))
    }
}

fn key(user: &str) -> String {
    format!("{USERS}{}", escape(user))
}

fn admin_key(user: &str) -> String {
    format!("{ADMINS}{}", escape(user))
}

fn check_name(user: &str) -> Result<()> {
    if user.is_empty() || user.len() > NAME_MAX {
        return Err(Error::invalid(format!("the name of a user has 1 to {NAME_MAX} bytes")));
    }
    Ok(())
}

/// Users of one process: for tests, and for a password in a configuration file.
#[derive(Debug, Default)]
pub struct MemoryUsers {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    users: BTreeMap<String, User>,
    made: u64,
}

impl MemoryUsers {
    /// Makes a user, or gives it another password.
    pub fn set(&self, user: &str, password: &str, cost: Cost, env: &Env) -> Result<()> {
        check_name(user)?;
        let verifier = password::verifier(password, cost, env)?;
        let mut known = self.known.lock();
        known.made += 1;
        let created = known.users.get(user).map_or(known.made, |user| user.created);
        known.users.insert(user.to_owned(), User { verifier, created });
        Ok(())
    }

    /// Removes a user.
    pub fn remove(&self, user: &str) {
        self.known.lock().users.remove(user);
    }
}

#[async_trait]
impl UserStore for MemoryUsers {
    async fn user(&self, name: &str) -> Result<Option<User>> {
        Ok(self.known.lock().users.get(name).cloned())
    }
}
