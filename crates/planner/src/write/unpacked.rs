//! How large rows become when they are unpacked: dictionaries, runs and views may name one long value
//! a million times, and a few bytes from a client would fill the memory of a gateway.
//!
//! Called for each batch of an upload before anything is cast ([`super::Fit`]).

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, ByteView, make_array};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use dunlin_base::{ByteCount, Error, Result};

/// Rows of a piece.
const PIECE_ROWS: usize = 8192;

/// What the packed values of a piece of several rows may become.
pub(super) const PIECE_BYTES: ByteCount = ByteCount::mib(32);

/// What those of one row may become.
const ROW_BYTES_MAX: ByteCount = ByteCount::mib(64);

/// What views within lists and structs of one batch may become: those are unpacked all at once.
const INNER_BYTES_MAX: ByteCount = ByteCount::mib(256);

/// What each row of a batch may become.
pub(super) struct Sizes {
    /// The longest values of dictionaries and runs: any row may have them.
    each: u64,
    /// Columns of views, which say how long each value is.
    views: Vec<ArrayRef>,
}

impl Sizes {
    /// `Invalid`: dictionaries or runs within other values; `Exhausted`: views within other values
    /// that become too much.
    pub(super) fn of(batch: &RecordBatch) -> Result<Self> {
        let mut sizes = Self { each: 0, views: Vec::new() };
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let named = |error: Error| error.context(format!("column '{}'", field.name()));
            match column.data_type() {
                DataType::Utf8View | DataType::BinaryView => {
                    sizes.views.push(ArrayRef::clone(column))
                }
                DataType::Dictionary(..) => {
                    let longest = longest(column.as_any_dictionary().values());
                    sizes.each = sizes.each.saturating_add(longest.map_err(named)?);
                }
                DataType::RunEndEncoded(..) => {
                    let data = column.to_data();
                    let values = data.child_data().last().cloned().map(make_array);
                    let values = values.ok_or_else(|| Error::bug("runs without values"))?;
                    sizes.each = sizes.each.saturating_add(longest(&values).map_err(named)?);
                }
                _ => check_inner(&column.to_data()).map_err(named)?,
            }
        }
        Ok(sizes)
    }

    /// How many rows from `start` on are unpacked at a time: at least one. `Exhausted`: that one
    /// becomes too long.
    pub(super) fn piece(&self, start: usize, rows: usize) -> Result<usize> {
        let (mut length, mut bytes) = (0, 0_u64);
        while start + length < rows && length < PIECE_ROWS {
            let row = self.row(start + length);
            bytes = bytes.saturating_add(row);
            if length == 0 && row > ROW_BYTES_MAX.0 {
                let size = ByteCount(row);
                return Err(Error::exhausted(format!(
                    "a row becomes {size} when it is unpacked, more than {ROW_BYTES_MAX}"
                )));
            }
            if length > 0 && bytes > PIECE_BYTES.0 {
                break;
            }
            length += 1;
        }
        Ok(length)
    }

    fn row(&self, row: usize) -> u64 {
        self.views.iter().map(|views| view_length(views, row)).fold(self.each, u64::saturating_add)
    }
}

fn view_length(views: &ArrayRef, row: usize) -> u64 {
    let view = match views.data_type() {
        DataType::Utf8View => views.as_string_view().views()[row],
        _ => views.as_binary_view().views()[row],
    };
    u64::from(ByteView::from(view).length)
}

