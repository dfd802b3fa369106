//! A role that joins again whenever it was fenced: one membership after the other.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::env::Task;
use dunlin_base::{Env, ProcessId, Result};
use dunlin_metadata::{Durability, Op, StoreRef, Txn};
use dunlin_proto::queue::Card;
use parking_lot::Mutex;
use prost::Message;

use crate::estate::{self, Estate};
use crate::member::{Member, Role};
use crate::peer::Peer;

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
    /// What the present life and the next ones say.
    card: Arc<Mutex<Card>>,
    /// Held while a card is written, so that cards are written in the order of the calls.
    saying: tokio::sync::Mutex<()>,
    life: Task<()>,
}

/// The lives of one seat.
struct Lives<F> {
    store: StoreRef,
    env: Env,
    role: Role,
    ttl: Duration,
    card: Arc<Mutex<Card>>,
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
        let SeatOptions { role, card, ttl } = options;
        let card = Arc::new(Mutex::new(card));
        let (env, cards) = (leases.clone(), Arc::clone(&card));
        let mut lives = Lives { store, env, role, ttl, card: cards, joining };
        let first = lives.begin().await?;
        let member = Arc::new(Mutex::new(first));
        let current = Arc::clone(&member);
        let life = leases.spawn("keep seat", async move { lives.keep(&current).await });
        Ok(Self { member, card, saying: tokio::sync::Mutex::default(), life })
    }

    /// The present membership. It may be fenced, until the next one begins.
    pub fn member(&self) -> Member {
        self.member.lock().clone()
    }

    /// Has the card say something else from now on, this life's and that of all later ones. With
    /// `other`: only while the card of that process is as it was seen; false says that it is not, and
    /// then nothing changes. `Retry`, `Fenced`: whether it is written yet is not known, but later
    /// lives say it. Calls take effect in their order. Dropping the future leaves the outcome open.
    pub async fn say(&self, change: impl FnOnce(&mut Card), other: Option<&Peer>) -> Result<bool> {
        let _turn = self.saying.lock().await;
        let member = self.member();
        let before = self.card.lock().clone();
        let mut card = before.clone();
        change(&mut card);
        // Before it is written: a life that begins meanwhile says it, too.
        self.card.lock().clone_from(&card);
        // That this life is a former one is for later cards.
        let own = member.id().to_string();
        card.former.retain(|id| *id != own);
        let written = member.rewrite(&card, other).await;
        if matches!(written, Ok(false)) {
            let former = self.card.lock().former.clone();
            *self.card.lock() = Card { former, ..before };
        }
        written
    }

    /// Has the card of this life and all later ones answer for what another worker left, and the own
    /// estate name it, in place of that one's; see [`Estate::claim`]. To be called once all of it is
    /// here. False: it is not as it was claimed, and nothing has changed. Errors and order are those
    /// of [`Seat::say`].
    pub async fn inherit(&self, estate: &Estate) -> Result<bool> {
        let _turn = self.saying.lock().await;
        let member = self.member();
        let before = self.card.lock().clone();
        let mut card = before.clone();
        estate.add_to(&mut card);
        self.card.lock().clone_from(&card);
        let own = member.id().to_string();
        card.former.retain(|id| *id != own);
        let record = Estate::record(&card, member.id());
        let written = member.inherit(&card, record, estate).await;
        if matches!(written, Ok(false)) {
            let former = self.card.lock().former.clone();
            *self.card.lock() = Card { former, ..before };
        }
        written
    }

    /// Leaves nothing behind in the object store: its estate goes. For a process that ends and holds
    /// nothing. `Retry`: perhaps it is still there; somebody looks through it in vain then.
    pub async fn renounce(&self) -> Result<()> {
        let member = self.member();
        let ops = vec![Op::Delete(estate::key(member.id()))];
        let (store, _) = member.store();
        store.txn(Txn { ops, durability: Durability::Lazy, ..Txn::default() }).await.map(drop)
    }

    /// The ids of all lives, the newest last, as far as cards name them.
    pub fn lives(&self) -> Vec<String> {
        self.card.lock().former.clone()
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
        let card = self.card.lock().clone();
        let said = (card.encode_to_vec().into(), Estate::record(&card, id));
        let (store, env) = (Arc::clone(&self.store), self.env.clone());
        let lives = (id, card.former.as_slice());
        let member = Member::join_as(lives, (store, env), self.role, said, self.ttl).await?;
        let former = &mut self.card.lock().former;
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
                    let role = self.role;
                    tracing::warn!(?role, %error, "can not join again yet");
                    self.env.sleep(REJOIN_WAIT).await;
                }
            }
        }
    }
}
