//! Writing blocks of one partition to an extent: headers and bodies, one after the other.
//!
//! A [`Flush`] is a look at a partition, so writing needs no lock; the partition takes the result
//! in afterwards.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_proto::block::{Block, HEADER_LEN};
use dunlin_proto::extent_index::ExtentIndex;
use dunlin_proto::shuffle::MapAttempt;
use dunlin_proto::table::Entry;

use crate::disk::{Disk, DiskFile, ExtentId};
use crate::extent::{Home, Target};
use crate::partition::Key;

/// Which flush of a partition it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: ExtentId,
    pub(crate) number: u64,
    pub(crate) to: Target,
    /// The age of the extent, if this makes one.
    pub(crate) born: u64,
}

/// Blocks on their way to an extent of their partition.
pub(crate) struct Flush {
    pub(crate) ticket: Ticket,
    pub(crate) blocks: Vec<(Key, Block)>,
    /// The file of the extent if it is to be continued, and its length; a new one starts at 0.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    pub(crate) start: u64,
}

/// Blocks that are in the extent.
pub(crate) struct Written {
    pub(crate) home: Home,
    /// Where the header of each block is.
    pub(crate) offsets: Vec<(Key, u64)>,
    pub(crate) end: u64,
    /// All that the extent holds would survive the process.
    pub(crate) synced: bool,
}

/// The disk begins to write after so many bytes, and at the end of a flush that is not small.
const WRITE_OUT_LEN: u64 = 8 << 20;

/// Smaller bodies are gathered to writes of about this size; larger ones are written as they are.
const WRITE_LEN: usize = 256 << 10;

impl Flush {
    /// Bytes that will be written.
    pub(crate) fn length(&self) -> u64 {
        self.blocks.iter().map(|(_, b)| stored_len(b.body.len())).sum()
    }

    /// Appends the blocks to the file, each as header and body, and syncs it if that is asked for.
    /// Blocks the thread. A failure takes back what it wrote.
    pub(crate) fn write(self, index: usize, disk: &dyn Disk, sync: bool) -> io::Result<Written> {
        let file = match self.file.clone() {
            Some(file) => file,
            None => disk.create(self.ticket.id)?,
        };
        let appended = self.append_to(file.as_ref());
        let appended =
            appended.and_then(|done| if sync { file.sync().map(|()| done) } else { Ok(done) });
        match appended {
            Ok((offsets, end)) => {
                let home = Home::File { disk: index, file };
                Ok(Written { home, offsets, end, synced: sync })
            }
            Err(error) => {
                // If this fails too, remains lie behind the last whole block, or in a file of their
                // own: nothing is appended to an extent that has failed, and nothing points there.
                drop(file.truncate(self.start));
                if self.file.is_none() {
                    drop(disk.remove(self.ticket.id));
                }
                Err(error)
            }
        }
    }

    /// The blocks as the parts of an object, and where the header of each is.
    pub(crate) fn parts(&self) -> (Vec<Bytes>, Vec<(Key, u64)>) {
        let (mut parts, mut offsets, mut at) = (Vec::new(), Vec::new(), 0);
        for (key, block) in &self.blocks {
            offsets.push((*key, at));
            at += stored_len(block.body.len());
            parts.extend([Bytes::copy_from_slice(&block.header()), block.body.clone()]);
        }
        (parts, offsets)
    }

    /// What an object of these blocks says of them behind them; nothing if it would be too long.
    pub(crate) fn index(&self, offsets: &[(Key, u64)]) -> Option<Bytes> {
        let entry = |((_, block), (_, offset)): (&(Key, Block), &(Key, u64))| Entry {
            of: MapAttempt { map: block.id.map, attempt: block.id.attempt },
            batch: block.id.batch,
            rows: block.rows,
            codec: block.codec,
            checksum: block.checksum,
            length: block.body.len() as u64,
            offset: *offset,
        };
        let ExtentId { shuffle, partition, .. } = self.ticket.id;
        let blocks = self.blocks.iter().zip(offsets).map(entry).collect();
        ExtentIndex { shuffle, partition, length: self.length(), blocks }.to_bytes()
    }

    fn append_to(&self, file: &dyn DiskFile) -> io::Result<(Vec<(Key, u64)>, u64)> {
        let mut offsets = Vec::with_capacity(self.blocks.len());
        let mut pending = Vec::with_capacity(WRITE_LEN);
        let (mut at, mut out) = (self.start, self.start);
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
            if at - out >= WRITE_OUT_LEN {
                file.write_out(out, at - out);
                out = at;
            }
        }
        file.write_at(at, &pending)?;
        let end = at + pending.len() as u64;
        if end - out >= WRITE_LEN as u64 {
            file.write_out(out, end - out);
        }
        Ok((offsets, end))
    }
}

/// Bytes that a block with a body of this length takes in an extent.
pub(crate) fn stored_len(body: usize) -> u64 {
    (HEADER_LEN + body) as u64
}
