//! Flight infos, tickets and schemas as bytes.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{Any, Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use bytes::Bytes;
use dunlin_base::{ByteCount, Error, QueryId, Result};
use dunlin_proto::door::{self, QueryHandle};
use prost::Message;

use super::fault::{Outcome, forbidden, malformed};
use super::options::DoorOptions;
use super::plain::plain_schema;
use super::seal::{Purpose, Signer};

/// The schema that rows of `schema` are sent with.
pub(super) fn sent_schema(schema: &SchemaRef, options: &DoorOptions) -> SchemaRef {
    if options.view_types { SchemaRef::clone(schema) } else { plain_schema(schema) }
}

/// An info with one endpoint. `schema` is what is sent.
pub(super) fn info(
    schema: &Schema,
    descriptor: FlightDescriptor,
    ticket: Bytes,
    options: &DoorOptions,
) -> Result<FlightInfo> {
    let mut endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    for location in &options.locations {
        endpoint = endpoint.with_location(location);
    }
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|e| dunlin_planner::errors::from_arrow(&e))?;
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
}

/// Our ticket as bytes.
pub(super) fn ticket_bytes(ticket: &door::Ticket) -> Bytes {
    let statement = TicketStatementQuery { statement_handle: ticket.encode_to_vec().into() };
    statement.as_any().encode_to_vec().into()
}

/// A command or ticket of the protocol.
pub(super) fn command(bytes: &Bytes) -> Result<Command> {
    let any = Any::decode(bytes.clone()).map_err(|e| malformed("command", e))?;
    let read = Command::try_from(any);
    read.map_err(|e| Error::invalid("the command is malformed").with_source(e))
}

/// Our ticket in the protocol's.
pub(super) fn ticket(statement: TicketStatementQuery) -> Result<door::Ticket> {
    door::Ticket::decode(statement.statement_handle).map_err(|e| malformed("ticket", e))
}

/// A query handle, checked: signed, and the caller's own.
pub(super) struct Handle {
    pub(super) id: QueryId,
    pub(super) schema: SchemaRef,
    pub(super) resumable: bool,
}

/// Opens a query handle. Permission is denied for another user's.
pub(super) async fn open_query(
    sealed: &door::Sealed,
    user: &str,
    signer: &Signer,
) -> Outcome<Handle> {
    let handle: QueryHandle = signer.open_sealed(Purpose::Query, sealed).await?;
    check_owner(&handle.user, user)?;
    let id: [u8; 16] = handle.query.as_ref().try_into().map_err(|_| Error::bug("a query id"))?;
    Ok(Handle {
        id: QueryId::from_u128(u128::from_be_bytes(id)),
        schema: schema_from(handle.schema)?,
        resumable: handle.resumable,
    })
}

/// Whether a handle is the caller's.
pub(super) fn check_owner(owner: &str, user: &str) -> Outcome<()> {
    if owner == user {
        return Ok(());
    }
    Err(forbidden("the ticket or handle is another user's"))
}

/// A schema as the protocol carries it.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|m| m.0).map_err(|e| dunlin_planner::errors::from_arrow(&e))
}

fn schema_from(bytes: Bytes) -> Result<SchemaRef> {
    let schema = Schema::try_from(IpcMessage(bytes));
    schema.map(SchemaRef::new).map_err(|e| dunlin_planner::errors::from_arrow(&e))
}

/// Rows as bytes, at most `max`. `Exhausted`: they are more.
pub(super) fn rows_bytes(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    max: ByteCount,
) -> Result<Bytes> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    };
    let bytes = write().map_err(|e| dunlin_planner::errors::from_arrow(&e))?;
    if bytes.len() as u64 > max.0 {
        let size = ByteCount(bytes.len() as u64);
        return Err(Error::exhausted(format!("the rows take {size}, more than {max}"))
            .with_hint("ask for fewer rows"));
    }
    Ok(bytes.into())
}

/// The rows behind [`rows_bytes`].
pub(super) fn rows_from(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let read = || {
        let reader = StreamReader::try_new(bytes, None)?;
        let schema = reader.schema();
        Ok::<_, arrow::error::ArrowError>((schema, reader.collect::<Result<Vec<_>, _>>()?))
    };
    read().map_err(|e| dunlin_planner::errors::from_arrow(&e))
}