/// The length of the longest value. `Invalid`: they are packed themselves, or made of others.
fn longest(values: &ArrayRef) -> Result<u64> {
    fn widest(offsets: impl Iterator<Item = i64> + Clone) -> u64 {
        let lengths = offsets.clone().zip(offsets.skip(1)).map(|(from, to)| to.abs_diff(from));
        lengths.max().unwrap_or_default()
    }
    let small = |offsets: &[i32]| widest(offsets.iter().map(|offset| i64::from(*offset)));
    Ok(match values.data_type() {
        DataType::Utf8 => small(values.as_string::<i32>().value_offsets()),
        DataType::Binary => small(values.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => widest(values.as_string::<i64>().value_offsets().iter().copied()),
        DataType::LargeBinary => widest(values.as_binary::<i64>().value_offsets().iter().copied()),
        DataType::Utf8View | DataType::BinaryView => {
            (0..values.len()).map(|row| view_length(values, row)).max().unwrap_or_default()
        }
        DataType::FixedSizeBinary(bytes) => u64::from(bytes.unsigned_abs()),
        DataType::Null | DataType::Boolean => 1,
        other => match other.primitive_width() {
            Some(bytes) => bytes as u64,
            None => return Err(packed(other)),
        },
    })
}

/// Refuses what a cast of the outer values would unpack as a whole, whichever rows are wanted.
fn check_inner(outer: &ArrayData) -> Result<()> {
    let bytes = inner_bytes(outer)?;
    if bytes <= INNER_BYTES_MAX.0 {
        return Ok(());
    }
    let size = ByteCount(bytes);
    Err(Error::exhausted(format!(
        "the values of a batch become {size} when they are unpacked, more than {INNER_BYTES_MAX}"
    ))
    .with_hint("send smaller batches"))
}

fn inner_bytes(outer: &ArrayData) -> Result<u64> {
    outer.child_data().iter().try_fold(0_u64, |bytes, inner| {
        let own = match inner.data_type() {
            kind @ (DataType::Dictionary(..) | DataType::RunEndEncoded(..)) => {
                return Err(packed(kind));
            }
            DataType::Utf8View | DataType::BinaryView => {
                let views = make_array(inner.clone());
                (0..views.len()).map(|row| view_length(&views, row)).fold(0, u64::saturating_add)
            }
            _ => inner_bytes(inner)?,
        };
        Ok(bytes.saturating_add(own))
    })
}

fn packed(kind: &DataType) -> Error {
    Error::invalid(format!("values of type {kind} within others are not taken"))
        .with_hint("unpack them first")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Int32Array, Int64Array, ListArray, RunArray, StringArray, StringViewArray,
        StringViewBuilder,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type};
    use dunlin_base::Kind;

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("c", column)]).expect("a batch")
    }

    /// Views of `count` rows that all name the same bytes.
    fn views(bytes: usize, count: usize) -> StringViewArray {
        let mut builder = StringViewBuilder::new();
        let block = builder.append_block("x".repeat(bytes).into_bytes().into());
        for _ in 0..count {
            builder.try_append_view(block, 0, bytes as u32).expect("within the block");
        }
        builder.finish()
    }

    fn list(values: ArrayRef) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        Arc::new(ListArray::new(field, offsets, values, None))
    }

    fn pieces(batch: &RecordBatch) -> Result<Vec<usize>> {
        let (sizes, rows, mut start) = (Sizes::of(batch)?, batch.num_rows(), 0);
        let mut all = Vec::new();
        while start < rows {
            all.push(sizes.piece(start, rows)?);
            start += all.last().copied().unwrap_or(rows);
        }
        Ok(all)
    }

    #[test]
    fn views_of_the_same_bytes_are_cut_by_what_they_become() {
        let mib = |count: usize| batch(Arc::new(views(1 << 20, count)));
        assert_eq!(pieces(&mib(70)).expect("they fit"), [32, 32, 6]);
        let short = batch(Arc::new(StringViewArray::from(vec!["x"; 10_000])));
        assert_eq!(pieces(&short).expect("they fit"), [8192, 1808]);
        let error = pieces(&batch(Arc::new(views(65 << 20, 2)))).expect_err("one is too long");
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    }

    #[test]
    fn dictionaries_and_runs_are_cut_by_their_longest_value() {
        let long = "x".repeat(10 << 20);
        let words = || Arc::new(StringArray::from(vec!["a", long.as_str()])) as ArrayRef;
        let keys = Int32Array::from(vec![0; 7]);
        let dictionary = DictionaryArray::<Int32Type>::new(keys, words());
        assert_eq!(pieces(&batch(Arc::new(dictionary))).expect("they fit"), [3, 3, 1]);
        let ends = Int32Array::from(vec![1, 4]);
        let runs = RunArray::<Int32Type>::try_new(&ends, &words()).expect("runs");
        assert_eq!(pieces(&batch(Arc::new(runs))).expect("they fit"), [3, 1]);
        let of_lists = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0]), list(words()));
        let error = pieces(&batch(Arc::new(of_lists))).expect_err("lists");
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }

    #[test]
    fn what_is_packed_within_others_is_refused_or_counted() {
        let words: DictionaryArray<Int32Type> = vec!["tea", "pot"].into_iter().collect();
        let error = pieces(&batch(list(Arc::new(words)))).expect_err("a dictionary in a list");
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.message().starts_with("column 'c': "), "{error}");
        let few = batch(list(Arc::new(views(1 << 20, 10))));
        assert_eq!(pieces(&few).expect("they fit"), [1]);
        let error = pieces(&batch(list(Arc::new(views(1 << 20, 300))))).expect_err("too much");
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        let plain = batch(list(Arc::new(Int64Array::from(vec![7; 9]))));
        assert_eq!(pieces(&plain).expect("they fit"), [1]);
    }
}
