//! Rows of many partitions at once: each to its partition's buffer, or all to the one that is sorted
//! when it is full (see `layout`).

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use dunlin_base::{Error, PartitionId, Result};

use crate::measure::batch_bytes;
use crate::sorted::{Chunk, Run, split};
use crate::write::{Ending, ShuffleWriter, Waiting};

impl ShuffleWriter {
    /// Takes rows and the partition of each: for hash exchanges, where a batch has rows for most
    /// partitions. Waits, fails and may be called like [`ShuffleWriter::write`]; `Bug` if a row has
    /// no partition or one that is not of the shuffle.
    pub async fn scatter(&self, batch: RecordBatch, partitions: Vec<u32>) -> Result<()> {
        self.check()?;
        let known = self.options.partitions;
        if partitions.len() != batch.num_rows() || partitions.iter().any(|id| *id >= known) {
            let (rows, of) = (batch.num_rows(), partitions.len());
            return Err(Error::bug(format!(
                "{rows} rows with {of} partitions, of a shuffle that has {known}"
            )));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let ending = Ending::new(self);
        let outcome = if self.layout.see(batch.num_rows(), batch_bytes(&batch)) {
            self.add_sorted(batch, partitions).await
        } else {
            self.add_split(&batch, &partitions).await
        };
        ending.is(outcome)
    }

    /// Pushes everything that is gathered, full blocks or not: for a task that is short of memory.
    /// What it pushed is not held any more. Fails like [`ShuffleWriter::write`].
    pub async fn relieve(&self) -> Result<()> {
        self.check()?;
        let ending = Ending::new(self);
        let outcome = async {
            self.empty_all().await?;
            self.sender.push_pending().await
        };
        ending.is(outcome.await)
    }

    async fn add_split(&self, batch: &RecordBatch, partitions: &[u32]) -> Result<()> {
        let groups = split(batch, partitions, self.options.partitions).map_err(cannot_sort)?;
        for (partition, rows) in groups {
            let gather = &self.partitions[partition as usize];
            self.add(PartitionId(partition), gather, rows).await?;
        }
        Ok(())
    }

    pub(crate) async fn add_sorted(&self, batch: RecordBatch, of: Vec<u32>) -> Result<()> {
        let held = {
            let mut sorted = self.sorted.lock();
            let before = sorted.bytes();
            let held = sorted.add(batch, of);
            self.gathered.fetch_add(held - before, Relaxed);
            held
        };
        // Half: one half is emptied while the other is filled.
        if held >= self.options.buffer_bytes / 2 {
            self.empty_sorted().await?;
        }
        Ok(())
    }

    /// Encodes and pushes all that is gathered.
    pub(crate) async fn empty_all(&self) -> Result<()> {
        self.empty_sorted().await?;
        for (partition, gather) in (0..).map(PartitionId).zip(&self.partitions) {
            let mut ready = Vec::new();
            let target = self.options.target();
            self.gather(gather, |g| g.finish(target, &mut ready))?;
            if !ready.is_empty() {
                self.send(partition, gather, ready).await?;
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// Sorts what is in the one buffer, and pushes it as small blocks of many partitions together.
    /// Who comes while another does so waits: this is back-pressure, too.
    async fn empty_sorted(&self) -> Result<()> {
        let _one = self.emptying.lock().await;
        let mut run = self.sorted.lock().take(self.options.partitions);
        // They stay counted, now as this guard's.
        self.gathered.fetch_sub(run.bytes, Relaxed);
        let mut waiting = Waiting::new(&self.gathered, run.bytes);
        let rows_max = self.rows_of_a_block(&run);
        while let Some(chunk) = run.chunk(rows_max) {
            self.send_chunk(chunk.map_err(cannot_sort)?).await?;
            waiting.done(run.chunk_bytes());
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// Makes a block of each range, and pushes them together.
    async fn send_chunk(&self, (rows, groups): Chunk) -> Result<()> {
        let target = self.options.target();
        // Such rows may have to be cut further.
        let large = target.is_exceeded(batch_bytes(&rows));
        let waits = |(partition, _): &(u32, Range<usize>)| {
            self.partitions[*partition as usize].lock().gathered_bytes() > 0
        };
        if large || groups.iter().any(waits) {
            for (partition, range) in groups {
                let gather = &self.partitions[partition as usize];
                let (mut ready, rows) = (Vec::new(), rows.slice(range.start, range.len()));
                self.gather(gather, |g| g.add_whole(rows, target, &mut ready))?;
                self.send(PartitionId(partition), gather, ready).await?;
            }
            return Ok(());
        }
        let blocks = self.encode_chunk(&rows, groups)?;
        drop(rows);
        self.sender.add_all(blocks).await
    }

    fn rows_of_a_block(&self, run: &Run) -> usize {
        let target = self.options.target();
        target.rows.min(target.bytes / run.row_bytes()).max(1)
    }
}

fn cannot_sort(cause: ArrowError) -> Error {
    Error::bug(format!("cannot sort shuffle rows by partition: {cause}")).with_source(cause)
}
