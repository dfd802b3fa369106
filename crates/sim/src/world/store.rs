//! The metadata store as one process reaches it: over its link, with each transaction in the trace.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{LeaseId, Result, Revision};
use dunlin_metadata::sim::SimStore;
use dunlin_metadata::{Entry, Lease, Snapshot, Store, Txn, TxnOutcome, Watch};
use dunlin_queue::checker::Checker;
use futures::StreamExt;

use super::link::{Link, Way};

/// The shared store over the link of one process.
#[derive(Debug)]
pub(crate) struct LinkedStore {
    pub(crate) name: String,
    pub(crate) link: Arc<Link>,
    pub(crate) store: SimStore,
    pub(crate) checker: Checker,
}

#[async_trait]
impl Store for LinkedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.link.through(Way::Store, self.store.get(key)).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot> {
        self.link.through(Way::Store, self.store.range(prefix)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let ops = txn.ops.len();
        let outcome = self.link.through(Way::Txn, self.store.txn(txn)).await;
        let said = match &outcome {
            Ok(TxnOutcome::Committed(revision)) => format!("r{revision}"),
            Ok(TxnOutcome::Conflict(_)) => "conflict".to_owned(),
            Err(error) => error.kind().to_string(),
        };
        self.checker.note(&self.name, format!("transaction of {ops}: {said}"));
        outcome
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let watch = self.link.through(Way::Store, self.store.watch(prefix, from)).await?;
        let link = Arc::clone(&self.link);
        let passed = watch.then(move |events| {
            let link = Arc::clone(&link);
            async move { link.through(Way::Store, async { events }).await }
        });
        Ok(passed.boxed())
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.link.through(Way::Store, self.store.lease_grant(ttl)).await
    }

    async fn lease_keep(&self, lease: LeaseId) -> Result<()> {
        self.link.through(Way::Store, self.store.lease_keep(lease)).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.link.through(Way::Store, self.store.lease_revoke(lease)).await
    }
}
