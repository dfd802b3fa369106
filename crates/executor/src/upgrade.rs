//! While a cluster goes from one build to another: who can still run the queries of the old one.

use std::time::Duration;

use dunlin_queue::{LiveSet, Phase, Role};

use crate::executor::Shared;

/// Between two looks of an executor that would leave.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// Whether there are queries, or gateways that may still publish some, which no other executor can
/// serve though others are alive. If the store does not say, nobody needs to wait for it.
pub(crate) async fn is_needed(shared: &Shared) -> bool {
    let parts = &shared.parts;
    let (own, build) = (*shared.id.lock(), parts.queue.build());
    let live = LiveSet::follow(parts.store.clone(), &parts.env, Role::Executor).await;
    let Ok(live) = live else { return false };
    let mut others = live.builds();
    others.retain(|id, _| Some(*id) != own);
    if others.is_empty() || others.values().any(|other| other == build) {
        return false;
    }
    let gateways = LiveSet::follow(parts.store.clone(), &parts.env, Role::Gateway).await;
    if gateways.is_ok_and(|live| live.builds().values().any(|gateway| gateway == build)) {
        return true;
    }
    let running = parts.queue.running().await.unwrap_or_default();
    let runs = |phase| matches!(phase, Phase::Running | Phase::Queued);
    running.iter().any(|query| runs(query.phase) && query.build == build)
}
