//! Chunks of a result as messages, each of which says where the next one begins.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use dunlin_base::{ByteCount, Error, Result};
use dunlin_proto::door::Cursor;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use prost::Message;

use super::fault::{Fault, Outcome};
use super::plain;
use crate::query::{Chunk, Place};

/// About what one message holds; many clients take no more than 4 MiB.
const PIECE_BYTES: usize = 1 << 20;

/// A place as what a client gives back.
pub(super) fn to_cursor(place: Place) -> Cursor {
    Cursor { chunks: place.chunk, rows: place.row, fingerprint: place.output }
}

/// The place that a client gives back.
pub(super) fn from_cursor(cursor: &Cursor) -> Place {
    Place { chunk: cursor.chunks, row: cursor.rows, output: cursor.fingerprint }
}

/// Messages of a result: its schema, then its rows. `schema` is what they are sent as. Ends with
/// the first error.
pub(super) fn messages(
    chunks: BoxStream<'static, Result<Chunk>>,
    schema: SchemaRef,
    message_max: ByteCount,
) -> BoxStream<'static, Outcome<FlightData>> {
    // Pieces go into the encoder and come out one for one; their cursors go around it.
    let cursors: Arc<Mutex<VecDeque<Bytes>>> = Arc::default();
    let pieces = {
        let (cursors, schema) = (Arc::clone(&cursors), Arc::clone(&schema));
        chunks
            .map(move |chunk| pieces(chunk?, &schema))
            .map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok::<_, Error>)))
            .try_flatten()
            .map_ok(move |(piece, after)| {
                cursors.lock().push_back(Bytes::from(to_cursor(after).encode_to_vec()));
                piece
            })
            .map_err(|error| FlightError::ExternalError(Box::new(error)))
    };
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_max_flight_data_size(usize::MAX)
        .build(pieces)
        .enumerate()
        .map(move |(number, message)| {
            let message = message.map_err(fault)?;
            if number == 0 {
                return Ok(message);
            }
            let cursor = cursors.lock().pop_front().unwrap_or_default();
            check_size(&message, message_max)?;
            Ok(message.with_app_metadata(cursor))
        })
        .boxed()
}

/// A chunk in pieces that fit a message, each with the place after it.
fn pieces(chunk: Chunk, schema: &SchemaRef) -> Result<Vec<(RecordBatch, Place)>> {
    let Chunk { start, batch } = chunk;
    let batch =
        plain::to_schema(&batch, schema).map_err(|e| dunlin_planner::errors::from_arrow(&e))?;
    let rows = batch.num_rows();
    let bytes = batch.get_array_memory_size().max(1);
    let a_piece = (rows.saturating_mul(PIECE_BYTES) / bytes).clamp(1, rows.max(1));
    let next_chunk = Place { chunk: start.chunk + 1, row: 0, ..start };
    let piece = |offset: usize| {
        let length = a_piece.min(rows - offset);
        let end = offset + length;
        let after = Place { row: start.row + end as u64, ..start };
        (batch.slice(offset, length), if end == rows { next_chunk } else { after })
    };
    Ok((0..rows).step_by(a_piece).map(piece).collect())
}

fn check_size(message: &FlightData, max: ByteCount) -> Outcome<()> {
    let bytes = (message.data_body.len() + message.data_header.len()) as u64;
    if bytes <= max.0 {
        return Ok(());
    }
    let error = format!(
        "some rows of the result take {} in one message, more than {max}",
        ByteCount(bytes)
    );
    Err(Error::exhausted(error).with_hint("select less of the long values").into())
}

/// An error of ours that went through the encoder.
fn fault(error: FlightError) -> Fault {
    match error {
        FlightError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Fault::from(*ours),
            Err(other) => Error::bug(format!("can not encode rows: {other}")).into(),
        },
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow_flight::decode::FlightRecordBatchStream;

    use super::*;

    fn chunk(number: u64, rows: i64, text: &str) -> Chunk {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| text)));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).expect("a batch");
        Chunk { start: Place { chunk: number, row: 0, output: 9 }, batch }
    }

    async fn send(chunks: Vec<Chunk>, max: ByteCount) -> Vec<Outcome<FlightData>> {
        let schema = chunks[0].batch.schema();
        let chunks = stream::iter(chunks.into_iter().map(Ok)).boxed();
        messages(chunks, schema, max).collect().await
    }

    #[tokio::test]
    async fn every_message_says_where_the_next_begins() {
        let long = "x".repeat(1000);
        let chunks = vec![chunk(0, 4000, &long), chunk(1, 0, ""), chunk(2, 3, "y")];
        let sent = send(chunks, ByteCount::mib(8)).await;
        let sent: Vec<FlightData> = sent.into_iter().map(|m| m.expect("sent")).collect();
        let cursors: Vec<Cursor> = sent[1..]
            .iter()
            .map(|m| Cursor::decode(m.app_metadata.clone()).expect("a cursor"))
            .collect();
        assert!(cursors.len() >= 5, "{} messages", cursors.len());
        let (last, rest) = cursors.split_last().expect("messages");
        assert_eq!((last.chunks, last.rows, last.fingerprint), (3, 0, 9));
        assert_eq!((rest[0].chunks, rest.last().map(|c| c.chunks)), (0, Some(1)));
        let data = stream::iter(sent.into_iter().map(Ok));
        let batches: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(data).try_collect().await.expect("rows");
        let rows: Vec<u64> = batches.iter().map(|b| b.num_rows() as u64).collect();
        assert_eq!(rows.iter().sum::<u64>(), 4003);
        assert_eq!(rest[0].rows, rows[0], "a cursor counts the rows before it");
    }

    #[tokio::test]
    async fn a_row_too_long_for_a_message_is_said_so() {
        let sent = send(vec![chunk(0, 1, &"x".repeat(3 << 20))], ByteCount::mib(2)).await;
        let error = sent.into_iter().find_map(Result::err).expect("an error");
        let status = tonic::Status::from(error);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.message().contains("more than 2"), "{status}");
    }
}
