//! What every [`Store`] promises, as named cases that any backend can be run through.
//!
//! Tests of the backends call [`run_all`] with a [`StoreFactory`]. The one thing to know: a case
//! waits only through the factory's [`Env`] and believes only the contract, so the same cases run
//! on a disk, over a network and in virtual time.

mod ctx;
mod leases;
mod limits;
mod reads;
mod txns;
mod watches;

use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Env, Error, Result};
use futures::future::BoxFuture;

use crate::store::StoreRef;
use ctx::Ctx;

/// Makes the stores that the cases run on, and says what only the backend knows.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// A store that shows no keys: a new one, or an unused root of a shared one. Nobody else may
    /// write to what lies below it while a case runs: cases count revisions.
    async fn make(&self) -> Result<StoreRef>;

    /// The world that the stores live in.
    fn env(&self) -> Env;

    /// The time to live that lease cases ask for.
    fn lease_ttl(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long after its time to live a lease is gone for sure. etcd sweeps now and then.
    fn lease_slack(&self) -> Duration;
}

/// One promise.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is promised, as an identifier.
    pub name: &'static str,
    run: fn(Ctx) -> BoxFuture<'static, Result<()>>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Longest run of one case: a hang is a failure with a name.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the list; a case is named like its function.
macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        vec![$($(Case { name: stringify!($name), run: |ctx| Box::pin($module::$name(ctx)) }),+),+]
    };
}

/// All cases, in the order in which they run.
pub fn cases() -> Vec<Case> {
    cases! {
        reads: an_absent_key_is_none, a_range_is_ordered_and_exact, a_range_is_one_revision,
            a_big_range_is_whole, writes_are_read_at_once;
        txns: absent_creates_once, present_needs_the_key, modified_swaps_once,
            created_fences_a_reborn_key, unwritten_looks_at_a_whole_prefix, conflict_returns_entries_in_order,
            a_conflict_changes_nothing, delete_prefix_is_part_of_a_txn,
            revisions_grow_by_one, an_idle_txn_makes_no_revision, increments_are_not_lost;
        watches: a_watch_has_no_gap_and_no_double, a_watch_starts_in_the_past,
            a_watch_keeps_the_order_of_many_writers, a_watch_sees_only_its_prefix,
            a_watch_gets_a_txn_whole, a_watch_waits_for_the_future;
        leases: an_ended_lease_deletes_its_keys, a_kept_lease_lives, a_revoked_lease_is_gone_at_once,
            revoking_twice_is_once, a_dead_lease_fences_its_writer, a_put_moves_a_key_off_its_lease;
        limits: long_keys_are_invalid, long_values_are_invalid, many_ops_are_invalid,
            big_txns_are_invalid, a_key_is_written_once, the_limits_themselves_are_fine;
    }
}

/// Runs all cases, each on a store of its own, one after the other. The error names every case
/// that failed, and how.
pub async fn run_all(factory: &dyn StoreFactory) -> Result<()> {
    let mut failures = Vec::new();
    for case in cases() {
        if let Err(e) = run(factory, case).await {
            failures.push(format!("{}: {e}", case.name));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let count = failures.len();
    Err(Error::bug(format!("{count} cases failed:\n  {}", failures.join("\n  "))))
}

/// Runs one case on a new store.
pub async fn run(factory: &dyn StoreFactory, case: Case) -> Result<()> {
    let env = factory.env();
    let ctx = Ctx {
        store: factory.make().await?,
        env: env.clone(),
        lease_ttl: factory.lease_ttl(),
        lease_slack: factory.lease_slack(),
    };
    let hang = || Err(Error::bug(format!("no end after {CASE_TIMEOUT:?}")));
    env.timeout(CASE_TIMEOUT, (case.run)(ctx)).await.unwrap_or_else(hang)
}
