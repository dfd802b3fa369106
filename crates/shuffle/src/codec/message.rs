//! Arrow IPC messages without the schema: the batch's dictionaries and then the batch. For columns
//! that have no encoding of their own, and what bodies of older builds are.
//!
//! Encoding copies every buffer once, into one allocation of exactly the right size; decoding
//! without compression copies nothing, the arrays point into the body. Strings are validated while
//! decoding: a checksum says that bytes are unchanged, not that they are UTF-8.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamEncoder};
use arrow_ipc::{CompressionType, Message, MetadataVersion, root_as_message};
use bytes::Bytes;
use dunlin_base::{Error, Kind, Result};
use dunlin_proto::block::BODY_LEN_MAX;

use super::malformed;
use crate::compact::compact;

/// Every buffer in a body begins at a multiple of this: the alignment of the widest Arrow value.
/// More would only pad small blocks.
const ALIGNMENT: usize = 16;

/// Length of what precedes a compressed buffer.
const CLAIM_LEN: usize = 8;

/// A byte of LZ4 stands for no more than so many.
const LZ4_RATIO_MAX: u64 = 255;

/// Length of what precedes the metadata of a message: a marker and the metadata's length.
const PREFIX_LEN: usize = 8;

/// Encodes batches of one schema. Free of state: may be shared between threads.
#[derive(Clone, Debug)]
pub(crate) struct MessageEncoder {
    schema: SchemaRef,
    options: IpcWriteOptions,
}

impl MessageEncoder {
    /// An encoder for batches of `schema`, without compression.
    pub(super) fn plain(schema: SchemaRef) -> Self {
        Self::new(schema, None)
    }

    /// An encoder that compresses each buffer, as those of older builds did.
    pub(crate) fn new(schema: SchemaRef, compression: Option<CompressionType>) -> Self {
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(compression))
            .expect("alignment 16 and compression are allowed in version 5");
        Self { schema, options }
    }

    /// The body of a block for this batch. Slices are cut to what they show, views and
    /// dictionaries too. `Bug` if the columns are not those of the schema, `Invalid` if Arrow IPC
    /// has no form for the schema or the body would be longer than [`BODY_LEN_MAX`].
    pub(crate) fn encode(&self, batch: &RecordBatch) -> Result<Bytes> {
        let batch = self.prepare(batch).map_err(|e| cannot_encode(e, Kind::Bug))?;
        let messages = self.stream()?.encode(&batch).map_err(|e| cannot_encode(e, Kind::Bug))?;
        let schema = schema_message_len(&messages)?;
        let length = messages.iter().map(Buffer::len).sum::<usize>().saturating_sub(schema);
        if length > BODY_LEN_MAX {
            let text = format!("{} rows take {length} bytes in one block", batch.num_rows());
            return Err(Error::invalid(text).with_hint("no row may take more than 2 GiB"));
        }
        Ok(join(&messages, schema, length))
    }

    /// A fresh stream for each block: its dictionaries are then written, whatever came before.
    fn stream(&self) -> Result<StreamEncoder> {
        StreamEncoder::try_new_with_options(&self.schema, self.options.clone())
            .map_err(|e| cannot_encode(e, Kind::Invalid))
    }

    fn prepare(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let own = |column: &ArrayRef| Ok(compact(column)?.unwrap_or_else(|| Arc::clone(column)));
        let columns = batch.columns().iter().map(own).collect::<Result<_, ArrowError>>()?;
        with_schema(&self.schema, columns, batch.num_rows())
    }
}

