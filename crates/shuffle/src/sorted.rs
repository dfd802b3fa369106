//! Rows of all partitions in one buffer with the partition of each, sorted when it is full. Pure.

use std::ops::Range;

use arrow::array::UInt32Array;
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::measure::batch_bytes;

/// Rows are put in order in chunks of about this, so that what is sorted is not held twice.
const CHUNK_BYTES: usize = 1 << 20;

/// What a row costs beside its values: its partition, and its place in the order.
const ROW_COST: usize = size_of::<u32>() + size_of::<(u32, u32)>();

/// The rows of one partition that follow one another.
pub(crate) type Group = (u32, RecordBatch);

/// Rows of some partitions in their order, and where in them each partition has some.
pub(crate) type Chunk = (RecordBatch, Vec<(u32, Range<usize>)>);

/// The buffer.
#[derive(Default)]
pub(crate) struct Sorted {
    batches: Vec<RecordBatch>,
    partitions: Vec<Vec<u32>>,
    bytes: usize,
}

impl Sorted {
    /// Takes rows and the partition of each. Returns the bytes held now.
    pub(crate) fn add(&mut self, batch: RecordBatch, partitions: Vec<u32>) -> usize {
        self.bytes += batch_bytes(&batch) + partitions.len() * ROW_COST;
        self.batches.push(batch);
        self.partitions.push(partitions);
        self.bytes
    }

    /// Bytes held, as [`Sorted::add`] counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything, in order of the partitions, all below `partitions`; the rows of one keep their order.
    pub(crate) fn take(&mut self, partitions: u32) -> Run {
        let Self { batches, partitions: of, bytes } = std::mem::take(self);
        let mut ends = ends(of.iter().flatten(), partitions);
        let rows = ends.last().copied().unwrap_or(0);
        let mut order = vec![(0_u32, 0_u32); rows];
        // From the last row to the first, so that each end becomes the start of its partition.
        for (batch, of) in of.iter().enumerate().rev() {
            for (row, partition) in of.iter().enumerate().rev() {
                let end = &mut ends[*partition as usize];
                *end -= 1;
                order[*end] = (batch as u32, row as u32);
            }
        }
        Run { batches, order, starts: ends, next: 0, chunk: 0, bytes }
    }
}

/// The number of rows up to and with each partition.
fn ends<'a>(of: impl Iterator<Item = &'a u32>, partitions: u32) -> Vec<usize> {
    let mut ends = vec![0; partitions as usize];
    of.for_each(|partition| ends[*partition as usize] += 1);
    let mut sum = 0;
    for end in &mut ends {
        sum += *end;
        *end = sum;
    }
    ends
}

/// Sorted rows on their way out.
pub(crate) struct Run {
    batches: Vec<RecordBatch>,
    /// Batch and row, by partition.
    order: Vec<(u32, u32)>,
    /// Where each partition begins.
    starts: Vec<usize>,
    /// The next partition.
    next: usize,
    /// Rows of the last chunk.
    chunk: usize,
    /// Bytes of all rows, as [`Sorted::add`] counts them.
    pub(crate) bytes: usize,
}

impl Run {
    /// The rows of the next partitions: of one, or of as many as make a chunk; `None` after the last.
    /// A partition of many rows has several ranges of at most `rows_max`.
    pub(crate) fn chunk(&mut self, rows_max: usize) -> Option<Result<Chunk, ArrowError>> {
        let chunk_rows = (CHUNK_BYTES / self.row_bytes()).max(1);
        let from = *self.starts.get(self.next)?;
        let mut groups: Vec<(u32, Range<usize>)> = Vec::new();
        while let Some(&start) = self.starts.get(self.next) {
            let end = self.starts.get(self.next + 1).copied().unwrap_or(self.order.len());
            if end > start {
                if end - from > chunk_rows && !groups.is_empty() {
                    break;
                }
                groups.push((self.next as u32, start - from..end - from));
            }
            self.next += 1;
        }
        let rows = groups.last().map(|(_, range)| range.end)?;
        self.chunk = rows;
        let rows_max = rows_max.max(1);
        let cut = |(partition, range): (u32, Range<usize>)| {
            let end = range.end;
            range.step_by(rows_max).map(move |at| (partition, at..end.min(at + rows_max)))
        };
        let groups = groups.into_iter().flat_map(cut).collect();
        Some(self.rows(from..from + rows).map(|rows| (rows, groups)))
    }

    /// Bytes of a row in the mean.
    pub(crate) fn row_bytes(&self) -> usize {
        (self.bytes / self.order.len().max(1)).max(1)
    }

    /// Bytes of the last chunk, about.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk * self.row_bytes()
    }

    fn rows(&self, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
        let batches: Vec<_> = self.batches.iter().collect();
        let place = |(batch, row): &(u32, u32)| (*batch as usize, *row as usize);
        let places: Vec<_> = self.order[range].iter().map(place).collect();
        match batches.as_slice() {
            [] => Err(ArrowError::InvalidArgumentError("no rows were gathered".to_owned())),
            batches => interleave_record_batch(batches, &places),
        }
    }
}

/// The rows of one batch by partition, each with its order kept: one copy of the batch.
pub(crate) fn split(
    batch: &RecordBatch,
    of: &[u32],
    partitions: u32,
) -> Result<Vec<Group>, ArrowError> {
    let mut ends = ends(of.iter(), partitions);
    let mut order = vec![0_u32; of.len()];
    for (row, partition) in of.iter().enumerate().rev() {
        let end = &mut ends[*partition as usize];
        *end -= 1;
        order[*end] = row as u32;
    }
    let sorted = take_record_batch(batch, &UInt32Array::from(order))?;
    let next = ends.iter().skip(1).copied().chain([of.len()]);
    let all = (0..).zip(ends.iter().copied().zip(next));
    let some = all.filter(|(_, (start, end))| end > start);
    Ok(some.map(|(id, (start, end))| (id, sorted.slice(start, end - start))).collect())
}
