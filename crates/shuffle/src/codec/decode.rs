//! Bodies to batches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_base::env::panic_text;
use dunlin_base::{Error, Result};
use dunlin_proto::block::{Block, Codec};

use super::body::{HEAD_LEN, Head, Input, tag};
use super::build::Column;
use super::compress::decompress;
use super::message::{MessageDecoder, with_schema};
use super::place;
use super::shape::{Kind, Shape};
use super::{FEW_ROWS, malformed};

/// Decodes blocks of one schema. Free of state: may be shared between threads.
#[derive(Clone, Debug)]
pub struct Decoder {
    shape: Arc<Shape>,
    /// Of bodies of older builds.
    old: MessageDecoder,
    /// Of the columns that have no encoding of their own.
    message: Option<MessageDecoder>,
}

impl Decoder {
    /// A decoder that yields batches of `schema`: types must be those of the encoder's schema, names,
    /// nullability and metadata may differ. `Bug` if Arrow cannot write the schema.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let shape = Shape::new(Arc::clone(&schema));
        let message = shape.message.as_ref().map(|schema| MessageDecoder::new(Arc::clone(schema)));
        let (old, message) = (MessageDecoder::new(schema)?, message.transpose()?);
        Ok(Self { shape: Arc::new(shape), old, message })
    }

    /// The batch of a block. The block must have been verified. `Bug` if it is not of this schema
    /// after all, or no body: whatever its bytes are, they do no harm. `Invalid` if a later build wrote
    /// it. Without compression the arrays of a block of many rows keep its body alive.
    pub fn decode(&self, block: &Block) -> Result<RecordBatch> {
        let batch = guarded(block, || match block.codec {
            Codec::Plain | Codec::Lz4 => self.old.decode(&block.body),
            Codec::Columns => self.decode_one(block),
            Codec::Foreign => Err(ArrowError::ParseError("it is of another system".to_owned())),
        })?;
        if batch.num_rows() != block.rows as usize {
            let why = format!("{} rows, not {}", batch.num_rows(), block.rows);
            return Err(cannot_decode(block, why));
        }
        Ok(batch)
    }

    /// Whether a block should become a batch together with others.
    pub(crate) fn joins(&self, block: &Block) -> bool {
        block.codec == Codec::Columns && (block.rows as usize) < FEW_ROWS && self.message.is_none()
    }

    /// The rows of blocks that all [`Decoder::joins`], one after the other, in one batch. Otherwise as
    /// [`Decoder::decode`].
    pub(crate) fn decode_together(&self, blocks: &[Block]) -> Result<RecordBatch> {
        let rows = blocks.iter().map(|block| block.rows as usize).sum();
        let mut columns = self.columns(rows);
        let mut scratch = Vec::new();
        for block in blocks {
            guarded(block, || self.append(block, &mut columns, &mut scratch))?;
        }
        let Some(last) = blocks.last() else { return Err(Error::bug("a batch of no blocks")) };
        guarded(last, || {
            let columns = columns.into_iter().map(Column::finish);
            with_schema(&self.shape.schema, columns.collect::<Result<_, _>>()?, rows)
        })
    }

    fn columns(&self, rows: usize) -> Vec<Column<'_>> {
        let fields = self.shape.schema.fields().iter().zip(&self.shape.kinds);
        let mut columns: Vec<_> =
            fields.map(|(field, kind)| Column::new(*kind, field.data_type())).collect();
        // What a block says of its rows is not proved yet; honest ones are no more than this.
        columns.iter_mut().for_each(|column| column.reserve(rows.min(FEW_ROWS * 8)));
        columns
    }

    fn append(
        &self,
        block: &Block,
        columns: &mut [Column<'_>],
        scratch: &mut Vec<i64>,
    ) -> Result<(), ArrowError> {
        let head = self.head(&block.body)?;
        let bytes = &block.body[HEAD_LEN..];
        let payload = decompress(head.compression, bytes, head.payload)?;
        let mut input = Input::new(payload.as_deref().unwrap_or(bytes), head.says)?;
        for column in columns {
            column.append(&mut input, block.rows as usize, scratch)?;
        }
        input.check_end()
    }

    fn decode_one(&self, block: &Block) -> Result<RecordBatch, ArrowError> {
        let (head, rows) = (self.head(&block.body)?, block.rows as usize);
        let body = Buffer::from(block.body.clone());
        let rest = body.slice(HEAD_LEN);
        let payload = decompress(head.compression, &rest, head.payload)?;
        let payload = payload.map_or(rest, Buffer::from);
        let mut input = Input::new(&payload, head.says)?;
        let mut columns: Vec<Option<ArrayRef>> = Vec::with_capacity(self.shape.kinds.len());
        for (field, kind) in self.shape.schema.fields().iter().zip(&self.shape.kinds) {
            let of = (*kind, field.data_type());
            let column = match input.clone().byte()? {
                tag::MESSAGE if *kind == Kind::Message => {
                    input.byte()?;
                    None
                }
                first if place::can_stay(*kind, first) => {
                    Some(place::column(of, &payload, &mut input, rows)?)
                }
                _ => {
                    let mut column = Column::new(of.0, of.1);
                    column.append(&mut input, rows, &mut Vec::new())?;
                    Some(column.finish()?)
                }
            };
            columns.push(column);
        }
        if let Some(message) = &self.message {
            let length = input.length()?;
            let range = input.range(length, 16)?;
            let bytes = payload.slice_with_length(range.start, length);
            fill(&mut columns, message.decode_buffer(bytes)?.columns())?;
        }
        input.check_end()?;
        let columns: Option<_> = columns.into_iter().collect();
        let columns = columns.ok_or_else(|| malformed("a column is missing"))?;
        with_schema(&self.shape.schema, columns, rows)
    }

    /// The head, if it is of these columns.
    fn head(&self, body: &Bytes) -> Result<Head, ArrowError> {
        let head = Head::parse(body)?;
        let (ours, columns) = (self.shape.fingerprint, self.shape.kinds.len());
        if head.fingerprint != ours || usize::from(head.columns) != columns {
            return Err(ArrowError::SchemaError(format!(
                "it has {} columns of fingerprint {:08x}, the plan says {columns} of {ours:08x}",
                head.columns, head.fingerprint
            )));
        }
        Ok(head)
    }
}

/// Puts the columns of a message where there are none.
fn fill(columns: &mut [Option<ArrayRef>], from: &[ArrayRef]) -> Result<(), ArrowError> {
    let mut from = from.iter();
    for column in columns.iter_mut().filter(|column| column.is_none()) {
        *column = from.next().cloned();
    }
    match from.next() {
        None => Ok(()),
        Some(_) => Err(malformed("a column too many")),
    }
}

/// Arrow checks much of what it reads, and asserts the rest.
fn guarded<T>(block: &Block, decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(later @ ArrowError::NotYetImplemented(_))) => {
            let text = format!("cannot decode {}: {later}", block.place());
            Err(Error::invalid(text).with_hint("a later build wrote it: upgrade this process"))
        }
        Ok(Err(error)) => Err(cannot_decode(block, error.to_string()).with_source(error)),
        Err(panic) => Err(cannot_decode(block, panic_text(panic.as_ref()))),
    }
}

fn cannot_decode(block: &Block, why: String) -> Error {
    Error::bug(format!("cannot decode {}: {why}", block.place()))
}
