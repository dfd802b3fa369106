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
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::{Status, Streaming};

use super::caller::Caller;
use super::claims::Claims;
use super::fault::{Outcome, from_status, unsupported};
use super::info;
use super::service::Door;
use super::statements::{Asked, Started};

/// Most batches of parameters that are looked at.
const BATCHES_MAX: usize = 64;

impl Door {
    /// One update, or values for one statement.
    pub(super) async fn put(
        &self,
        caller: &Caller,
        mut data: Streaming<FlightData>,
    ) -> Outcome<PutResult> {
        let first = self.heard(data.message()).await?.map_err(|e| from_status(&e))?;
        let first = first.ok_or_else(|| Error::invalid("the stream is empty"))?;
        let descriptor = first.flight_descriptor.clone();
        let descriptor = descriptor
            .ok_or_else(|| Error::invalid("the first message of the stream has no descriptor"))?;
        match info::command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                self.update(caller, &Asked::text(update.query)).await
            }
            Command::CommandPreparedStatementUpdate(prepared) => {
                // Whose handle it is, is known before anything is read for it.
                let mut handle = prepared.prepared_statement_handle;
                let statement = self.open_statement(caller, handle.clone()).await?;
                let sent = self.parameters(first, data).await?;
                if sent.batches > 0 {
                    handle = self.bind(caller, statement, sent.row)?;
                }
                let asked = self.bound(caller, handle).await?;
                self.update(caller, &asked).await
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                let handle = prepared.prepared_statement_handle;
                let statement = self.open_statement(caller, handle).await?;
                let sent = self.parameters(first, data).await?;
                let handle = self.bind(caller, statement, sent.row)?;
                let result =
                    DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Command::CommandStatementIngest(ingest) => {
                self.ingest(caller, ingest, first, data).await
            }
            other => Err(unsupported(other.type_url())),
        }
    }

    /// What comes next of a client that should not be silent.
    async fn heard<T>(&self, next: impl Future<Output = T>) -> Outcome<T> {
        let silence_max = self.options.put_silence_max;
        let heard = self.env.timeout(silence_max, next).await;
        Ok(heard.ok_or_else(|| Error::retry(format!("nothing came for {silence_max:?}")))?)
    }

    /// The one row of a stream whose first message was taken already. More are refused when they come.
    async fn parameters(&self, first: FlightData, rest: Streaming<FlightData>) -> Outcome<Sent> {
        let mut sent = Sent::default();
        if first.data_header.is_empty() {
            // The command alone: no schema, no rows.
            return Ok(sent);
        }
        let mut batches = batches(first, rest, Claims::of_parameters());
        while let Some(batch) = self.heard(next(&mut batches)).await?? {
            sent.batches += 1;
            if sent.batches > BATCHES_MAX {
                return Err(
                    Error::invalid("one row of parameters does not take so many batches").into()
                );
            }
            let rows = batch.num_rows() + usize::from(sent.row.is_some());
            if rows > 1 {
                return Err(Error::invalid(format!(
                    "{rows} rows of parameters were given: a query runs with one"
                ))
                .with_hint("run it once for each row")
                .into());
            }
            if rows == 1 && sent.row.is_none() {
                sent.row = Some(batch);
            }
        }
        Ok(sent)
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
pub(super) fn batches(
    first: FlightData,
    rest: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    mut claims: Claims,
) -> FlightRecordBatchStream {
    let first = stream::once(futures::future::ready(Ok(first)));
    let data = first.chain(rest.map_err(FlightError::from)).map(move |message| {
        let message = message?;
        let checked = claims.check(&message);
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

/// What came as values for a statement.
#[derive(Default)]
struct Sent {
    batches: usize,
    row: Option<RecordBatch>,
}
