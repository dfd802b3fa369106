//! What one map task reported for one partition, held against the blocks that come. Pure.

use std::sync::Arc;

use dunlin_base::{Error, PartitionId, Result};
use dunlin_proto::block::{Block, ShuffleId};
use dunlin_proto::output::PartitionOutput;
use dunlin_proto::shuffle::MapAttempt;

/// The report of one map, and what of it has come so far.
pub(crate) struct Expected {
    pub(crate) partition: PartitionId,
    pub(crate) attempt: MapAttempt,
    shuffle: ShuffleId,
    reported: Counts,
    seen: Counts,
    /// Where the blocks come from, for messages.
    from: Arc<str>,
}

/// What is compared. A reader has these for each map and partition: places would only take memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    blocks: u32,
    rows: u64,
    bytes: u64,
    checksum: u64,
}

/// What a block is to the map that is being read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its next block.
    Mine,
    /// Seen before, or of an attempt that did not win.
    Skip,
    /// Of another map or partition.
    Other,
}

impl Expected {
    pub(crate) fn new(
        shuffle: ShuffleId,
        partition: PartitionId,
        attempt: MapAttempt,
        written: &PartitionOutput,
        from: Arc<str>,
    ) -> Self {
        let PartitionOutput { blocks, rows, bytes, checksum, .. } = *written;
        let (reported, seen) = (Counts { blocks, rows, bytes, checksum }, Counts::default());
        Self { partition, attempt, shuffle, reported, seen, from }
    }

    /// A name of the place for error messages.
    pub(crate) fn place(&self) -> String {
        let Self { shuffle, partition, attempt, from, .. } = self;
        let MapAttempt { map, attempt } = attempt;
        format!("shuffle {shuffle} partition {partition} map {map} attempt {attempt} from {from}")
    }

    /// Judges and counts a block. `Lost` if it is of another shuffle, or one before it is missing.
    pub(crate) fn take(&mut self, block: &Block) -> Result<Taken> {
        let id = &block.id;
        if id.shuffle != self.shuffle {
            return Err(self.strange(block));
        }
        if (id.partition, id.map) != (self.partition, self.attempt.map) {
            return Ok(Taken::Other);
        }
        if id.attempt != self.attempt.attempt || id.batch < self.seen.blocks {
            return Ok(Taken::Skip);
        }
        if id.batch > self.seen.blocks {
            let missing = self.seen.blocks;
            return Err(Error::lost(format!("{}: block {missing} is missing", self.place())));
        }
        self.seen.blocks += 1;
        self.seen.rows += u64::from(block.rows);
        self.seen.bytes += block.body.len() as u64;
        self.seen.checksum = self.seen.checksum.wrapping_add(block.checksum);
        if self.seen.blocks > self.reported.blocks {
            return Err(self.mismatch());
        }
        Ok(Taken::Mine)
    }

    /// The error of a block that nobody asked for.
    pub(crate) fn strange(&self, block: &Block) -> Error {
        Error::lost(format!("{}: got {} instead", self.place(), block.place()))
    }

    /// The number of the block that is due.
    pub(crate) fn next_batch(&self) -> u32 {
        self.seen.blocks
    }

    /// The error of a source that ended before all blocks had come.
    pub(crate) fn cut(&self) -> Error {
        self.mismatch()
    }

    /// Called when no more blocks of this map come. `Lost` if they are not what was reported.
    pub(crate) fn check(&self) -> Result<()> {
        if self.seen == self.reported { Ok(()) } else { Err(self.mismatch()) }
    }

    fn mismatch(&self) -> Error {
        let show = |counts: &Counts| {
            let Counts { blocks, rows, bytes, checksum } = counts;
            format!("{blocks} blocks, {rows} rows, {bytes} bytes, checksum {checksum:016x}")
        };
        let (seen, reported) = (show(&self.seen), show(&self.reported));
        Error::lost(format!("{}: found {seen}; reported {reported}", self.place()))
    }
}
