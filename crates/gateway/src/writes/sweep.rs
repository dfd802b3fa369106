//! Writes that nobody follows any more, and records that nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dunlin_base::{Kind, QueryId, Result};
use dunlin_planner::write::Landing;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{Write, WriteId};
use dunlin_queue::{Phase as QueryPhase, QueryStatus};
use parking_lot::Mutex;

use super::drive::was_decided;
use super::records::{Stored, Swap};
use crate::gateway::Gateway;

/// How long a client's write id is kept after its write has ended.
const ID_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Decided writes of which something is gone that they need, and since when this gateway has seen
/// that, without a look that saw otherwise (milliseconds since 1970).
#[derive(Debug, Default)]
pub(crate) struct LostWrites(Mutex<BTreeMap<QueryId, u64>>);

impl LostWrites {
    fn since(&self, query: QueryId, now_unix_ms: u64) -> u64 {
        *self.0.lock().entry(query).or_insert(now_unix_ms)
    }

    fn found(&self, query: QueryId) {
        self.0.lock().remove(&query);
    }

    fn keep(&self, writes: &[(QueryId, Stored<Write>)]) {
        let known: BTreeSet<QueryId> = writes.iter().map(|(query, _)| *query).collect();
        self.0.lock().retain(|query, _| known.contains(query));
    }
}

impl Gateway {
    /// Takes writes whose query has ended to their end, gives up those without a query, removes
    /// what attempts that lost have staged late, forgets what is old. Any number of gateways may
    /// sweep at once; a target that cannot be reached keeps its own write waiting only.
    pub(crate) async fn sweep_writes(&self) -> Result<()> {
        let writes = self.writes().writes().await?;
        self.lost_writes().keep(&writes);
        for (query, write) in writes {
            match self.sweep_write(query, &write).await {
                Err(error) if error.kind() == Kind::Retry => {
                    tracing::debug!(%query, %error, "a write waits");
                }
                Err(error) => tracing::warn!(%query, %error, "a write"),
                Ok(()) => {}
            }
        }
        let now = self.parts().env.unix_ms();
        for (key, id) in self.writes().ids().await? {
            if is_old(&id.record, now) && !self.is_under_way(&id.record).await? {
                self.writes().forget_id(key, &id).await?;
            }
        }
        Ok(())
    }

    /// Whether the write that an id stands for may still come to be done.
    async fn is_under_way(&self, id: &WriteId) -> Result<bool> {
        let Ok(query) = id.query.parse() else { return Ok(false) };
        if id.done {
            return Ok(false);
        }
        let phase = self.writes().write(query).await?.map(|write| write.record.phase());
        Ok(matches!(phase, Some(Phase::Open | Phase::Decided)))
    }

    async fn sweep_write(&self, query: QueryId, seen: &Stored<Write>) -> Result<()> {
        let now = self.parts().env.unix_ms();
        match seen.record.phase() {
            Phase::Decided => self.finish_decided(query, seen).await?,
            Phase::Open => match self.parts().queue.status(query).await? {
                Some(QueryStatus { phase: QueryPhase::Running | QueryPhase::Queued, .. }) => {}
                Some(_) => {
                    // A query that failed is no error of the sweep.
                    let _ = self.drive(query).await;
                }
                None if self
                    .is_past(seen.record.created_unix_ms.max(seen.record.renewed_unix_ms)) =>
                {
                    self.writes().abort(query, seen, now).await?;
                }
                None => {}
            },
            Phase::Aborted if self.may_stage(query).await? => {}
            Phase::Done | Phase::Aborted if self.is_past(seen.record.ended_unix_ms) => {
                let landing = self.landing(query, seen)?;
                match seen.record.phase() {
                    Phase::Aborted => landing.withdraw(was_decided(&seen.record)).await?,
                    _ => landing.clean().await?,
                }
                self.writes().forget(query, seen).await?;
            }
            Phase::Done | Phase::Aborted | Phase::Unspecified => {}
        }
        Ok(())
    }

    /// Whether something was so long ago that it is of no process that lives: as long as results are
    /// kept.
    fn is_past(&self, unix_ms: u64) -> bool {
        let grace = self.parts().queue.hold().as_millis() as u64;
        self.parts().env.unix_ms().saturating_sub(unix_ms) >= grace
    }

    fn landing(&self, query: QueryId, seen: &Stored<Write>) -> Result<Landing> {
        let target = seen.record.target.clone().unwrap_or_default();
        Landing::new(&self.parts().stores, &target, query)
    }

    /// Takes a decided write to its end. One of which something stays lost is given up: any gateway
    /// that finds it would have finished the write meanwhile, and no client was told that it was done.
    async fn finish_decided(&self, query: QueryId, seen: &Stored<Write>) -> Result<()> {
        let error = match self.drive(query).await {
            Err(error) if error.kind() == Kind::Lost => error,
            driven => {
                self.lost_writes().found(query);
                return driven.map(drop);
            }
        };
        let now = self.parts().env.unix_ms();
        if self.is_past(self.lost_writes().since(query, now))
            && self.writes().abort(query, seen, now).await? == Swap::Done
        {
            self.landing(query, seen)?.withdraw(true).await?;
        }
        Err(error)
    }

    /// Whether executors may still stage files of a write that was given up: its query has not ended
    /// long ago. One that runs is ended: its gateway did not see in time that the write was given up,
    /// and has gone.
    async fn may_stage(&self, query: QueryId) -> Result<bool> {
        let Some(status) = self.query_of(query).await? else { return Ok(false) };
        if matches!(status.phase, QueryPhase::Running | QueryPhase::Queued) {
            self.stop_write(query).await?;
            return Ok(true);
        }
        Ok(!self.is_past(status.ended_unix_ms))
    }
}

fn is_old(id: &WriteId, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(id.unix_ms) > ID_KEPT.as_millis() as u64
}
