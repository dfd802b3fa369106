//! Writes that nobody follows any more, and records that nobody needs.

use std::time::Duration;

use dunlin_base::{Kind, QueryId, Result};
use dunlin_planner::write::Landing;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{Write, WriteId};
use dunlin_queue::{Phase as QueryPhase, QueryStatus};

use super::records::Stored;
use crate::gateway::Gateway;

/// How long a client's write id is kept after its write has ended.
const ID_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl Gateway {
    /// Takes writes whose query has ended to their end, gives up those without a query, removes
    /// what attempts that lost have staged late, forgets what is old. Any number of gateways may
    /// sweep at once; a target that cannot be reached keeps its own write waiting only.
    pub(crate) async fn sweep_writes(&self) -> Result<()> {
        for (query, write) in self.writes().writes().await? {
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
        // As long as results are kept: what ended longer ago is of no process that lives.
        let grace = self.parts().queue.hold().as_millis() as u64;
        let old = |since: u64| now.saturating_sub(since) >= grace;
        match seen.record.phase() {
            Phase::Decided => drop(self.drive(query).await?),
            Phase::Open => match self.parts().queue.status(query).await? {
                Some(QueryStatus { phase: QueryPhase::Running | QueryPhase::Queued, .. }) => {}
                Some(_) => {
                    // A query that failed is no error of the sweep.
                    let _ = self.drive(query).await;
                }
                None if old(seen.record.created_unix_ms.max(seen.record.renewed_unix_ms)) => {
                    self.writes().abort(query, seen, now).await?;
                }
                None => {}
            },
            Phase::Done | Phase::Aborted if old(seen.record.ended_unix_ms) => {
                let target = seen.record.target.clone().unwrap_or_default();
                let landing = Landing::new(&self.parts().stores, &target, query)?;
                match seen.record.phase() {
                    Phase::Aborted => landing.withdraw().await?,
                    _ => landing.clean().await?,
                }
                self.writes().forget(query, seen).await?;
            }
            Phase::Done | Phase::Aborted | Phase::Unspecified => {}
        }
        Ok(())
    }
}

fn is_old(id: &WriteId, now_unix_ms: u64) -> bool {
    now_unix_ms.saturating_sub(id.unix_ms) > ID_KEPT.as_millis() as u64
}
