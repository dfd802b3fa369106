//! What an administrator wants of one process: `drain/{id}`. Written by the command line, read by the
//! shuffle worker that it names. Its absence means nothing, so losing one undoes nothing.

use dunlin_base::{ProcessId, Result};
use dunlin_metadata::{Compare, Durability, Entry, Op, StoreRef, Txn, TxnOutcome};
use dunlin_proto::queue::DrainWish;
use prost::Message;

use crate::member::Role;

/// Where the wishes are.
const WISHES: &str = "drain/";

/// Whether a process is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// False: it is to stay after all.
    pub drain: bool,
    /// When it was said, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

impl Wish {
    /// The last wish for a process, by the ids of its lives.
    pub async fn of(store: &StoreRef, lives: &[String]) -> Result<Option<Self>> {
        let wishes = store.range(WISHES).await?.entries;
        let own = wishes.iter().filter(|entry| lives.iter().any(|id| is_of(entry, id)));
        let last = own.max_by_key(|entry| entry.modified);
        let read = |entry: &Entry| DrainWish::decode(entry.value.as_ref()).ok();
        let wish = |wish: DrainWish| Self { drain: wish.drain, since_unix_ms: wish.since_unix_ms };
        Ok(last.and_then(read).map(wish))
    }

    /// Says what is wanted of a shuffle worker, in place of what was said before. False: it is gone.
    /// Idempotent.
    pub async fn say(self, store: &StoreRef, worker: ProcessId) -> Result<bool> {
        let card = format!("{}{worker}", Role::Shuffle.prefix());
        let wish = DrainWish { drain: self.drain, since_unix_ms: self.since_unix_ms };
        let put = Op::Put(format!("{WISHES}{worker}"), wish.encode_to_vec().into(), None);
        let compares = vec![Compare::Present(card)];
        let txn = Txn { compares, ops: vec![put], durability: Durability::Synced };
        Ok(matches!(store.txn(txn).await?, TxnOutcome::Committed(_)))
    }

    /// Removes the wishes for a process, by the ids of its lives. Idempotent.
    pub async fn forget(store: &StoreRef, lives: &[String]) -> Result<()> {
        let ops = lives.iter().map(|id| Op::Delete(format!("{WISHES}{id}"))).collect();
        store.txn(Txn { ops, durability: Durability::Lazy, ..Txn::default() }).await.map(drop)
    }

    /// Removes the wishes for processes that are none of these, by the ids of their lives.
    pub async fn forget_others(store: &StoreRef, alive: &[String]) -> Result<()> {
        let wishes = store.range(WISHES).await?.entries;
        let gone = wishes.iter().filter(|entry| !alive.iter().any(|id| is_of(entry, id)));
        for entry in gone {
            let compares = vec![Compare::Modified(entry.key.clone(), entry.modified)];
            let ops = vec![Op::Delete(entry.key.clone())];
            store.txn(Txn { compares, ops, durability: Durability::Lazy }).await?;
        }
        Ok(())
    }
}

fn is_of(wish: &Entry, id: &str) -> bool {
    wish.key.strip_prefix(WISHES) == Some(id)
}
