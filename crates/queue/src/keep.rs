//! Readers that take their time: how a result is kept from the sweeper while it is read.

use std::time::Duration;

use dunlin_base::{Error, QueryId, Result};
use dunlin_metadata::{Compare, Durability, Op, Txn, TxnOutcome};
use dunlin_proto::queue::Live;
use prost::Message;

use crate::keys;
use crate::queue::{CONFLICTS_MAX, Queue};

impl Queue {
    /// How long an ended query's records stay unless somebody removes them or asks to
    /// [keep](Queue::keep) them.
    pub fn hold(&self) -> Duration {
        self.tuning().hold
    }

    /// Keeps an ended query's result from the sweeper for another [`Queue::hold`]. For readers that
    /// take long, a few times in each hold. One of several that ask at once may do it for all.
    /// `Lost`: it was removed. After `Ok` a sweep that had begun before leaves it alone, too.
    pub async fn keep(&self, query: QueryId) -> Result<()> {
        let key = keys::live(query);
        let now = self.env().unix_ms();
        let mut entry = self.store().get(&key).await?;
        for _ in 0..CONFLICTS_MAX {
            let there = entry.ok_or_else(|| {
                Error::lost(format!("the result of query {query} was removed before it was read"))
                    .with_hint("run the query again")
            })?;
            let live = Live::decode(there.value.clone())
                .map_err(|e| Error::lost(format!("{key} can not be decoded")).with_source(e))?;
            if live.read_unix_ms >= now {
                return Ok(());
            }
            let live = Live { read_unix_ms: now, ..live };
            let txn = Txn {
                // Never brings back what was removed.
                compares: vec![Compare::Modified(key.clone(), there.modified)],
                ops: vec![Op::Put(key.clone(), live.encode_to_vec().into(), None)],
                durability: Durability::Lazy,
            };
            match self.store().txn(txn).await? {
                TxnOutcome::Committed(_) => return Ok(()),
                // Another has kept it, or removed it.
                TxnOutcome::Conflict(entries) => entry = entries.into_iter().next().flatten(),
            }
        }
        Err(Error::retry(format!("query {query} changes too fast to be kept")))
    }
}
