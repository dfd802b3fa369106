//! Where definitions are kept. The gateway implements this on the metadata store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use dunlin_base::{Result, Revision};

use super::{Access, Definition, Name, Object};

/// A shared catalog store.
pub type CatalogStoreRef = Arc<dyn CatalogStore>;

/// A definition with the revision at which it was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub definition: Definition,
    /// Who may use it.
    pub access: Access,
    /// When it was last written: expected by [`CatalogStore::swap`].
    pub revision: Revision,
}

/// All definitions at one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Every definition, in any order.
    pub objects: Vec<Stored>,
    /// Every user, and whether it is an administrator.
    pub users: BTreeMap<String, bool>,
    /// The version they were read at, as [`CatalogStore::version`] says it.
    pub version: Revision,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq)]
pub enum Swapped {
    /// It happened.
    Done,
    /// Another writer was first; what is there now.
    Conflict(Option<Stored>),
    /// The object would be new, and its schema is not there.
    NoSchema,
    /// A schema would be removed, and something is in it.
    NotEmpty,
}

/// Keeps definitions. All calls are linearizable; a returned `Done` is durable.
///
/// Errors: `Retry` (unreachable; the outcome of a swap is then unknown: read before trying again),
/// `Invalid` (a definition longer than the store's limit). Dropping a `swap` future leaves its
/// outcome unknown, dropping another has no effect.
#[async_trait]
pub trait CatalogStore: Send + Sync + std::fmt::Debug {
    /// Grows with every change, of users too. Called before every statement, so it should be cheap.
    async fn version(&self) -> Result<Revision>;

    /// Everything.
    async fn load(&self) -> Result<Loaded>;

    /// Writes (`Some`) or removes (`None`) one object if its revision is still `expected`
    /// (`None`: it does not exist). A new one needs its schema ([`Name::needs`]) in the same step; a
    /// schema goes only while nothing is in it.
    async fn swap(
        &self,
        name: &Name,
        expected: Option<Revision>,
        new: Option<Object>,
    ) -> Result<Swapped>;
}
