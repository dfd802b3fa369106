//! A role that joins again whenever it was fenced: one membership after the other.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Env, ProcessId, Result};
use dunlin_metadata::StoreRef;
use dunlin_proto::queue::Card;
use parking_lot::Mutex;
use prost::Message;

use crate::member::{Member, Role};

/// Between attempts to join again.
const REJOIN_WAIT: Duration = Duration::from_millis(500);

/// Former lives that a card names. Blocks of older ones belong to queries that have ended long ago.
const FORMER_MAX: usize = 32;

/// What a role's memberships have in common.
#[derive(Clone, Debug)]
pub struct SeatOptions {
    /// The role.
    pub role: Role,
    /// What its card says. The ids of its former lives are added to those that it names already:
    /// of former processes whose place this one takes.
    pub card: Card,
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

/// The lives of one seat.
struct Lives<F> {
    store: StoreRef,
    env: Env,
    options: SeatOptions,
    joining: F,
}

impl Seat {
    /// Joins, then keeps joining again. `joining` is called with the id of each life before anybody
    /// else can know it; it must not block. Errors are those of [`Member::join`], of the first life
    /// only.
    pub async fn take(
        store: StoreRef,
        leases: Env,
        options: SeatOptions,
        joining: impl Fn(ProcessId) + Send + Sync + 'static,
    ) -> Result<Self> {
        let mut lives = Lives { store, env: leases.clone(), options, joining };
        let first = lives.begin().await?;
        let member = Arc::new(Mutex::new(first));
        let current = Arc::clone(&member);
        let life = leases.spawn("keep seat", async move { lives.keep(&current).await });
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

    /// Ends the rejoining and leaves the card where it is: it stays for one more lease, and who
    /// looks for this process is told to wait. For a process that has handed over to the next one,
    /// which removes the card when it takes this place. `Retry` if the store was not reached: then
    /// the card stays less long.
    pub async fn leave_behind(&self) -> Result<()> {
        self.life.abort();
        self.member().renew().await
    }

    /// Ends the rejoining only, as a crash would: the lease runs out.
    pub fn abandon(&self) {
        self.life.abort();
    }
}

impl<F: Fn(ProcessId)> Lives<F> {
    async fn begin(&mut self) -> Result<Member> {
        let id = ProcessId::generate(&self.env);
        (self.joining)(id);
        let SeatOptions { role, card, ttl } = &self.options;
        let bytes = card.encode_to_vec().into();
        let (store, env) = (Arc::clone(&self.store), self.env.clone());
        let lives = (id, card.former.as_slice());
        let member = Member::join_as(lives, (store, env), *role, bytes, *ttl).await?;
        let former = &mut self.options.card.former;
        former.push(id.to_string());
        let extra = former.len().saturating_sub(FORMER_MAX);
        former.drain(..extra);
        Ok(member)
    }

    async fn keep(&mut self, current: &Mutex<Member>) {
        loop {
            let life = current.lock().clone();
            life.fenced().await;
            match self.begin().await {
                Ok(next) => *current.lock() = next,
                Err(error) => {
                    let role = self.options.role;
                    tracing::warn!(?role, %error, "can not join again yet");
                    self.env.sleep(REJOIN_WAIT).await;
                }
            }
        }
    }
}
