//! The processes that are alive, by their cards.

use bytes::Bytes;
use dunlin_base::{Env, ProcessId, Result, Revision};
use dunlin_metadata::StoreRef;

use crate::member::Role;

/// The live processes of a role, kept current by a watch in a task of its own. A hint: claims
/// verify a death against the store in their transaction.
#[derive(Debug)]
pub struct LiveSet {}

impl LiveSet {
    /// Reads the cards of a role and follows them until the set is dropped. `Retry` if the store
    /// cannot be read now.
    pub async fn follow(_store: StoreRef, _env: &Env, _role: Role) -> Result<Self> {
        Ok(Self {})
    }

    /// How many are alive.
    pub fn count(&self) -> usize {
        0
    }

    /// The fence (revision at which the card came into being) of a live process.
    pub fn fence(&self, _id: ProcessId) -> Option<Revision> {
        None
    }

    /// All live processes with their cards.
    pub fn cards(&self) -> Vec<(ProcessId, Bytes)> {
        Vec::new()
    }

    /// Returns when a process came or went since the last call. Dropping it loses nothing.
    pub async fn changed(&self) {
        std::future::pending().await
    }
}
