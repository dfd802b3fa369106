//! Readers that take their time: how a result is kept from the sweeper while it is read.

use std::time::Duration;

use dunlin_base::{Error, QueryId, Result};
use dunlin_metadata::{Compare, Durability, Op, Txn};
use dunlin_proto::queue::Live;
use prost::Message;

use crate::keys;
use crate::queue::Queue;

impl Queue {
    /// How long an ended query's records stay unless somebody removes them or asks to
    /// [keep](Queue::keep) them.
    pub fn hold(&self) -> Duration {
        self.tuning().hold
    }

    /// Keeps an ended query's result from the sweeper for another [`Queue::hold`]. For readers that
    /// take long, a few times in each hold. One of several that ask at once may do it for all.
    /// `Lost`: it was removed.
    pub async fn keep(&self, query: QueryId) -> Result<()> {
        let key = keys::live(query);
        let entry = self.store().get(&key).await?.ok_or_else(|| {
            Error::lost(format!("the result of query {query} was removed before it was read"))
                .with_hint("run the query again")
        })?;
        let live = Live::decode(entry.value.clone())
            .map_err(|e| Error::lost(format!("{key} can not be decoded")).with_source(e))?;
        let live = Live { read_unix_ms: self.env().unix_ms(), ..live };
        let txn = Txn {
            // Never brings back what was removed.
            compares: vec![Compare::Modified(key.clone(), entry.modified)],
            ops: vec![Op::Put(key, live.encode_to_vec().into(), None)],
            durability: Durability::Lazy,
        };
        self.store().txn(txn).await.map(|_| ())
    }
}
