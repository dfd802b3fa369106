//! The members of a role as the store has them now, and what a member says of itself while it lives.
//!
//! For decisions that must not rest on the hint that a [`LiveSet`](crate::LiveSet) is: an executor
//! leaves because another one stays, and two may be told to end at the same moment.

use dunlin_base::{Error, ProcessId, Result, Revision};
use dunlin_metadata::{Compare, Durability, Op, StoreRef, Txn, TxnOutcome};
use dunlin_proto::queue::Card;
use prost::Message;

use crate::member::{Member, Role};
use crate::queue::settle;

/// A live process with its card.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// The id of its present life.
    pub id: ProcessId,
    /// What it says of itself.
    pub card: Card,
    /// When its card was last written.
    pub modified: Revision,
}

impl Peer {
    /// All that have cards of this role, in the order of their ids. Cards that cannot be read are
    /// left out. `Retry`: the store is out of reach.
    pub async fn all(store: &StoreRef, role: Role) -> Result<Vec<Self>> {
        let cards = store.range(role.prefix()).await?.entries;
        let peer = |entry: &dunlin_metadata::Entry| {
            let id = entry.key.strip_prefix(role.prefix())?.parse().ok()?;
            let card = Card::decode(entry.value.as_ref()).ok()?;
            Some(Self { id, card, modified: entry.modified })
        };
        Ok(cards.iter().filter_map(peer).collect())
    }
}

impl Member {
    /// Has its card say something else, under the same lease, while the card of `other` is as it was
    /// seen. False: it is not, and nothing was written. Idempotent. `Fenced`: the own card is gone.
    pub async fn rewrite(&self, card: &Card, other: Option<&Peer>) -> Result<bool> {
        let key = |id: ProcessId| format!("{}{id}", self.role().prefix());
        let mut compares = vec![Compare::Created(key(self.id()), self.fence())];
        compares.extend(other.map(|peer| Compare::Modified(key(peer.id), peer.modified)));
        let put = Op::Put(key(self.id()), card.encode_to_vec().into(), Some(self.lease()));
        let txn = Txn { compares, ops: vec![put], durability: Durability::Lazy };
        let (store, env) = self.store();
        match settle(store, env, txn).await? {
            TxnOutcome::Committed(_) => Ok(true),
            TxnOutcome::Conflict(found) => match found.first() {
                Some(Some(own)) if own.created == self.fence() => Ok(false),
                _ => Err(Error::fenced(format!("process {} has no card any more", self.id()))),
            },
        }
    }
}
