//! Batches to bodies.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_base::{Error, Kind as ErrorKind, Result};
use dunlin_proto::block::BODY_LEN_MAX;

use super::body::{HEAD_LEN, Head, Output, tag};
use super::compress::{Compression, Compressor};
use super::message::{MessageEncoder, with_schema};
use super::numbers::{self, Way};
use super::sample::{self, TextWay};
use super::shape::{Kind, Shape, Text};
use super::source::{Source, Texts, Values};
use super::{FEW_ROWS, UNFOLDED_ROWS_MAX, texts};
use crate::compact::compact;
use crate::measure::batch_bytes;

/// Bodies that lie in one allocation begin at multiples of this.
const ALIGNMENT: usize = 16;

/// What a column of a block takes beside its values, about.
const COLUMN_COST: usize = 24;

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Each column in the way that takes the fewest bytes, by a sample of its values.
    pub small: bool,
    /// What the payload goes through.
    pub compression: Compression,
}

impl Style {
    /// Quickest: values as they are.
    pub const PLAIN: Self = Self { small: false, compression: Compression::Nothing };
    /// Small columns in LZ4.
    pub const LZ4: Self = Self { small: true, compression: Compression::Lz4 };
    /// Small columns in ZSTD.
    pub const ZSTD: Self = Self { small: true, compression: Compression::Zstd };
}

/// Encodes batches of one schema. Free of state: may be shared between threads.
#[derive(Clone, Debug)]
pub struct Encoder {
    shape: Arc<Shape>,
    message: Option<MessageEncoder>,
}

impl Encoder {
    /// An encoder for batches of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        let shape = Shape::new(schema);
        let message =
            shape.message.as_ref().map(|schema| MessageEncoder::plain(Arc::clone(schema)));
        Self { shape: Arc::new(shape), message }
    }

    /// The body of a block for this batch. Slices are cut to what they show, views and
    /// dictionaries too. `Bug` if the columns are not those of the schema, `Invalid` if Arrow IPC
    /// has no form for a type or the body would be longer than [`BODY_LEN_MAX`].
    pub fn encode(&self, batch: &RecordBatch, style: Style) -> Result<Bytes> {
        let all = 0..batch.num_rows();
        let mut bodies = self.encode_ranges(batch, &[all], style)?;
        bodies.pop().ok_or_else(|| Error::bug("a batch without a body"))
    }

    /// The bodies of blocks for these rows of the batch, in one allocation. As [`Encoder::encode`].
    pub(crate) fn encode_ranges(
        &self,
        batch: &RecordBatch,
        ranges: &[Range<usize>],
        style: Style,
    ) -> Result<Vec<Bytes>> {
        let bug = |e| cannot_encode(e, ErrorKind::Bug);
        let batch = with_schema(&self.shape.schema, batch.columns().to_vec(), batch.num_rows());
        let batch = batch.map_err(bug)?;
        // What a block shows alone may be little of what the views of its batch hold.
        let alone = ranges.len() == 1 && batch.num_rows() >= FEW_ROWS && !style.small;
        let sources = self.sources(&batch, alone).map_err(bug)?;
        let capacity = batch_bytes(&batch) + ranges.len() * self.block_cost();
        let mut room = Room::new(capacity, style);
        let mut bodies = Vec::with_capacity(ranges.len());
        for range in ranges {
            bodies.push(self.append(&batch, &sources, range, &mut room)?);
        }
        let mut data = room.data;
        if data.capacity() > data.len() + data.len() / 2 {
            data.shrink_to_fit();
        }
        let all = Bytes::from_owner(Body(data.into()));
        Ok(bodies.into_iter().map(|range| all.slice(range)).collect())
    }

    fn block_cost(&self) -> usize {
        HEAD_LEN + ALIGNMENT + self.shape.kinds.len() * COLUMN_COST
    }

    fn sources(&self, batch: &RecordBatch, alone: bool) -> Result<Vec<Source>, ArrowError> {
        let columns = batch.columns().iter().zip(&self.shape.kinds);
        let source = |(array, kind): (&ArrayRef, &Kind)| {
            if *kind != Kind::Text(Text::Views) || !alone {
                return Source::new(array, *kind, false);
            }
            let own = compact(array)?;
            Source::new(own.as_ref().unwrap_or(array), *kind, true)
        };
        columns.map(source).collect()
    }

    /// Appends the body of some rows. Says where it is.
    fn append(
        &self,
        batch: &RecordBatch,
        sources: &[Source],
        rows: &Range<usize>,
        room: &mut Room,
    ) -> Result<Range<usize>> {
        let Room { data, says, numbers, compressor, style } = room;
        data.extend_zeros(data.len().next_multiple_of(ALIGNMENT) - data.len());
        let from = data.len();
        data.extend_zeros(HEAD_LEN);
        let mut out = Output::new(data, says);
        for source in sources {
            source.write(rows, *style, numbers, &mut out);
        }
        if let Some(message) = &self.message {
            let bytes = message.encode(&self.for_message(batch, rows)?)?;
            out.number(bytes.len() as u64);
            out.align(ALIGNMENT);
            out.bytes(&bytes);
        }
        let (says, payload) = out.end();
        if HEAD_LEN + payload > BODY_LEN_MAX {
            let text = format!("{} rows take {payload} bytes in one block", rows.len());
            return Err(Error::invalid(text).with_hint("no row may take more than 2 GiB"));
        }
        let compression = compressor.compress(data, from + HEAD_LEN) as u8;
        let (columns, fingerprint) = (sources.len() as u16, self.shape.fingerprint);
        let head = Head { compression, columns, fingerprint, payload, says };
        data[from..from + HEAD_LEN].copy_from_slice(&head.to_bytes());
        Ok(from..data.len())
    }

    /// The columns that have no encoding here.
    fn for_message(&self, batch: &RecordBatch, rows: &Range<usize>) -> Result<RecordBatch> {
        let Some(schema) = &self.shape.message else {
            return Err(Error::bug("a message of no columns"));
        };
        let columns = batch.columns().iter().zip(&self.shape.kinds);
        let columns = columns.filter(|(_, kind)| **kind == Kind::Message);
        let columns = columns.map(|(array, _)| array.slice(rows.start, rows.len())).collect();
        with_schema(schema, columns, rows.len()).map_err(|e| cannot_encode(e, ErrorKind::Bug))
    }
}

