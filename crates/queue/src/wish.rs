//! What an administrator wants of one process: `drain/{id}`. Written by the command line, read by the
//! shuffle worker that it names. Its absence means nothing, so losing one undoes nothing.

use dunlin_base::{ProcessId, Result};
use dunlin_metadata::{Compare, Durability, Entry, Op, StoreRef, Txn, TxnOutcome};
use dunlin_proto::queue::{DrainHow, DrainWish};
use prost::Message;

use crate::member::Role;

/// Where the wishes are.
const WISHES: &str = "drain/";

/// What a process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// It is to stay after all.
    Stay,
    /// It takes nothing more, and ends once nobody needs its data.
    Leave,
    /// It takes nothing more, and stays when it has no data.
    Idle,
    /// It ends as if by a signal: the next process on its folder has its data.
    Restart,
    /// It ends at once, and its data with it.
    End,
}

/// What is wanted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub want: Want,
    /// When it was said, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// All wishes, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Wishes(Vec<Entry>);

impl Wishes {
    /// Reads them. `Retry`: the store does not answer.
    pub async fn read(store: &StoreRef) -> Result<Self> {
        Ok(Self(store.range(WISHES).await?.entries))
    }

    /// The last wish for a process, by the ids of its lives.
    pub fn of(&self, lives: &[String]) -> Option<Wish> {
        let own = self.0.iter().filter(|entry| lives.iter().any(|id| is_of(entry, id)));
        let last = own.max_by_key(|entry| entry.modified)?;
        DrainWish::decode(last.value.as_ref()).ok().map(Wish::from)
    }
}

impl From<DrainWish> for Wish {
    fn from(wish: DrainWish) -> Self {
        let want = match (wish.drain, wish.how()) {
            (false, _) => Want::Stay,
            (true, DrainHow::Empty) => Want::Leave,
            (true, DrainHow::Idle) => Want::Idle,
            (true, DrainHow::Restart) => Want::Restart,
            (true, DrainHow::Now) => Want::End,
        };
        Self { want, since_unix_ms: wish.since_unix_ms }
    }
}

impl From<Wish> for DrainWish {
    fn from(Wish { want, since_unix_ms }: Wish) -> Self {
        let (drain, how) = match want {
            Want::Stay => (false, DrainHow::Empty),
            Want::Leave => (true, DrainHow::Empty),
            Want::Idle => (true, DrainHow::Idle),
            Want::Restart => (true, DrainHow::Restart),
            Want::End => (true, DrainHow::Now),
        };
        Self { drain, since_unix_ms, how: how.into() }
    }
}

impl Wish {
    /// The last wish for a process, by the ids of its lives.
    pub async fn of(store: &StoreRef, lives: &[String]) -> Result<Option<Self>> {
        Ok(Wishes::read(store).await?.of(lives))
    }

    /// Says what is wanted of a shuffle worker, in place of what was said before. False: it is gone.
    /// Idempotent.
    pub async fn say(self, store: &StoreRef, worker: ProcessId) -> Result<bool> {
        let card = format!("{}{worker}", Role::Shuffle.prefix());
        let wish = DrainWish::from(self);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wish_is_read_back_and_earlier_builds_are_understood() {
        for want in [Want::Stay, Want::Leave, Want::Idle, Want::Restart, Want::End] {
            let wish = Wish { want, since_unix_ms: 7 };
            let bytes = DrainWish::from(wish).encode_to_vec();
            assert_eq!(DrainWish::decode(&*bytes).map(Wish::from), Ok(wish));
        }
        let old = DrainWish { drain: true, since_unix_ms: 1, ..DrainWish::default() };
        assert_eq!(Wish::from(old).want, Want::Leave);
    }
}
