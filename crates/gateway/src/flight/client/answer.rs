//! Rows of a statement, wherever they come from in the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::{DecodedPayload, FlightDataDecoder};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightInfo, Ticket};
use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_proto::door::{self, Cursor, ticket};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;

use super::link::{Failed, Link};
use super::{broken, done};

/// The wait before a result is resumed, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The answer to a statement: its columns, then its rows as they come. Rows come in order, each
/// once, though gateways die on the way; the first error is the last item. Dropping it before its
/// end cancels the query.
pub struct Answer {
    /// Columns; none for statements that yield no rows.
    pub schema: SchemaRef,
    /// For [`super::Client::progress`] and [`super::Client::cancel`]; `None` if there is no query.
    pub ticket: Option<Bytes>,
    rows: BoxStream<'static, Result<RecordBatch>>,
    closer: Option<Closer>,
}

/// Says once that the result is not wanted any more.
struct Closer {
    link: Link,
    ticket: Bytes,
}

impl Closer {
    /// In the background: only who ends the program waits for it, and the sweeper does it in the
    /// end.
    fn close(self) {
        let Self { link, ticket } = self;
        let (env, closing) = (link.env.clone(), link.closing());
        drop(env.spawn("result read", async move {
            let _closing = closing;
            let limit = link.options.connect_timeout;
            if let Some(Err(error)) = link.env.timeout(limit, done(&link, ticket)).await {
                tracing::debug!(%error, "a result is left to the sweeper");
            }
        }));
    }
}

impl Answer {
    pub(super) fn new(link: Link, info: FlightInfo) -> Result<Self> {
        let endpoint = info.endpoint.first().ok_or_else(|| broken("no endpoint"))?;
        let ticket = endpoint.ticket.clone().ok_or_else(|| broken("no ticket"))?.ticket;
        let schema = info.try_decode_schema();
        let schema = Arc::new(schema.map_err(|e| dunlin_planner::errors::from_arrow(&e))?);
        let place = Place::read(&ticket)?;
        let query = place.is_query().then(|| ticket.clone());
        let closer = query.clone().map(|ticket| Closer { link: link.clone(), ticket });
        Ok(Self { schema, ticket: query, rows: rows(link, place), closer })
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.rows.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = &next
            && let Some(closer) = self.closer.take()
        {
            closer.close();
        }
        next
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(closer) = self.closer.take() {
            closer.close();
        }
    }
}

/// A ticket, and how far its result was read.
struct Place {
    ticket: door::Ticket,
}

impl Place {
    fn read(bytes: &Bytes) -> Result<Self> {
        let read = || {
            let any = Any::decode(bytes.clone()).ok()?;
            let statement: TicketStatementQuery = any.unpack().ok()??;
            door::Ticket::decode(statement.statement_handle).ok()
        };
        Ok(Self { ticket: read().ok_or_else(|| broken("a ticket that is none"))? })
    }

    fn is_query(&self) -> bool {
        matches!(self.ticket.result, Some(ticket::Result::Query(_)))
    }

    fn ticket(&self) -> Ticket {
        let statement_handle = self.ticket.encode_to_vec().into();
        let statement = TicketStatementQuery { statement_handle };
        Ticket::new(statement.as_any().encode_to_vec())
    }
}

/// A result on its way.
struct Reader {
    link: Link,
    place: Place,
    messages: Option<FlightDataDecoder>,
    /// When the last row came, or the first try began.
    moved: Duration,
    pause: Duration,
}

fn rows(link: Link, place: Place) -> BoxStream<'static, Result<RecordBatch>> {
    let moved = link.env.now();
    let reader = Reader { link, place, messages: None, moved, pause: PAUSE_MIN };
    stream::try_unfold(reader, |mut reader| async move {
        let batch = reader.next().await?;
        Ok::<_, Error>(batch.map(|batch| (batch, reader)))
    })
    .boxed()
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.try_next().await {
                Ok(batch) => {
                    (self.moved, self.pause) = (self.link.env.now(), PAUSE_MIN);
                    return Ok(batch);
                }
                Err(Failed { error, elsewhere: true }) if self.may_go_on() => {
                    tracing::debug!(%error, "a result broke off; going on at another gateway");
                    self.messages = None;
                    self.link.move_on();
                    self.link.env.sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }

    fn may_go_on(&self) -> bool {
        let waited = self.link.env.now().saturating_sub(self.moved);
        waited < self.link.options.resume_for
    }

    async fn try_next(&mut self) -> Result<Option<RecordBatch>, Failed> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let data = self.link.rows(self.place.ticket()).await?;
                let data = data.map_err(FlightError::from);
                self.messages.insert(FlightDataDecoder::new(data))
            }
        };
        while let Some(message) = messages.try_next().await.map_err(from_flight)? {
            let DecodedPayload::RecordBatch(batch) = message.payload else { continue };
            if !message.inner.app_metadata.is_empty() {
                let cursor = Cursor::decode(message.inner.app_metadata)
                    .map_err(|e| broken("a cursor that is none").with_source(e))?;
                self.place.ticket.cursor = Some(cursor);
            }
            return Ok(Some(batch));
        }
        Ok(None)
    }
}

fn from_flight(error: FlightError) -> Failed {
    match error {
        FlightError::Tonic(status) => Failed::from(*status),
        FlightError::Arrow(error) => dunlin_planner::errors::from_arrow(&error).into(),
        other => broken("what is no result").with_source(other).into(),
    }
}
