//! A process's membership: its card under a lease, and the fence that its writes carry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, ProcessId, Result, Revision};
use dunlin_metadata::StoreRef;

/// What a process does. Each role of a process is a member of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs slices: `ex/{id}`.
    Executor,
    /// Holds shuffle blocks: `sh/{id}`.
    Shuffle,
    /// Answers clients: `gw/{id}`.
    Gateway,
}

/// A live member. Cheap to clone. It ends with [`Member::leave`], or when it fences itself.
///
/// The lease is kept every third of its time to live. After 0.6 of it without a successful keep,
/// by the own monotonic clock, the member is fenced for good: it must stop claiming and
/// committing, and the role joins again under a new id.
#[derive(Clone, Debug)]
pub struct Member {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: ProcessId,
    role: Role,
    fence: Revision,
}

impl Member {
    /// Grants a lease, writes the card under it and keeps it on `env` (give it an `Env` of a
    /// runtime that no query work runs on). `Retry` if the store cannot be reached.
    pub async fn join(
        _store: StoreRef,
        env: Env,
        role: Role,
        _card: Bytes,
        _ttl: Duration,
    ) -> Result<Self> {
        let id = ProcessId::generate(&env);
        Ok(Self { inner: Arc::new(Inner { id, role, fence: Revision(0) }) })
    }

    /// The id of this life of the process.
    pub fn id(&self) -> ProcessId {
        self.inner.id
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// Revision at which the card came into being: every write of this member compares it.
    pub fn fence(&self) -> Revision {
        self.inner.fence
    }

    /// `Fenced` once the lease may have ended. Cheap: no I/O.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Returns when the member is fenced.
    pub async fn fenced(&self) {
        std::future::pending().await
    }

    /// Revokes the lease: the card goes now, and with it all claims. The member is fenced after.
    pub async fn leave(&self) -> Result<()> {
        Ok(())
    }
}