/// What is used again for each block of a batch.
struct Room {
    data: MutableBuffer,
    says: Vec<u8>,
    numbers: Vec<i64>,
    compressor: Compressor,
    style: Style,
}

impl Room {
    fn new(capacity: usize, style: Style) -> Self {
        Self {
            // Aligned by construction, unlike a vector of bytes.
            data: MutableBuffer::with_capacity(capacity),
            says: Vec::new(),
            numbers: Vec::new(),
            compressor: Compressor::new(style.compression),
            style,
        }
    }
}

impl Source {
    /// Writes some rows of the column.
    fn write(
        &self,
        rows: &Range<usize>,
        style: Style,
        scratch: &mut Vec<i64>,
        out: &mut Output<'_>,
    ) {
        let nulls = self.nulls.as_ref().map(|nulls| nulls.slice(rows.start, rows.len()));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let mut begin = |tag: u8, out: &mut Output<'_>| {
            out.byte(tag | if nulls.is_some() { tag::NULLS } else { 0 });
            if let Some(nulls) = &nulls {
                out.bytes(&nulls.inner().sliced()[..rows.len().div_ceil(8)]);
            }
        };
        let small = style.small && rows.len() <= UNFOLDED_ROWS_MAX;
        match &self.values {
            Values::Nothing => out.byte(tag::NOTHING),
            Values::Message => out.byte(tag::MESSAGE),
            Values::Bits(bits) => {
                begin(tag::RAW, out);
                let bits = bits.slice(rows.start, rows.len());
                out.bytes(&bits.sliced()[..rows.len().div_ceil(8)]);
            }
            Values::Fixed(values, width) => {
                let bytes = &values[rows.start * width..rows.end * width];
                let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                let way =
                    (small && widen(bytes, *width, scratch, valid)).then(|| number_way(scratch));
                match way.filter(|(_, bits)| (*bits as usize) < *width * 7) {
                    Some((way, _)) => {
                        begin(tag::NUMBERS, out);
                        numbers::write(scratch, way, out);
                    }
                    None => {
                        begin(tag::RAW, out);
                        out.align(alignment(*width, rows.len()));
                        out.bytes(bytes);
                    }
                }
            }
            Values::Small(offsets, data) => {
                let texts = Texts::small(&offsets[rows.start..=rows.end], data);
                write_texts(&texts, small, &mut begin, out);
            }
            Values::Large(offsets, data) => {
                let texts = Texts::large(&offsets[rows.start..=rows.end], data);
                write_texts(&texts, small, &mut begin, out);
            }
            Values::Views(array) => {
                begin(tag::VIEWS, out);
                write_views(array, out);
            }
        }
    }
}

