//! DoGet: the rows behind a ticket.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::sql::TicketStatementQuery;
use dunlin_base::env::Task;
use dunlin_base::{Error, fail};
use dunlin_proto::door::{self, RowsHandle, ticket};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Status;

use super::encode::{from_cursor, messages};
use super::fault::{Fault, Outcome, leaving};
use super::info::{self, check_owner, open_query, rows_from, sent_schema};
use super::seal::Purpose;
use super::service::{Call, Door, caught};
use crate::query::{Chunk, Place, Reading, RowStream};

/// Messages that wait for a slow client, beside what HTTP/2 holds.
const WAITING_MAX: usize = 2;

/// Messages of a DoGet.
pub(super) type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// The rows of one of our tickets. Dropping the stream of a ticket that cannot be resumed cancels
/// its query.
pub(super) async fn result(call: Call, statement: TicketStatementQuery) -> Outcome<Messages> {
    let door::Ticket { result, cursor } = info::ticket(statement)?;
    match result {
        Some(ticket::Result::Query(sealed)) => {
            let handle = open_query(&sealed, &call.caller.user, &call.door.signer).await?;
            let from = cursor.as_ref().map(from_cursor);
            let reading = Reading { from, keep: handle.resumable };
            let schema = sent_schema(&handle.schema, &call.door.options);
            let rows = RowStream::new(call.door.gateway.clone(), handle.id, handle.schema, reading);
            let (door, caller) = (Arc::clone(&call.door), Arc::clone(&call.caller));
            let rows = rows.inspect_err(move |_| door.forget_plan(&caller, handle.id));
            Ok(stream_out(call, rows.boxed(), schema))
        }
        Some(ticket::Result::Rows(sealed)) => {
            let handle: RowsHandle = call.door.signer.open_sealed(Purpose::Rows, &sealed).await?;
            check_owner(&handle.user, &call.caller.user)?;
            let (schema, batches) = rows_from(&handle.stream)?;
            let schema = sent_schema(&schema, &call.door.options);
            Ok(batches_out(call, schema, batches))
        }
        None => Err(Error::invalid("the ticket is malformed").into()),
    }
}

/// Sends batches that are here.
pub(super) fn batches_out(call: Call, schema: SchemaRef, batches: Vec<RecordBatch>) -> Messages {
    let chunk = |(number, batch)| {
        let start = Place { chunk: number as u64, ..Place::default() };
        Ok(Chunk { start, batch })
    };
    let chunks: Vec<_> = batches.into_iter().enumerate().map(chunk).collect();
    stream_out(call, stream::iter(chunks).boxed(), schema)
}

/// Reads and encodes on the CPU runtime, ahead of the client by a few messages. The call's permit
/// goes back when the stream ends or is dropped.
fn stream_out(
    call: Call,
    chunks: BoxStream<'static, dunlin_base::Result<Chunk>>,
    schema: SchemaRef,
) -> Messages {
    let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
    let cpu = call.door.gateway.parts().cpu.clone();
    // Until all was sent, an end is an error: it would look as if these were all rows.
    let last: LastWord = Arc::new(Mutex::new(Some(leaving().into())));
    let task = cpu.spawn("send result", pump(call, chunks, schema, sender, Arc::clone(&last)));
    let task = AbortOnDrop(task);
    stream::poll_fn(move |context| {
        // It ends with the stream.
        let _owned = &task;
        match receiver.poll_recv(context) {
            Poll::Ready(None) => Poll::Ready(last.lock().take().map(Err)),
            next => next,
        }
    })
    .boxed()
}

/// What the stream ends with, after the messages that wait: needs no client that reads.
type LastWord = Arc<Mutex<Option<Status>>>;

struct AbortOnDrop(Task<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pump(
    call: Call,
    chunks: BoxStream<'static, dunlin_base::Result<Chunk>>,
    schema: SchemaRef,
    sender: mpsc::Sender<Result<FlightData, Status>>,
    last: LastWord,
) {
    let Call { door, caller, permit: _permit } = call;
    let messages = messages(chunks, schema, door.options.message_out_max);
    let ended = tokio::select! {
        // A panic that ended the task would end the stream as if all rows had been sent.
        ended = caught(send_all(&door, messages, &sender)) => ended,
        () = door.leave.cancelled() => Err(leaving()),
        () = over(&door, &caller.limit) => Err(Fault::from(
            Error::retry("the call's time was up before its result was read"),
        )),
    };
    // Said before the sender is dropped.
    *last.lock() = ended.err().map(Status::from);
}

async fn over(door: &Arc<Door>, limit: &Option<Duration>) {
    match limit {
        Some(limit) => door.env.sleep(*limit).await,
        None => std::future::pending().await,
    }
}

async fn send_all(
    door: &Door,
    mut messages: BoxStream<'static, Outcome<FlightData>>,
    sender: &mpsc::Sender<Result<FlightData, Status>>,
) -> Outcome<()> {
    while let Some(message) = messages.try_next().await? {
        let silence_max = door.options.result_silence_max;
        match door.env.timeout(silence_max, sender.send(Ok(message))).await {
            Some(Ok(())) => {}
            Some(Err(_gone)) => return Ok(()),
            None => {
                let error = format!("the client took nothing of its result for {silence_max:?}");
                return Err(Error::retry(error).into());
            }
        }
        fail::point(&door.env, fail::IN_RESULT).await?;
    }
    Ok(())
}
