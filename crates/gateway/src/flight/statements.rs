//! SQL to tickets.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::Command;
use arrow_flight::{FlightDescriptor, FlightInfo};
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use dunlin_base::{ByteCount, Error, QueryId, Result};
use dunlin_planner::{Description, Statement, StatementKind};
use dunlin_proto::door::{QueryHandle, RowsHandle, Ticket, ticket};
use futures::TryStreamExt;

use super::caller::Caller;
use super::fault::Outcome;
use super::info::{self, rows_bytes, schema_bytes, sent_schema};
use super::seal::Purpose;
use super::service::Door;
use crate::face::{Reply, Rows};
use crate::publish::Published;
use crate::session::Session;

/// Most bytes of rows that travel inside a ticket.
const INLINE_MAX: ByteCount = ByteCount::mib(8);

/// A statement with the values of its parameters.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) sql: String,
    pub(super) values: Vec<ScalarValue>,
}

impl Asked {
    pub(super) fn text(sql: String) -> Self {
        Self { sql, values: Vec::new() }
    }

    /// The one statement of the text, its values bound.
    pub(super) fn statement(&self, session: &Session) -> Result<Statement> {
        let statement = only(session, &self.sql)?;
        if self.values.is_empty() {
            return Ok(statement);
        }
        statement.with_values(self.values.clone())
    }
}

/// The one statement of a text.
pub(super) fn only(session: &Session, sql: &str) -> Result<Statement> {
    let mut statements = session.prepare(sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(Error::invalid("there is no statement in the text")),
        (Some(_), false) => Err(Error::invalid("there are several statements in the text")
            .with_hint("send each in a call of its own")),
    }
}

/// What became of a statement.
pub(super) enum Started {
    /// A query that runs.
    Query { id: QueryId, schema: SchemaRef },
    /// All of its rows.
    Rows { schema: SchemaRef, batches: Vec<RecordBatch> },
}

impl Door {
    /// Starts a statement. A query is durable then, and nobody waits for it. Dropping the future
    /// leaves no query, or one that the sweeper removes.
    pub(super) async fn run(&self, caller: &Caller, asked: &Asked) -> Result<Started> {
        let session = self.sessions.shared(caller)?;
        let statement = asked.statement(&session)?;
        if statement.kind() == StatementKind::Session {
            return self.change_session(caller, &statement).await;
        }
        let limit = self.options.query_time_max.as_millis() as u64;
        let deadline = self.env.unix_ms() + limit;
        match session.publish(&statement, deadline).await? {
            Published::Query { id, schema } => {
                self.recent.add(id, statement.sql());
                Ok(Started::Query { id, schema })
            }
            Published::Reply(Reply::Rows(rows)) => collected(rows).await,
            Published::Reply(Reply::Done(_)) => Ok(nothing()),
        }
    }

    /// The query has failed: perhaps because of what its plan says.
    pub(super) fn forget_plan(&self, caller: &Caller, query: QueryId) {
        if let Some(text) = self.recent.take(query)
            && let Ok(session) = self.sessions.shared(caller)
        {
            session.planned().forget(&text);
        }
    }

    /// SET and RESET: what they change travels back in the caller's cookie.
    async fn change_session(&self, caller: &Caller, statement: &Statement) -> Result<Started> {
        if !caller.keeps_cookies {
            return Err(Error::invalid(
                "this client would lose what SET changes: it does not return cookies",
            )
            .with_hint(
                "turn its cookies on (ADBC: adbc.flight.sql.rpc.with_cookie_middleware), and run a \
                 statement before SET",
            ));
        }
        let session = self.sessions.fresh(caller)?;
        session.execute(statement).await?;
        caller.change(session.planned().changes())?;
        Ok(nothing())
    }

    /// The columns that a command's rows have; nothing is run.
    pub(super) async fn schema(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
    ) -> Outcome<SchemaRef> {
        let asked = match info::command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => Asked::text(query.query),
            Command::CommandPreparedStatementQuery(prepared) => {
                self.bound(caller, prepared.prepared_statement_handle).await?
            }
            list => return Ok(self.metadata(caller, list).await?.schema()),
        };
        let described = self.describe(caller, &asked.sql).await?;
        let schema = described.result.unwrap_or_else(|| SchemaRef::new(Schema::empty()));
        Ok(sent_schema(&schema, &self.options))
    }

    /// What a statement takes and gives; planned on the CPU runtime.
    pub(super) async fn describe(&self, caller: &Caller, sql: &str) -> Result<Description> {
        let session = self.sessions.shared(caller)?;
        let statement = only(&session, sql)?;
        let planner = Arc::clone(session.planned());
        let cpu = self.gateway.parts().cpu.clone();
        let describe = cpu.spawn("describe", async move { planner.describe(&statement).await });
        let described = describe.join_or_abort().await;
        described.unwrap_or_else(|p| Err(Error::bug(format!("planning panicked: {p}"))))
    }

    /// The info of what was started, with a ticket for its rows.
    pub(super) fn info_of(
        &self,
        caller: &Caller,
        started: &Started,
        descriptor: FlightDescriptor,
        resumable: bool,
    ) -> Result<FlightInfo> {
        let (schema, ticket) = match started {
            Started::Query { id, schema } => {
                (schema, self.query_ticket(caller, *id, schema, resumable)?)
            }
            Started::Rows { schema, batches } => {
                let stream = rows_bytes(schema, batches, INLINE_MAX)?;
                let handle = RowsHandle { user: caller.user.clone(), stream };
                let sealed = self.signer.seal(Purpose::Rows, &handle)?;
                let ticket = Ticket { result: Some(ticket::Result::Rows(sealed)), cursor: None };
                (schema, info::ticket_bytes(&ticket))
            }
        };
        let mut info =
            info::info(&sent_schema(schema, &self.options), descriptor, ticket, &self.options)?;
        if let Started::Rows { batches, .. } = started {
            info.total_records = batches.iter().map(|b| b.num_rows() as i64).sum();
        }
        Ok(info)
    }

    fn query_ticket(
        &self,
        caller: &Caller,
        id: QueryId,
        schema: &SchemaRef,
        resumable: bool,
    ) -> Result<Bytes> {
        let handle = QueryHandle {
            user: caller.user.clone(),
            query: Bytes::copy_from_slice(&id.to_u128().to_be_bytes()),
            schema: schema_bytes(schema)?,
            resumable,
        };
        let sealed = self.signer.seal(Purpose::Query, &handle)?;
        let ticket = Ticket { result: Some(ticket::Result::Query(sealed)), cursor: None };
        Ok(info::ticket_bytes(&ticket))
    }
}

/// What a statement without rows yields.
fn nothing() -> Started {
    Started::Rows { schema: SchemaRef::new(Schema::empty()), batches: Vec::new() }
}

async fn collected(rows: Rows) -> Result<Started> {
    let batches = rows.batches.try_collect().await?;
    Ok(Started::Rows { schema: rows.schema, batches })
}
