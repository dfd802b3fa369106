//! DoPut: updates, and values for prepared statements.

use std::panic::AssertUnwindSafe;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use dunlin_base::Error;
use dunlin_planner::StatementKind;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::Streaming;

use super::caller::Caller;
use super::fault::{Outcome, from_status, unsupported};
use super::service::Door;
use super::statements::{Asked, Started};
use super::{claims, info};

/// Most batches of parameters that are looked at.
const BATCHES_MAX: usize = 64;

impl Door {
    /// One update, or values for one statement.
    pub(super) async fn put(
        &self,
        caller: &Caller,
        mut data: Streaming<FlightData>,
    ) -> Outcome<PutResult> {
        let first = data.message().await.map_err(|e| from_status(&e))?;
        let first = first.ok_or_else(|| Error::invalid("the stream is empty"))?;
        let descriptor = first.flight_descriptor.clone();
        let descriptor = descriptor
            .ok_or_else(|| Error::invalid("the first message of the stream has no descriptor"))?;
        match info::command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                self.update(caller, &Asked::text(update.query)).await
            }
            Command::CommandPreparedStatementUpdate(prepared) => {
                let rows = parameters(first, data).await?;
                let mut handle = prepared.prepared_statement_handle;
                if !rows.is_empty() {
                    handle = self.bind(caller, handle, rows).await?;
                }
                let asked = self.bound(caller, handle).await?;
                self.update(caller, &asked).await
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let rows = parameters(first, data).await?;
                let handle = self.bind(caller, prepared.prepared_statement_handle, rows).await?;
                let result =
                    DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Command::CommandStatementIngest(ingest) => {
                let rows = batches(first, data);
                self.ingest(caller, ingest, rows).await
            }
            other => Err(unsupported(other.type_url())),
        }
    }

    async fn update(&self, caller: &Caller, asked: &Asked) -> Outcome<PutResult> {
        let session = self.sessions.shared(caller)?;
        if asked.statement(&session)?.kind() == StatementKind::Rows {
            return Err(Error::invalid("the statement yields rows: it is no update")
                .with_hint("run it as a query")
                .into());
        }
        let record_count = match self.run(caller, asked).await? {
            Started::Rows { batches, .. } => written(&batches),
            Started::Query { .. } => 0,
        };
        Ok(updated(record_count))
    }
}

/// What a client is told that has changed rows.
pub(super) fn updated(record_count: i64) -> PutResult {
    let result = DoPutUpdateResult { record_count };
    PutResult { app_metadata: result.encode_to_vec().into() }
}

/// The rows that a write reports in its one row, `count`.
fn written(batches: &[RecordBatch]) -> i64 {
    let counts = batches.iter().filter_map(|batch| batch.column_by_name("count"));
    let counts = counts.filter_map(|column| column.as_primitive_opt::<UInt64Type>());
    let rows: u64 = counts.flat_map(|column| column.values().iter()).sum();
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The batches of a stream whose first message was taken already. What a message claims of itself
/// is checked before memory is taken for it.
pub(super) fn batches(first: FlightData, rest: Streaming<FlightData>) -> FlightRecordBatchStream {
    let first = stream::once(futures::future::ready(Ok(first)));
    let data = first.chain(rest.map_err(FlightError::from)).and_then(|message| async move {
        let checked = claims::check(&message);
        checked.map_err(|error| FlightError::ExternalError(Box::new(error)))?;
        Ok(message)
    });
    FlightRecordBatchStream::new_from_flight_data(data)
}

/// The next batch of a stream; `None` at its end. Arrow panics at some bytes that are no rows: that
/// is the sender's error, and the end of the stream.
pub(super) async fn next(batches: &mut FlightRecordBatchStream) -> Outcome<Option<RecordBatch>> {
    match AssertUnwindSafe(batches.try_next()).catch_unwind().await {
        Ok(next) => Ok(next?),
        Err(panic) => {
            let text = dunlin_base::env::panic_text(panic.as_ref());
            Err(Error::invalid(format!("the rows cannot be read: {text}")).into())
        }
    }
}

/// The rows of a stream whose first message was taken already.
async fn parameters(first: FlightData, rest: Streaming<FlightData>) -> Outcome<Vec<RecordBatch>> {
    if first.data_header.is_empty() {
        // The command alone: no schema, no rows.
        return Ok(Vec::new());
    }
    let mut batches = batches(first, rest);
    let mut rows = Vec::new();
    while let Some(batch) = next(&mut batches).await? {
        if rows.len() == BATCHES_MAX {
            return Err(
                Error::invalid("one row of parameters does not take so many batches").into()
            );
        }
        rows.push(batch);
    }
    Ok(rows)
}
