//! How a query comes into the queue.

use dunlin_base::{Error, Result};
use dunlin_metadata::Compare;
use dunlin_proto::queue::{Phase, Plan, Query};

use crate::depot;
use crate::failure;
use crate::keys;
use crate::queue::{NewQuery, Outcome, Queue};
use crate::record::{Batch, Stored};
use crate::records::Records;

/// Bytes of SQL kept in `meta` and in the history.
const SQL_MAX: usize = 8 * 1024;

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The query is in the queue.
    Here,
    /// One of its guards did not hold: nothing was written.
    Outdated,
}

impl Queue {
    /// Creates the query, its first decision and its first stages in one transaction. Idempotent
    /// for the same id. Once it returns, the query survives any crash.
    /// Errors: what the decision function says (`Invalid`, `Bug`, `Exhausted`): then nothing was
    /// written.
    pub async fn publish(&self, mut query: NewQuery) -> Result<Published> {
        let id = query.id;
        let guards = std::mem::take(&mut query.guards);
        let records = self.new_records(query);
        let changes = self.unfold(&records)?;
        let changes = changes.ok_or_else(|| Error::bug("the first step of a query is empty"))?;
        if changes.ended == Some(Phase::Failed) {
            let failure = changes.failure();
            return Err(failure.unwrap_or_else(|| Error::bug("a query failed without a cause")));
        }
        let more = changes.more;
        let mut batch = Batch::new(id).synced();
        // A late echo of this call, after the query has ended and was removed, must not revive it.
        batch.require(Compare::Absent(keys::history(id)));
        guards.into_iter().for_each(|guard| batch.require(guard));
        batch.put(keys::plan(id), &Stored::absent(Plan::default()), records.plan.clone())?;
        changes.write(&records, &mut batch)?;
        match self.apply(batch).await? {
            Outcome::Committed(_) if more => {
                self.advance(id).await?;
                Ok(Published::Here)
            }
            Outcome::Committed(_) => Ok(Published::Here),
            // A conflict is the read-back: the id is the caller's alone, so what is there is this
            // query, written by a try whose answer was lost or by an earlier call.
            Outcome::Conflict(found) => {
                let there = |key: String| found.entry(&key).is_some();
                let here = there(keys::meta(id)) || there(keys::history(id));
                Ok(if here { Published::Here } else { Published::Outdated })
            }
        }
    }

    fn new_records(&self, query: NewQuery) -> Records {
        let mut meta = Query {
            sql: failure::cut(&query.sql, SQL_MAX),
            user: query.user,
            gateway: query.gateway.to_string(),
            created_unix_ms: self.env().unix_ms(),
            deadline_unix_ms: query.deadline_unix_ms.unwrap_or(0),
            build: self.build().to_owned(),
            ..Query::default()
        };
        meta.set_phase(Phase::Running);
        Records::new(query.id, meta, Plan { graph: depot::inline(query.graph) })
    }
}
