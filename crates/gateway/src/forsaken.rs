//! Queries that nobody can run: a gateway says so while no executor is alive, and fails those that
//! have waited for too long.
//!
//! Level-triggered and not bound to who published or waits: the queries of a gateway that died are
//! failed, too, and any number of gateways may do it at once.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Error, Result};
use dunlin_queue::{LiveSet, Phase};

use crate::gateway::{Gateway, Inner};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until the gateway is gone.
pub(crate) async fn watch(gateway: std::sync::Weak<Inner>, executors: LiveSet, limit: Duration) {
    let mut none_since = None;
    loop {
        let Some(env) = gateway.upgrade().map(|inner| inner.parts.env.clone()) else { return };
        env.sleep(LOOK).await;
        let Some(inner) = gateway.upgrade() else { return };
        let gateway = Gateway { inner: Arc::clone(&inner) };
        if gateway.is_killed() {
            return;
        }
        if executors.count() > 0 {
            if none_since.take().is_some() {
                tracing::warn!("executors are alive again");
            }
            continue;
        }
        let since = *none_since.get_or_insert_with(|| {
            tracing::warn!("no executor is alive: queries wait, at most {limit:?} each");
            env.unix_ms()
        });
        if let Err(error) = fail_old(&gateway, since, limit).await {
            tracing::debug!(%error, "queries without executors");
        }
    }
}

async fn fail_old(gateway: &Gateway, none_since: u64, limit: Duration) -> Result<()> {
    let parts = gateway.parts();
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let now = parts.env.unix_ms();
    if now.saturating_sub(none_since) < limit_ms {
        return Ok(());
    }
    for query in parts.queue.running().await? {
        let running = matches!(query.phase, Phase::Running | Phase::Queued);
        if running && now.saturating_sub(query.created_unix_ms) >= limit_ms {
            let error = Error::retry(format!("no executor was alive for {limit:?}"))
                .with_hint("start a process with the executor role, then run the query again");
            parts.queue.fail(query.query, &error).await?;
        }
    }
    Ok(())
}