/// A batch of these columns.
pub(super) fn with_schema(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn cannot_encode(cause: ArrowError, kind: Kind) -> Error {
    Error::new(kind, format!("cannot encode a shuffle block: {cause}")).with_source(cause)
}

/// Length of the first message, the schema, which has no body.
fn schema_message_len(messages: &[Buffer]) -> Result<usize> {
    let prefix = messages.first().map(Buffer::as_slice);
    let length = prefix.and_then(|p| p.get(4..PREFIX_LEN)?.try_into().ok()).map(u32::from_le_bytes);
    let length = length.ok_or_else(|| Error::bug("the IPC stream does not begin with a schema"))?;
    Ok(PREFIX_LEN + length as usize)
}

/// The bytes of `messages` from `skip` on, in one allocation.
fn join(messages: &[Buffer], mut skip: usize, length: usize) -> Bytes {
    // Aligned by construction, unlike a vector of bytes.
    let mut joined = MutableBuffer::with_capacity(length);
    for part in messages {
        let from = skip.min(part.len());
        skip -= from;
        joined.extend_from_slice(&part[from..]);
    }
    Bytes::from_owner(Body(joined.into()))
}

struct Body(Buffer);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Decodes blocks of one schema. Free of state: may be shared between threads.
#[derive(Clone, Debug)]
pub(super) struct MessageDecoder {
    schema: SchemaRef,
    /// The schema with the dictionary ids that the encoder gives; the same one without
    /// dictionaries.
    wire: SchemaRef,
}

impl MessageDecoder {
    /// A decoder that yields batches of `schema`: types must be those of the encoder's schema, names,
    /// nullability and metadata may differ. `Bug` if Arrow cannot write the schema.
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let has_dictionary = |schema: &Schema| {
            let any = |t: &DataType| matches!(t, DataType::Dictionary(..));
            schema.flattened_fields().iter().any(|field| any(field.data_type()))
        };
        let wire = match has_dictionary(&schema) {
            true => Arc::new(with_dictionary_ids(&schema)?),
            false => Arc::clone(&schema),
        };
        Ok(Self { schema, wire })
    }

    /// The batch of a body.
    pub(super) fn decode(&self, body: &Bytes) -> Result<RecordBatch, ArrowError> {
        self.decode_buffer(Buffer::from(body.clone()))
    }

    /// As [`MessageDecoder::decode`], of a part of a body.
    pub(super) fn decode_buffer(&self, mut rest: Buffer) -> Result<RecordBatch, ArrowError> {
        let mut dictionaries = HashMap::new();
        loop {
            let (metadata, body) = next_message(&mut rest)?;
            let message = parse(&metadata)?;
            let version = message.version();
            if let Some(dictionary) = message.header_as_dictionary_batch() {
                dictionary.data().map_or(Ok(()), |data| check_claims(&data, &body))?;
                read_dictionary(&body, dictionary, &self.wire, &mut dictionaries, &version)?;
                continue;
            }
            let Some(batch) = message.header_as_record_batch() else {
                return Err(malformed("neither a batch nor a dictionary"));
            };
            check_claims(&batch, &body)?;
            let wire = Arc::clone(&self.wire);
            let batch = RecordBatchDecoder::try_new(&body, batch, wire, &dictionaries, &version)?
                .with_require_alignment(false)
                .read_record_batch()?;
            if Arc::ptr_eq(&self.wire, &self.schema) {
                return Ok(batch);
            }
            let rows = batch.num_rows();
            return with_schema(&self.schema, batch.columns().to_vec(), rows);
        }
    }
}

/// Arrow's decoder finds the fields of a dictionary by ids in the schema, which only a schema that
/// was read from a message carries.
fn with_dictionary_ids(schema: &Schema) -> Result<Schema> {
    let mut ids = DictionaryTracker::new(false);
    let options = IpcWriteOptions::default();
    let encoded = IpcDataGenerator::default()
        .schema_to_bytes_with_dictionary_tracker(schema, &mut ids, &options);
    let message = parse(&encoded.ipc_message).map_err(|e| Error::bug(e.to_string()))?;
    let schema = message.header_as_schema();
    let schema = schema.ok_or_else(|| Error::bug("a schema message without a schema"))?;
    Ok(arrow_ipc::convert::fb_to_schema(schema))
}

fn parse(metadata: &[u8]) -> Result<Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|e| malformed(&e.to_string()))
}

/// Cuts the next message off `rest`: its metadata and its body.
fn next_message(rest: &mut Buffer) -> Result<(Buffer, Buffer), ArrowError> {
    let prefix = rest.get(4..PREFIX_LEN).and_then(|p| p.try_into().ok());
    let length = prefix.map(u32::from_le_bytes).ok_or_else(|| malformed("no batch"))? as usize;
    let metadata = cut(rest, PREFIX_LEN, length)?;
    let body = usize::try_from(parse(&metadata)?.bodyLength()).map_err(|_| malformed("length"))?;
    let message = PREFIX_LEN + length;
    let body_bytes = cut(rest, message, body)?;
    rest.advance(message + body);
    Ok((metadata, body_bytes))
}

fn cut(from: &Buffer, at: usize, length: usize) -> Result<Buffer, ArrowError> {
    match at.checked_add(length) {
        Some(end) if end <= from.len() => Ok(from.slice_with_length(at, length)),
        _ => Err(malformed("cut short")),
    }
}

/// Arrow takes at their word where buffers lie, and how long a compressed one was before: it
/// allocates that at once. More than LZ4 can mean is a lie.
fn check_claims(batch: &arrow_ipc::RecordBatch<'_>, body: &Buffer) -> Result<(), ArrowError> {
    let compressed = batch.compression().is_some();
    for buffer in batch.buffers().into_iter().flatten() {
        let at = usize::try_from(buffer.offset()).map_err(|_| malformed("offset"))?;
        let length = usize::try_from(buffer.length()).map_err(|_| malformed("length"))?;
        let bytes = cut(body, at, length)?;
        let claim = bytes.get(..CLAIM_LEN).filter(|_| compressed);
        let Some(claim) = claim.and_then(|claim| claim.try_into().ok()) else { continue };
        // Below zero: not compressed.
        let claimed = i64::from_le_bytes(claim).max(0).unsigned_abs();
        if claimed > LZ4_RATIO_MAX * length as u64 {
            return Err(malformed("a buffer that is larger than its bytes can say"));
        }
    }
    Ok(())
}