fn number_way(values: &[i64]) -> (Way, u32) {
    match values.len() < FEW_ROWS {
        true => (Way::Packed, numbers::bits(numbers::ends(values))),
        false => sample::way(values),
    }
}

fn write_texts(
    texts: &Texts<'_>,
    small: bool,
    begin: &mut impl FnMut(u8, &mut Output<'_>),
    out: &mut Output<'_>,
) {
    if texts.len() >= FEW_ROWS && !small {
        begin(tag::OFFSETS, out);
        out.number(texts.span().len() as u64);
        out.align(texts.offset_width());
        texts.write_offsets(out);
        return out.bytes(texts.bytes());
    }
    let way = texts::way(texts, small);
    let few = if way == TextWay::Few { texts::few(texts) } else { None };
    // No allowance is taken for a way that will not be used.
    let less = way == TextWay::Front || few.is_some();
    match (less && out.may_unfold(texts.span().len()), few) {
        (true, Some(found)) => {
            begin(tag::FEW, out);
            texts::write_few(texts, found, out);
        }
        (true, None) => {
            begin(tag::FRONT, out);
            texts::write_front(texts, out);
        }
        (false, _) => {
            begin(tag::LENGTHS, out);
            texts::write_lengths(texts, small, out);
        }
    }
}

fn write_views(array: &ArrayRef, out: &mut Output<'_>) {
    let data = array.to_data();
    let (views, buffers) = (&data.buffers()[0], &data.buffers()[1..]);
    let width = size_of::<u128>();
    out.number(buffers.len() as u64);
    out.align(width);
    out.bytes(&views[data.offset() * width..(data.offset() + data.len()) * width]);
    for buffer in buffers {
        out.number(buffer.len() as u64);
        out.bytes(buffer);
    }
}

/// The alignment of raw values: none in a block of few rows, where they are copied anyway.
pub(super) fn alignment(width: usize, rows: usize) -> usize {
    if rows < FEW_ROWS { 1 } else { width.next_power_of_two().min(ALIGNMENT) }
}

/// The values as numbers; false if they are none, or too large. Where one is null, it is the one
/// before.
fn widen(bytes: &[u8], width: usize, into: &mut Vec<i64>, valid: impl Fn(usize) -> bool) -> bool {
    into.clear();
    match width {
        1 => into.extend(bytes.iter().map(|n| i64::from(*n as i8))),
        2 => into.extend(words(bytes).map(|n| i64::from(i16::from_le_bytes(n)))),
        4 => into.extend(words(bytes).map(|n| i64::from(i32::from_le_bytes(n)))),
        8 => into.extend(words(bytes).map(i64::from_le_bytes)),
        16 => {
            let mut fits = true;
            into.extend(words(bytes).enumerate().map(|(row, word)| {
                let wide = i128::from_le_bytes(word);
                fits &= wide == i128::from(wide as i64) || !valid(row);
                wide as i64
            }));
            if !fits {
                return false;
            }
        }
        _ => return false,
    }
    let mut before = 0;
    for (row, value) in into.iter_mut().enumerate() {
        if valid(row) {
            before = *value;
        } else {
            *value = before;
        }
    }
    true
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(|word| word.first_chunk().copied().unwrap_or([0; N]))
}

fn cannot_encode(cause: ArrowError, kind: ErrorKind) -> Error {
    Error::new(kind, format!("cannot encode a shuffle block: {cause}")).with_source(cause)
}

struct Body(Buffer);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
