//! The columns of a batch as the encoder sees them: their buffers, found once for all blocks of it.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::body::Output;
use super::shape::{Kind, Text};

/// A column.
pub(super) struct Source {
    pub(super) values: Values,
    /// `None`: nothing is null.
    pub(super) nulls: Option<NullBuffer>,
}

/// Where its values are.
pub(super) enum Values {
    Nothing,
    Message,
    Bits(BooleanBuffer),
    /// Of so many bytes each.
    Fixed(Buffer, usize),
    Small(ScalarBuffer<i32>, Buffer),
    Large(ScalarBuffer<i64>, Buffer),
    Views(ArrayRef),
}

impl Source {
    /// Of an array. Views become texts with offsets unless they are to stay: then nothing is copied,
    /// and the whole column must be one block.
    pub(super) fn new(array: &ArrayRef, kind: Kind, keep_views: bool) -> Result<Self, ArrowError> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        let values = match kind {
            Kind::Nothing => Values::Nothing,
            Kind::Message => Values::Message,
            Kind::Bits => Values::Bits(array.as_boolean().values().clone()),
            Kind::Text(Text::Views) if keep_views => Values::Views(array.clone()),
            Kind::Text(Text::Views) => {
                let to = match array.data_type() {
                    DataType::Utf8View => DataType::Utf8,
                    _ => DataType::Binary,
                };
                text(&cast(array, &to)?, Text::Small)
            }
            Kind::Text(text_kind) => text(array, text_kind),
            Kind::Fixed(width) => {
                let data = array.to_data();
                let (at, length) = (data.offset() * width, data.len() * width);
                Values::Fixed(data.buffers()[0].slice_with_length(at, length), width)
            }
        };
        Ok(Self { values, nulls })
    }
}

fn text(array: &ArrayRef, kind: Text) -> Values {
    let data = array.to_data();
    let (offsets, bytes) = (data.buffers()[0].clone(), data.buffers()[1].clone());
    // An empty array may have no offsets at all.
    match (kind, data.is_empty()) {
        (Text::Large, true) => Values::Large(vec![0].into(), bytes),
        (_, true) => Values::Small(vec![0].into(), bytes),
        (Text::Large, _) => {
            Values::Large(ScalarBuffer::new(offsets, data.offset(), data.len() + 1), bytes)
        }
        _ => Values::Small(ScalarBuffer::new(offsets, data.offset(), data.len() + 1), bytes),
    }
}

/// Some texts with offsets.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    offsets: Offsets<'a>,
    data: &'a [u8],
}

#[derive(Clone, Copy)]
enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
}

impl<'a> Texts<'a> {
    /// One offset more than texts.
    pub(super) fn small(offsets: &'a [i32], data: &'a [u8]) -> Self {
        Self { offsets: Offsets::Small(offsets), data }
    }

    pub(super) fn large(offsets: &'a [i64], data: &'a [u8]) -> Self {
        Self { offsets: Offsets::Large(offsets), data }
    }

    pub(super) fn len(&self) -> usize {
        match self.offsets {
            Offsets::Small(offsets) => offsets.len() - 1,
            Offsets::Large(offsets) => offsets.len() - 1,
        }
    }

    fn offset(&self, at: usize) -> usize {
        match self.offsets {
            Offsets::Small(offsets) => offsets[at] as usize,
            Offsets::Large(offsets) => offsets[at] as usize,
        }
    }

    pub(super) fn get(&self, row: usize) -> &'a [u8] {
        &self.data[self.offset(row)..self.offset(row + 1)]
    }

    /// Where all their bytes are.
    pub(super) fn span(&self) -> Range<usize> {
        self.offset(0)..self.offset(self.len())
    }

    /// All their bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        &self.data[self.span()]
    }

    pub(super) fn lengths(&self) -> Vec<i64> {
        match self.offsets {
            Offsets::Small(offsets) => {
                offsets.windows(2).map(|pair| i64::from(pair[1] - pair[0])).collect()
            }
            Offsets::Large(offsets) => offsets.windows(2).map(|pair| pair[1] - pair[0]).collect(),
        }
    }
}

impl Texts<'_> {
    /// Bytes of an offset.
    pub(super) fn offset_width(&self) -> usize {
        match self.offsets {
            Offsets::Small(_) => size_of::<i32>(),
            Offsets::Large(_) => size_of::<i64>(),
        }
    }

    /// Writes the offsets, from zero.
    pub(super) fn write_offsets(&self, out: &mut Output<'_>) {
        match self.offsets {
            Offsets::Small(offsets) => out.data.extend(offsets.iter().map(|n| *n - offsets[0])),
            Offsets::Large(offsets) => out.data.extend(offsets.iter().map(|n| *n - offsets[0])),
        }
    }
}
