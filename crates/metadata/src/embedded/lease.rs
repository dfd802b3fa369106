//! Deadlines of leases, in memory only: a restart ends them all, because their holders lived in
//! this process.

use std::collections::HashMap;
use std::time::Duration;

use dunlin_base::{Env, Error, LeaseId, Result};

/// Most leases at a time.
const LEASES_MAX: usize = 16 * 1024;

#[derive(Debug)]
struct Deadline {
    ttl: Duration,
    at: Duration,
}

/// The live leases. One mutex around it orders keeps against ends: a kept lease does not end
/// before its new deadline.
#[derive(Debug, Default)]
pub(super) struct Leases(HashMap<LeaseId, Deadline>);

impl Leases {
    /// A new lease. Its id is random, so that an id kept in a record of a former life never
    /// names a living lease.
    pub(super) fn grant(&mut self, env: &Env, ttl: Duration) -> Result<LeaseId> {
        if self.0.len() >= LEASES_MAX {
            return Err(Error::exhausted(format!("{LEASES_MAX} metadata leases are live")));
        }
        loop {
            let id = LeaseId((env.random() >> 1) as i64);
            if id.0 != 0 && !self.0.contains_key(&id) {
                self.0.insert(id, Deadline { ttl, at: env.now() + ttl });
                return Ok(id);
            }
        }
    }

    /// Moves the deadline of a live lease. False if it has ended.
    pub(super) fn keep(&mut self, id: LeaseId, now: Duration) -> bool {
        let Some(deadline) = self.0.get_mut(&id) else { return false };
        deadline.at = now + deadline.ttl;
        true
    }

    pub(super) fn is_live(&self, id: LeaseId) -> bool {
        self.0.contains_key(&id)
    }

    /// Ends a lease; nothing if it has ended.
    pub(super) fn end(&mut self, id: LeaseId) {
        self.0.remove(&id);
    }

    /// Ends all leases whose deadline has passed.
    pub(super) fn end_expired(&mut self, now: Duration) -> Vec<LeaseId> {
        let mut ended: Vec<LeaseId> =
            self.0.extract_if(|_, deadline| deadline.at <= now).map(|(id, _)| id).collect();
        // The map's order is chance; revisions should not be.
        ended.sort_unstable();
        ended
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.values().map(|deadline| deadline.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leases_end_at_their_deadline_and_not_before() {
        let env = Env::seeded(1);
        let mut leases = Leases::default();
        let second = Duration::from_secs(1);
        let short = leases.grant(&env, second).expect("room");
        let kept = leases.grant(&env, second).expect("room");
        env.sleep(second / 2).await;
        assert!(leases.keep(kept, env.now()));
        assert_eq!(leases.end_expired(env.now()), []);
        env.sleep(second / 2).await;
        assert_eq!(leases.end_expired(env.now()), [short]);
        assert!(!leases.keep(short, env.now()) && leases.is_live(kept));
    }
}
