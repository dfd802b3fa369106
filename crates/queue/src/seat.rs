//! A role that joins again whenever it was fenced: one membership after the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::env::Task;
use dunlin_base::{Env, ProcessId, Result};
use dunlin_metadata::StoreRef;
use parking_lot::Mutex;

use crate::member::{Member, Role};

/// Between attempts to join again.
const REJOIN_WAIT: Duration = Duration::from_millis(500);

/// What a role's memberships have in common.
#[derive(Clone, Debug)]
pub struct SeatOptions {
    /// The role.
    pub role: Role,
    /// What its card says.
    pub card: Bytes,
    /// Time to live of each lease.
    pub ttl: Duration,
}

/// The place of a role that owns nothing which a lost lease would cost it (gateways, shuffle
/// workers): when one membership is fenced, the next begins under a new id. Executors, whose
/// claims end with their lease, keep their own loop.
///
/// Dropping it ends the rejoining; the lease then runs out by itself.
#[derive(Debug)]
pub struct Seat {
    member: Arc<Mutex<Member>>,
    life: Task<()>,
}

impl Seat {
    /// Joins, then keeps joining again. `joined` is called with the id of each life, before the
    /// seat has it; it must not block. Errors are those of [`Member::join`], of the first life only.
    pub async fn take(
        store: StoreRef,
        leases: Env,
        options: SeatOptions,
        joined: impl Fn(ProcessId) + Send + Sync + 'static,
    ) -> Result<Self> {
        let SeatOptions { role, card, ttl } = options;
        let first =
            Member::join(Arc::clone(&store), leases.clone(), role, card.clone(), ttl).await?;
        joined(first.id());
        let member = Arc::new(Mutex::new(first));
        let (current, env) = (Arc::clone(&member), leases.clone());
        let life = leases.spawn("keep seat", async move {
            loop {
                let life = current.lock().clone();
                life.fenced().await;
                let next = Member::join(Arc::clone(&store), env.clone(), role, card.clone(), ttl);
                match next.await {
                    Ok(next) => {
                        joined(next.id());
                        *current.lock() = next;
                    }
                    Err(error) => {
                        tracing::warn!(?role, %error, "can not join again yet");
                        env.sleep(REJOIN_WAIT).await;
                    }
                }
            }
        });
        Ok(Self { member, life })
    }

    /// The present membership. It may be fenced, until the next one begins.
    pub fn member(&self) -> Member {
        self.member.lock().clone()
    }

    /// Ends the rejoining and leaves; see [`Member::leave`].
    pub async fn leave(&self) -> Result<()> {
        self.life.abort();
        self.member().leave().await
    }

    /// Ends the rejoining only, as a crash would: the lease runs out.
    pub fn abandon(&self) {
        self.life.abort();
    }
}
