//! A process's membership: its card under a lease, and the fence that its writes carry.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, LeaseId, ProcessId, Result, Revision};
use dunlin_metadata::{Compare, Durability, Op, StoreRef, Txn, TxnOutcome};
use dunlin_proto::queue::Estate;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

use crate::estate;
use crate::invariants::Owner;
use crate::latch::Latch;
use crate::queue::settle;
use crate::segment::Claimer;

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

impl Role {
    /// Where the cards of this role are.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Executor => "ex/",
            Self::Shuffle => "sh/",
            Self::Gateway => "gw/",
        }
    }
}

/// A live member. Cheap to clone. It ends with [`Member::leave`], or when it fences itself.
///
/// The lease is kept every third of its time to live. After 0.6 of it without a successful keep,
/// by the own monotonic clock, the member is fenced for good: it must stop claiming and
/// committing, and the role joins again under a new id. When the last clone is dropped the lease
/// is no longer kept and runs out.
#[derive(Clone, Debug)]
pub struct Member {
    inner: Arc<Inner>,
}

/// A member, held by something that must not keep its lease alive.
#[derive(Clone, Debug, Default)]
pub struct WeakMember {
    inner: Weak<Inner>,
}

impl WeakMember {
    /// The member, if anybody still has it.
    pub fn upgrade(&self) -> Option<Member> {
        self.inner.upgrade().map(|inner| Member { inner })
    }
}

#[derive(Debug)]
struct Inner {
    id: ProcessId,
    role: Role,
    fence: Revision,
    lease: LeaseId,
    ttl: Duration,
    store: StoreRef,
    env: Env,
    /// When the last successful keep was sent.
    kept: Mutex<Duration>,
    fenced: Latch,
    /// Tokens of claims that this process knows it holds.
    tokens: Mutex<HashSet<u64>>,
    /// Rings when a claim that may have happened was given up.
    strays: Notify,
}

impl Member {
    /// Grants a lease, writes the card under it and keeps it on `env` (give it an `Env` of a
    /// runtime that no query work runs on). `Retry` if the store cannot be reached.
    pub async fn join(
        store: StoreRef,
        env: Env,
        role: Role,
        card: Bytes,
        ttl: Duration,
    ) -> Result<Self> {
        let id = ProcessId::generate(&env);
        Self::join_as((id, &[]), (store, env), role, (card, None), ttl).await
    }

    /// [`Member::join`] under a fresh id that the caller has generated, with an estate if it is to leave
    /// one. The cards and estates of its former lives go in the moment that its own come: nobody ever
    /// takes it for two.
    pub(crate) async fn join_as(
        (id, former): (ProcessId, &[String]),
        (store, env): (StoreRef, Env),
        role: Role,
        (card, estate): (Bytes, Option<Estate>),
        ttl: Duration,
    ) -> Result<Self> {
        let sent = env.now();
        let lease = store.lease_grant(ttl).await?;
        let key = format!("{}{id}", role.prefix());
        let gone = former.iter().map(|id| Op::Delete(format!("{}{id}", role.prefix())));
        let mut txn = Txn {
            compares: vec![Compare::Absent(key.clone())],
            ops: gone.chain([Op::Put(key, card, Some(lease.id))]).collect(),
            // A card does not outlive the machine.
            durability: Durability::Lazy,
        };
        if let Some(estate) = estate {
            txn.ops.extend(former.iter().map(|id| Op::Delete(estate::key(id))));
            txn.ops.push(Op::Put(estate::key(id), estate.encode_to_vec().into(), None));
            txn.durability = Durability::Synced;
        }
        let fence = match settle(&store, &env, txn).await? {
            TxnOutcome::Committed(revision) => revision,
            // The id is ours alone: what is there is what we wrote and did not hear of.
            TxnOutcome::Conflict(found) => match found.into_iter().flatten().next() {
                Some(entry) => entry.created,
                None => return Err(Error::retry("the process's card is gone again")),
            },
        };
        let inner = Arc::new(Inner {
            id,
            role,
            fence,
            lease: lease.id,
            ttl,
            store,
            env: env.clone(),
            kept: Mutex::new(sent),
            fenced: Latch::default(),
            tokens: Mutex::default(),
            strays: Notify::new(),
        });
        env.spawn("keep lease", keep(Arc::downgrade(&inner), env.clone(), ttl));
        Ok(Self { inner })
    }

