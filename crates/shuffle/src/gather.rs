//! One partition of a writer: small batches are gathered to blocks of a good size, large ones are
//! cut. Pure: no I/O, no lock of its own.

use std::sync::Arc;

use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use dunlin_proto::block::Block;
use dunlin_proto::output::PartitionOutput;

use crate::measure::{batch_bytes, reserved_row_bytes};

/// A batch is halved until it shows at most this many times the gathering size.
const OVERSIZE: usize = 8;

/// No block has more rows, so that the header can count them.
const ROWS_MAX: usize = 1 << 30;

/// A batch that becomes block number `.0` of its partition.
pub(crate) type Numbered = (u32, RecordBatch);

/// The state of one partition.
#[derive(Default)]
pub(crate) struct Gather {
    /// Made by the first batch that has to wait for others.
    coalescer: Option<BatchCoalescer>,
    /// Bytes shown by the rows in the coalescer.
    gathered: usize,
    /// Bytes that the coalescer takes for its first row already.
    reserved: usize,
    next: u32,
    blocks: u32,
    rows: u64,
    bytes: u64,
    checksum: u64,
}

/// When a block is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl Target {
    /// Whether rows that show so many bytes are too many for one block.
    pub(crate) fn is_exceeded(self, bytes: usize) -> bool {
        bytes > OVERSIZE * self.bytes
    }
}

impl Gather {
    /// Takes a batch and appends what is full to `ready`, in order. A batch that is large enough
    /// by itself is not copied: it ends what was gathered before.
    pub(crate) fn add(
        &mut self,
        batch: RecordBatch,
        schema: &SchemaRef,
        target: Target,
        ready: &mut Vec<Numbered>,
    ) -> Result<(), ArrowError> {
        let (rows, bytes) = (batch.num_rows(), batch_bytes(&batch));
        if rows >= target.rows.div_ceil(2) || bytes >= target.bytes.div_ceil(2) {
            return self.add_whole(batch, target, ready);
        }
        let coalescer = match &mut self.coalescer {
            Some(coalescer) => coalescer,
            none => {
                // It makes room for all its rows at once.
                let row = reserved_row_bytes(schema);
                let rows = target.rows.min(target.bytes / row.max(1)).max(1);
                self.reserved = row * rows;
                none.insert(BatchCoalescer::new(Arc::clone(schema), rows))
            }
        };
        coalescer.push_batch(batch)?;
        self.gathered += bytes;
        if self.gathered >= target.bytes {
            coalescer.finish_buffered_batch()?;
        }
        let left = coalescer.get_buffered_rows();
        if left < rows {
            // Full: what stays behind is the tail of this batch.
            self.gathered = bytes / rows * left;
        }
        self.take_completed(target, ready);
        Ok(())
    }

    /// Appends what has been gathered to `ready`, full or not.
    pub(crate) fn finish(
        &mut self,
        target: Target,
        ready: &mut Vec<Numbered>,
    ) -> Result<(), ArrowError> {
        if let Some(coalescer) = &mut self.coalescer {
            coalescer.finish_buffered_batch()?;
        }
        self.take_completed(target, ready);
        self.gathered = 0;
        Ok(())
    }

    /// Appends rows that are a block, or several, behind what has been gathered.
    pub(crate) fn add_whole(
        &mut self,
        batch: RecordBatch,
        target: Target,
        ready: &mut Vec<Numbered>,
    ) -> Result<(), ArrowError> {
        self.finish(target, ready)?;
        self.cut(batch, target, ready);
        Ok(())
    }

    /// Bytes that the rows take which wait.
    pub(crate) fn gathered_bytes(&self) -> usize {
        if self.gathered == 0 { 0 } else { self.gathered.max(self.reserved) }
    }

    /// The number of the next block: the caller makes it.
    pub(crate) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn take_completed(&mut self, target: Target, ready: &mut Vec<Numbered>) {
        while let Some(batch) = self.coalescer.as_mut().and_then(|c| c.next_completed_batch()) {
            self.cut(batch, target, ready);
        }
    }

    fn cut(&mut self, batch: RecordBatch, target: Target, ready: &mut Vec<Numbered>) {
        let rows = batch.num_rows();
        let large = target.is_exceeded(batch_bytes(&batch)) || rows > ROWS_MAX;
        if rows > 1 && large {
            let half = rows / 2;
            self.cut(batch.slice(0, half), target, ready);
            self.cut(batch.slice(half, rows - half), target, ready);
            return;
        }
        ready.push((self.next, batch));
        self.next += 1;
    }

    /// Counts a block of this partition.
    pub(crate) fn count(&mut self, block: &Block) {
        self.blocks += 1;
        self.rows += u64::from(block.rows);
        self.bytes += block.body.len() as u64;
        self.checksum = self.checksum.wrapping_add(block.checksum);
    }

    /// The report; `None` if the partition has no rows.
    pub(crate) fn output(&self, partition: u32) -> Option<PartitionOutput> {
        let Self { blocks, rows, bytes, checksum, .. } = *self;
        let all =
            PartitionOutput { partition, rows, bytes, blocks, checksum, ..Default::default() };
        (blocks > 0).then_some(all)
    }
}
