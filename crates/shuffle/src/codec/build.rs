//! The arrays that the decoder makes: each column of one block after the other is appended.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryArray, BinaryViewArray, BooleanBufferBuilder, GenericBinaryArray,
    GenericStringArray, NullArray, OffsetSizeTrait, StringArray, StringViewArray, make_array,
};
use arrow::buffer::{Buffer, MutableBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::body::{Input, tag};
use super::encode::alignment;
use super::shape::{Kind, Text};
use super::texts::{self, Sink};
use super::{UNFOLDED_ROWS_MAX, malformed, numbers};

/// A column that is being made.
pub(super) struct Column<'a> {
    kind: Kind,
    data_type: &'a DataType,
    rows: usize,
    /// `None` while nothing was null.
    nulls: Option<BooleanBufferBuilder>,
    bits: BooleanBufferBuilder,
    values: MutableBuffer,
    /// Where each text ends.
    ends: Vec<usize>,
}

impl<'a> Column<'a> {
    pub(super) fn new(kind: Kind, data_type: &'a DataType) -> Self {
        let bits = BooleanBufferBuilder::new(0);
        let values = MutableBuffer::new(0);
        Self { kind, data_type, rows: 0, nulls: None, bits, values, ends: Vec::new() }
    }

    /// Makes room for so many rows, when it is known that they will come.
    pub(super) fn reserve(&mut self, rows: usize) {
        match self.kind {
            Kind::Fixed(width) => self.values.reserve(rows * width),
            Kind::Text(_) => self.ends.reserve(rows),
            Kind::Bits => self.bits.reserve(rows),
            Kind::Nothing | Kind::Message => {}
        }
    }

    /// Appends the column of a block.
    pub(super) fn append(
        &mut self,
        input: &mut Input<'_>,
        rows: usize,
        scratch: &mut Vec<i64>,
    ) -> Result<(), ArrowError> {
        let tag = input.byte()?;
        let nulls = tag & tag::NULLS > 0;
        let tag = tag & !tag::NULLS;
        self.append_nulls(nulls, input, rows)?;
        self.rows += rows;
        match (self.kind, tag) {
            (Kind::Nothing, tag::NOTHING) if !nulls => Ok(()),
            (Kind::Bits, tag::RAW) => {
                self.bits.append_packed_range(0..rows, input.bytes(rows.div_ceil(8), 1)?);
                Ok(())
            }
            (Kind::Fixed(width), tag::RAW) => {
                let length = rows.checked_mul(width).ok_or_else(|| malformed("rows"))?;
                self.values.extend_from_slice(input.bytes(length, alignment(width, rows))?);
                Ok(())
            }
            _ if rows > UNFOLDED_ROWS_MAX => Err(malformed("more rows than its bytes can say")),
            (Kind::Fixed(width), tag::NUMBERS) => {
                numbers::read(input, rows, scratch)?;
                narrow(scratch, width, &mut self.values)
            }
            (Kind::Text(_), _) => texts::read(input, tag, rows, scratch, self),
            _ => Err(malformed("a column of another kind")),
        }
    }

    fn append_nulls(
        &mut self,
        some: bool,
        input: &mut Input<'_>,
        rows: usize,
    ) -> Result<(), ArrowError> {
        let bits = if some { Some(input.bytes(rows.div_ceil(8), 1)?) } else { None };
        if bits.is_none() && self.nulls.is_none() {
            return Ok(());
        }
        let before = self.rows;
        let nulls = self.nulls.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(before + rows);
            valid.append_n(before, true);
            valid
        });
        match bits {
            Some(bits) => nulls.append_packed_range(0..rows, bits),
            None => nulls.append_n(rows, true),
        }
        Ok(())
    }

    /// The array. Everything in it is checked.
    pub(super) fn finish(mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.as_mut().map(|bits| NullBuffer::new(bits.finish()));
        let values = std::mem::take(&mut self.values);
        let data = ArrayData::builder(self.data_type.clone()).len(self.rows);
        match self.kind {
            Kind::Nothing => Ok(Arc::new(NullArray::new(self.rows))),
            Kind::Bits => {
                let data = data.add_buffer(self.bits.finish().into_inner()).nulls(nulls);
                Ok(make_array(data.build()?))
            }
            Kind::Fixed(_) => Ok(make_array(data.add_buffer(values.into()).nulls(nulls).build()?)),
            Kind::Text(kind) => self.texts(kind, values.into(), nulls),
            Kind::Message => Err(malformed("a column of a message")),
        }
    }

    fn texts(
        &self,
        kind: Text,
        values: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, ArrowError> {
        let is_text =
            matches!(self.data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match (kind, is_text) {
            (Text::Small, true) => Ok(Arc::new(self.strings::<i32>(values, nulls)?)),
            (Text::Small, false) => Ok(Arc::new(self.binaries::<i32>(values, nulls)?)),
            (Text::Large, true) => Ok(Arc::new(self.strings::<i64>(values, nulls)?)),
            (Text::Large, false) => Ok(Arc::new(self.binaries::<i64>(values, nulls)?)),
            (Text::Views, true) => {
                let strings: StringArray = self.strings(values, nulls)?;
                Ok(Arc::new(StringViewArray::from(&strings)))
            }
            (Text::Views, false) => {
                let binaries: BinaryArray = self.binaries(values, nulls)?;
                Ok(Arc::new(BinaryViewArray::from(&binaries)))
            }
        }
    }

    fn strings<O: OffsetSizeTrait>(
        &self,
        values: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<GenericStringArray<O>, ArrowError> {
        GenericStringArray::try_new(self.offsets()?, values, nulls)
    }

    fn binaries<O: OffsetSizeTrait>(
        &self,
        values: Buffer,
        nulls: Option<NullBuffer>,
    ) -> Result<GenericBinaryArray<O>, ArrowError> {
        GenericBinaryArray::try_new(self.offsets()?, values, nulls)
    }

    fn offsets<O: OffsetSizeTrait>(&self) -> Result<OffsetBuffer<O>, ArrowError> {
        if self.ends.last().is_some_and(|end| O::from_usize(*end).is_none()) {
            return Err(malformed("texts of more bytes than offsets can say"));
        }
        // They ascend: the last is the greatest.
        let offset = |end: &usize| O::usize_as(*end);
        let offsets: Vec<O> = std::iter::once(&0).chain(&self.ends).map(offset).collect();
        Ok(OffsetBuffer::new(offsets.into()))
    }
}

impl Sink for Column<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.values.extend_from_slice(bytes);
    }

    fn again(&mut self, from: usize, length: usize) -> Option<()> {
        let from = self.values.len().checked_sub(from)?;
        let again = self.values.get(from..from + length)?.to_vec();
        self.values.extend_from_slice(&again);
        Some(())
    }

    fn end(&mut self, length: usize) {
        let before = self.ends.last().copied().unwrap_or(0);
        self.ends.push(before + length);
    }
}

fn narrow(numbers: &[i64], width: usize, into: &mut MutableBuffer) -> Result<(), ArrowError> {
    match width {
        1 => into.extend(numbers.iter().map(|n| *n as i8)),
        2 => into.extend(numbers.iter().map(|n| *n as i16)),
        4 => into.extend(numbers.iter().map(|n| *n as i32)),
        8 => into.extend_from_slice(numbers),
        16 => into.extend(numbers.iter().map(|n| i128::from(*n))),
        _ => return Err(malformed("numbers of an odd width")),
    }
    Ok(())
}
