//! Deadlines of leases, in memory only: a restart ends them, because their holders lived in this
//! process. Those whose holders live elsewhere have their time to live in their ids, which are
//! negative: a restart begins it anew.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use dunlin_base::{Env, Error, LeaseId, Result};

use crate::store::{self, Key};

/// Most leases at a time.
const LEASES_MAX: usize = 16 * 1024;

/// Bits of an id that outlasts the process: chance, and above it the seconds that it lives.
const CHANCE_BITS: u32 = 45;
const SECONDS_MAX: u64 = (1 << (63 - CHANCE_BITS)) - 1;

/// How long a lease lives that outlasts the process; `None` if it does not.
pub(super) fn lasting(id: LeaseId) -> Option<Duration> {
    let seconds = (id.0.cast_unsigned() & (u64::MAX >> 1)) >> CHANCE_BITS;
    (id.0 < 0).then(|| Duration::from_secs(seconds))
}

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
        self.check_room()?;
        loop {
            let id = LeaseId((env.random() >> 1) as i64);
            if id.0 != 0 && !self.0.contains_key(&id) {
                self.0.insert(id, Deadline { ttl, at: env.now() + ttl });
                return Ok(id);
            }
        }
    }

    /// The leases of a former life that outlasted it, by the keys that are bound to them.
    pub(super) fn of_former_life(entries: &BTreeMap<Key, store::Entry>, now: Duration) -> Self {
        let lease = |entry: &store::Entry| {
            let ttl = lasting(entry.lease?)?;
            Some((entry.lease?, Deadline { ttl, at: now + ttl }))
        };
        Self(entries.values().filter_map(lease).collect())
    }

    /// A new lease that outlasts the process.
    pub(super) fn grant_lasting(&mut self, env: &Env, ttl: Duration) -> Result<LeaseId> {
        self.check_room()?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        if seconds > SECONDS_MAX {
            return Err(Error::invalid(format!("a lease of {ttl:?} is too long")));
        }
        let ttl = Duration::from_secs(seconds);
        loop {
            let bits = (1 << 63) | seconds << CHANCE_BITS | env.random() >> (64 - CHANCE_BITS);
            let id = LeaseId(bits.cast_signed());
            if let Entry::Vacant(place) = self.0.entry(id) {
                place.insert(Deadline { ttl, at: env.now() + ttl });
                return Ok(id);
            }
        }
    }

    fn check_room(&self) -> Result<()> {
        match self.0.len() >= LEASES_MAX {
            true => Err(Error::exhausted(format!("{LEASES_MAX} metadata leases are live"))),
            false => Ok(()),
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

    #[test]
    fn an_id_says_how_long_its_lease_outlasts_the_process() {
        let (env, mut leases) = (Env::seeded(1), Leases::default());
        for seconds in [1, 600, 172_800, SECONDS_MAX] {
            let ttl = Duration::from_secs(seconds);
            let id = leases.grant_lasting(&env, ttl).expect("room");
            assert_eq!(lasting(id), Some(ttl));
            assert_ne!(leases.grant_lasting(&env, ttl).expect("room"), id);
        }
        let rounded = leases.grant_lasting(&env, Duration::from_millis(1_001)).expect("room");
        assert_eq!(lasting(rounded), Some(Duration::from_secs(2)));
        assert_eq!(lasting(leases.grant(&env, Duration::from_secs(9)).expect("room")), None);
        assert_eq!(lasting(LeaseId(i64::MAX)), None, "an id of an earlier build");
        leases.grant_lasting(&env, Duration::from_secs(SECONDS_MAX + 1)).expect_err("too long");
    }

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
