//! Writing the blocks of one partition to its file: headers and bodies, one after the other.
//!
//! A [`Flush`] is a look at a partition, so writing needs no lock; the partition takes the result
//! in afterwards.

use std::io;
use std::sync::Arc;

use dunlin_base::PartitionId;
use dunlin_proto::block::{Block, HEADER_LEN, ShuffleId};

use crate::disk::{Disk, DiskFile};
use crate::partition::Key;

/// What a flush moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flushed {
    pub(crate) freed: u64,
    pub(crate) disk_bytes: u64,
}

/// Blocks on their way to the file of their partition.
pub(crate) struct Flush {
    pub(crate) shuffle: ShuffleId,
    pub(crate) partition: PartitionId,
    pub(crate) blocks: Vec<(Key, Block)>,
    /// The file that the partition has, and its length.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    pub(crate) start: u64,
}

/// Blocks that are in the file.
pub(crate) struct Written {
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the header of each block is.
    pub(crate) offsets: Vec<(Key, u64)>,
    pub(crate) end: u64,
}

/// Smaller bodies are gathered to writes of about this size; larger ones are written as they are.
const WRITE_LEN: usize = 256 << 10;

impl Flush {
    /// Bytes that will be written.
    pub(crate) fn length(&self) -> u64 {
        self.blocks.iter().map(|(_, b)| (HEADER_LEN + b.body.len()) as u64).sum()
    }

    /// Appends the blocks to the file, each as header and body. Blocks the thread. A failure takes
    /// back what it wrote.
    pub(crate) fn write(self, disk: &dyn Disk) -> io::Result<Written> {
        let file = match self.file.clone() {
            Some(file) => file,
            None => disk.create(self.shuffle, self.partition)?,
        };
        match self.append_to(file.as_ref()) {
            Ok((offsets, end)) => Ok(Written { file, offsets, end }),
            Err(error) => {
                // If this fails too, the next flush writes over the remains.
                drop(file.truncate(self.start));
                Err(error)
            }
        }
    }

    fn append_to(&self, file: &dyn DiskFile) -> io::Result<(Vec<(Key, u64)>, u64)> {
        let mut offsets = Vec::with_capacity(self.blocks.len());
        let mut pending = Vec::with_capacity(WRITE_LEN);
        let mut at = self.start;
        for (key, block) in &self.blocks {
            offsets.push((*key, at + pending.len() as u64));
            pending.extend_from_slice(&block.header());
            let gather = pending.len() + block.body.len() <= WRITE_LEN;
            if gather {
                pending.extend_from_slice(&block.body);
                continue;
            }
            for part in [pending.as_slice(), &block.body] {
                file.write_at(at, part)?;
                at += part.len() as u64;
            }
            pending.clear();
        }
        file.write_at(at, &pending)?;
        Ok((offsets, at + pending.len() as u64))
    }
}
