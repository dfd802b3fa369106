//! A statement that writes, as its session sees it: begun, followed to its end, one row back.

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, QueryId, Result};
use dunlin_planner::{Planned, Statement};
use futures::StreamExt;
use futures::stream;

use super::View;
use super::begin::Earlier;
use super::records::Name;
use crate::face::{Reply, Rows};
use crate::gateway::Gateway;
use crate::session::{Session, locations};

/// How often a statement begins anew, because another of the same name was faster or because what
/// it reads was written to meanwhile.
const TRIES: usize = 16;

impl Session {
    /// Plans and starts a statement that writes. Returns when its query is durable; the one row of
    /// the reply, `count`, comes when all files are there. Dropping the reply before cancels the
    /// write, unless it has been decided.
    pub(crate) async fn write(
        &self,
        statement: &Statement,
        deadline_unix_ms: Option<u64>,
    ) -> Result<Reply> {
        let id = self.planned().settings().write_id;
        let schema = self.planned().default_schema();
        let name = (!id.is_empty()).then(|| Name::new(self.user(), &id, statement.sql(), schema));
        for _ in 0..TRIES {
            let mut seen = None;
            if let Some(name) = &name {
                match self.gateway().earlier(name).await? {
                    Earlier::Nothing(revision) => seen = revision,
                    Earlier::Done(rows) => return Ok(Reply::Rows(counted(rows)?)),
                    Earlier::Running(query) => {
                        return Ok(Reply::Rows(follow(self.gateway(), query, Role::Joined)));
                    }
                }
            }
            let before = View::now(self.gateway()).await?;
            let plan = match self.plan(statement).await? {
                Planned::Write(plan) => plan,
                Planned::Done(what) => return Ok(Reply::Done(what)),
                _ => return Err(Error::bug("a statement that writes was planned as a query")),
            };
            if before.moved(self.gateway(), &locations(&plan.query)).await? {
                continue;
            }
            let mut query = self.prepare_query(&plan.query, statement)?;
            query.deadline_unix_ms = deadline_unix_ms;
            // Listings and the history have it.
            query.sql = statement.shown().into_owned();
            let name = name.as_ref().map(|name| (name, seen));
            if self.gateway().begin_write(&plan, query, name).await? {
                return Ok(Reply::Rows(follow(self.gateway(), plan.id, Role::Began)));
            }
        }
        Err(Error::retry("other statements write the same, or to what it reads, all the time"))
    }
}

/// The columns of the reply.
fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]))
}

fn count(rows: u64) -> Result<RecordBatch> {
    let column = Arc::new(UInt64Array::from(vec![rows]));
    RecordBatch::try_new(count_schema(), vec![column])
        .map_err(|e| Error::bug("a count is a row of one column").with_source(e))
}

fn counted(rows: u64) -> Result<Rows> {
    let batch = count(rows)?;
    Ok(Rows { query: None, schema: count_schema(), batches: stream::iter([Ok(batch)]).boxed() })
}

/// Who follows a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The statement that began it: it ends with it.
    Began,
    /// The same statement, sent again: the first may still wait.
    Joined,
}

/// The reply to a write that was begun, here or elsewhere.
fn follow(gateway: &Gateway, query: QueryId, role: Role) -> Rows {
    let gateway = gateway.clone();
    let mut guard = Guard { gateway: Some(gateway.clone()), query, role };
    let batches = stream::once(async move {
        let rows = gateway.drive(query).await;
        guard.answered(rows.is_ok());
        count(rows?)
    });
    Rows { query: Some(query), schema: count_schema(), batches: batches.boxed() }
}

/// Ends what its reader does not wait for.
struct Guard {
    gateway: Option<Gateway>,
    query: QueryId,
    role: Role,
}

impl Guard {
    /// The client has its answer, and the write, if it is `done`, has no use for its query any
    /// more. After an error it may: a gateway that could not reach the store has ended nothing, and
    /// others may wait for the same write.
    fn answered(&mut self, done: bool) {
        let Some(gateway) = self.gateway.take() else { return };
        let query = self.query;
        gateway.clone().in_background(async move {
            if done {
                gateway.clean_up(query).await;
            } else {
                gateway.clean_up_after(query).await;
            }
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        if self.role == Role::Joined || gateway.is_leaving() {
            return;
        }
        let query = self.query;
        gateway.clone().in_background(async move {
            if let Err(error) = gateway.stop_write(query).await {
                tracing::warn!(%query, %error, "could not stop a write that nobody waits for");
            }
            // What was decided goes on; what was not is given up.
            if let Err(error) = gateway.drive(query).await {
                tracing::debug!(%query, %error, "write given up");
            }
            gateway.clean_up_after(query).await;
        });
    }
}