    /// The same for somebody whose having it does not keep the lease.
    pub fn downgrade(&self) -> WeakMember {
        WeakMember { inner: Arc::downgrade(&self.inner) }
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
        self.inner.check()
    }

    /// Returns when the member is fenced.
    pub async fn fenced(&self) {
        self.inner.fenced.wait().await;
    }

    /// Revokes the lease: the card goes now, and with it all claims. The member is fenced after,
    /// whether or not the store could be told (`Retry`: the lease runs out by itself).
    pub async fn leave(&self) -> Result<()> {
        self.fence_now();
        self.inner.store.lease_revoke(self.inner.lease).await
    }

    /// Renews the lease now, so that the card stays for as long as it can. `Fenced`: it has ended.
    pub(crate) async fn renew(&self) -> Result<()> {
        self.check()?;
        self.inner.store.lease_keep(self.inner.lease).await
    }

    pub(crate) fn lease(&self) -> LeaseId {
        self.inner.lease
    }

    pub(crate) fn store(&self) -> (&StoreRef, &Env) {
        (&self.inner.store, &self.inner.env)
    }

    pub(crate) fn fence_now(&self) {
        self.inner.fenced.set();
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner { executor: self.inner.id.to_string(), fence: self.inner.fence }
    }

    /// Draws a token for a claim and remembers it until the token is dropped. A claim of this
    /// process in a record whose token is not remembered is one that it does not know of (an
    /// unknown outcome, a dropped future): it is void.
    pub(crate) fn token(&self) -> Token {
        let mut tokens = self.inner.tokens.lock();
        loop {
            let value = self.inner.env.random();
            if tokens.insert(value) {
                return Token { member: self.clone(), value, sent: false };
            }
        }
    }

    /// Returns after a claim that may have happened was given up, because nobody heard of it or its
    /// stage could not be read. Its slices are free for this process alone, and no change of a
    /// record tells of it: look at all stages again. Dropping the future loses nothing.
    pub async fn strays(&self) {
        self.inner.strays.notified().await;
    }

    pub(crate) fn holds(&self, token: u64) -> bool {
        self.inner.tokens.lock().contains(&token)
    }
}

/// A claim that this process knows it holds.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) member: Member,
    pub(crate) value: u64,
    /// A transaction with it is on its way, beside work that goes on if it comes to nothing.
    sent: bool,
}

impl Token {
    /// Its claim may happen from now on, and whoever made it may not wait for it.
    pub(crate) fn set_sent(&mut self, sent: bool) {
        self.sent = sent;
    }

    /// Who claims, of a stage in this epoch.
    pub(crate) fn claimer(&self, epoch: u32) -> Claimer {
        let (owner, lease) = (self.member.owner(), self.member.inner.lease.0);
        Claimer { owner, lease, token: self.value, epoch }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.member.inner.tokens.lock().remove(&self.value);
        if self.sent {
            self.member.inner.strays.notify_one();
        }
    }
}

impl Inner {
    fn check(&self) -> Result<()> {
        let late = self.env.now() >= self.fences_at();
        if late {
            self.fenced.set();
        }
        if late || self.fenced.is_set() {
            return Err(Error::fenced(format!("the lease of process {} may have ended", self.id)));
        }
        Ok(())
    }

    fn fences_at(&self) -> Duration {
        *self.kept.lock() + self.ttl.mul_f64(0.6)
    }
}

/// Keeps the lease until the member is fenced or nobody holds it.
async fn keep(member: Weak<Inner>, env: Env, ttl: Duration) {
    let mut wait = ttl / 3;
    loop {
        env.sleep(wait).await;
        let Some(member) = member.upgrade() else { return };
        if member.check().is_err() {
            break;
        }
        let sent = env.now();
        let left = member.fences_at().saturating_sub(sent);
        match env.timeout(left.min(ttl / 5), member.store.lease_keep(member.lease)).await {
            Some(Ok(())) => {
                *member.kept.lock() = sent;
                wait = ttl / 3;
            }
            Some(Err(error)) if error.kind() == Kind::Fenced => {
                member.fenced.set();
                return;
            }
            Some(Err(_)) | None => wait = ttl / 20,
        }
        wait = wait.min(member.fences_at().saturating_sub(env.now()));
    }
    // Nothing depends on this: it lets others take the claims sooner.
    if let Some(member) = member.upgrade() {
        let _ = env.timeout(ttl, member.store.lease_revoke(member.lease)).await;
    }
}
