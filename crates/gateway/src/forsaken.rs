//! Queries that nobody can run: a gateway says so while no executor of its build is alive, and fails
//! those that have waited for too long for one of theirs.
//!
//! Level-triggered and not bound to who published or waits: the queries of a gateway that died are
//! failed, too, and any number of gateways may do it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{Error, Result};
use dunlin_queue::{LiveSet, Phase};

use crate::gateway::{Gateway, Inner};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Looks between two at queries of other builds than the gateway's own. Nobody may be left who is
/// of their build.
const OTHERS_EVERY: u32 = 15;

/// Looks until the gateway is gone.
pub(crate) async fn watch(gateway: std::sync::Weak<Inner>, executors: LiveSet, limit: Duration) {
    let mut absent = Absent::default();
    for look in 0_u32.. {
        let Some(env) = gateway.upgrade().map(|inner| inner.parts.env.clone()) else { return };
        env.sleep(LOOK).await;
        let Some(inner) = gateway.upgrade() else { return };
        let gateway = Gateway { inner: Arc::clone(&inner) };
        if gateway.is_killed() {
            return;
        }
        let own = inner.parts.queue.build();
        let alive: BTreeSet<String> = executors.builds().into_values().collect();
        let now = env.unix_ms();
        if absent.look(own, alive.contains(own), now) {
            match alive.contains(own) {
                true => tracing::warn!("executors are alive again"),
                false => {
                    tracing::warn!("no executor is alive: queries wait, at most {limit:?} each")
                }
            }
        }
        if alive.contains(own) && look % OTHERS_EVERY != 0 {
            continue;
        }
        if let Err(error) = fail_old(&gateway, &mut absent, &alive, limit).await {
            tracing::debug!(%error, "queries without executors");
        }
    }
}

/// The builds of which no executor is alive, and since when (milliseconds since 1970).
#[derive(Debug, Default)]
struct Absent(BTreeMap<String, u64>);

impl Absent {
    /// Takes note of whether an executor of the build is alive. True if that has changed.
    fn look(&mut self, build: &str, alive: bool, now: u64) -> bool {
        if alive {
            return self.0.remove(build).is_some();
        }
        let before = self.0.len();
        self.0.entry(build.to_owned()).or_insert(now);
        self.0.len() > before
    }

    /// Whether a query has been without executors for as long as it may, by its build and age.
    fn is_forsaken(&self, build: &str, created: u64, now: u64, limit_ms: u64) -> bool {
        let since = self.0.get(build).map(|since| created.max(*since));
        since.is_some_and(|since| now.saturating_sub(since) >= limit_ms)
    }
}

async fn fail_old(
    gateway: &Gateway,
    absent: &mut Absent,
    alive: &BTreeSet<String>,
    limit: Duration,
) -> Result<()> {
    let parts = gateway.parts();
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let now = parts.env.unix_ms();
    let mut running = parts.queue.running().await?;
    running.retain(|query| matches!(query.phase, Phase::Running | Phase::Queued));
    for query in &running {
        // One that says nothing of its build is for any.
        let any = query.build.is_empty() && !alive.is_empty();
        absent.look(&query.build, any || alive.contains(&query.build), now);
        if absent.is_forsaken(&query.build, query.created_unix_ms, now, limit_ms) {
            let of = match query.build == parts.queue.build() {
                true => String::new(),
                false => format!(" of build {}, which planned it,", query.build),
            };
            let error = Error::retry(format!("no executor{of} was alive for {limit:?}"))
                .with_hint("start a process with the executor role, then run the query again");
            // One that cannot be read keeps no other waiting; the sweep says what is wrong with it.
            if let Err(error) = parts.queue.fail(query.query, &error).await {
                tracing::debug!(query = %query.query, %error, "a forsaken query");
            }
        }
    }
    let own = parts.queue.build();
    absent.0.retain(|build, _| build == own || running.iter().any(|query| query.build == *build));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_forsaken_once_its_build_was_absent_for_the_limit_of_its_life() {
        let mut absent = Absent::default();
        assert!(!absent.look("b1", true, 0));
        assert!(!absent.is_forsaken("b1", 0, 1_000_000, 100), "an executor is alive");
        assert!(absent.look("b1", false, 1000), "it has changed");
        assert!(!absent.look("b1", false, 1050), "that is known");
        assert!(!absent.is_forsaken("b1", 0, 1099, 100));
        assert!(absent.is_forsaken("b1", 0, 1100, 100));
        assert!(!absent.is_forsaken("b1", 1050, 1149, 100), "it is younger");
        assert!(!absent.is_forsaken("b2", 0, 5000, 100), "nothing is known of that build");
        assert!(absent.look("b1", true, 1200));
        assert!(!absent.is_forsaken("b1", 0, 5000, 100));
    }
}
