//! Columns of a block that stay where they lie: the arrays point into the body.

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::body::{Input, tag};
use super::encode::alignment;
use super::malformed;
use super::shape::{Kind, Text};

/// Whether a column with this beginning can stay where it lies.
pub(super) fn can_stay(kind: Kind, first: u8) -> bool {
    matches!(
        (kind, first & !tag::NULLS),
        (Kind::Bits | Kind::Fixed(_), tag::RAW)
            | (Kind::Text(Text::Small | Text::Large), tag::OFFSETS)
            | (Kind::Text(Text::Views), tag::VIEWS)
    )
}

/// The next column of a block, one that [`can_stay`]. `payload` is what `input` reads. If it came to lie
/// badly in memory, it is copied after all.
pub(super) fn column(
    (kind, data_type): (Kind, &DataType),
    payload: &Buffer,
    input: &mut Input<'_>,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let cut = |input: &mut Input<'_>, each: usize, alignment: usize| {
        let length = rows.checked_mul(each).ok_or_else(|| malformed("rows"))?;
        slice(payload, input, length, alignment)
    };
    let mut data = ArrayData::builder(data_type.clone()).len(rows);
    if input.byte()? & tag::NULLS > 0 {
        let bits = slice(payload, input, rows.div_ceil(8), 1)?;
        data = data.nulls(Some(NullBuffer::new(BooleanBuffer::new(bits, 0, rows))));
    }
    data = match kind {
        Kind::Bits => data.add_buffer(slice(payload, input, rows.div_ceil(8), 1)?),
        Kind::Fixed(width) => data.add_buffer(cut(input, width, alignment(width, rows))?),
        Kind::Text(Text::Views) => {
            let buffers = input.number()?;
            data = data.add_buffer(cut(input, size_of::<u128>(), size_of::<u128>())?);
            // Each is described by a byte at least, so they cannot be many for nothing.
            for _ in 0..buffers {
                let length = input.length()?;
                data = data.add_buffer(slice(payload, input, length, 1)?);
            }
            data
        }
        Kind::Text(kind) => {
            let width = if kind == Text::Large { size_of::<i64>() } else { size_of::<i32>() };
            let bytes = input.length()?;
            let offsets = rows.checked_add(1).and_then(|rows| rows.checked_mul(width));
            let offsets = offsets.ok_or_else(|| malformed("rows"))?;
            data = data.add_buffer(slice(payload, input, offsets, width)?);
            data.add_buffer(slice(payload, input, bytes, 1)?)
        }
        Kind::Nothing | Kind::Message => return Err(malformed("a column without values")),
    };
    Ok(make_array(data.align_buffers(true).build()?))
}

fn slice(
    payload: &Buffer,
    input: &mut Input<'_>,
    length: usize,
    alignment: usize,
) -> Result<Buffer, ArrowError> {
    let range = input.range(length, alignment)?;
    Ok(payload.slice_with_length(range.start, range.len()))
}
