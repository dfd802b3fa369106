//! What a worker asks of a disk.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

use dunlin_base::{PartitionId, QueryId};
use dunlin_proto::block::ShuffleId;

/// The name of one extent: a run of the bytes of a partition that lies in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtentId {
    /// Which shuffle.
    pub shuffle: ShuffleId,
    /// Which partition of it.
    pub partition: PartitionId,
    /// Which extent of the partition. Numbers go up, and some may be left out.
    pub extent: u32,
}

/// What a file system has, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Left for this process.
    pub free: u64,
    /// All of it, used or not.
    pub total: u64,
}

/// Files of one worker in one folder. Calls block, and may hang: they are made on threads that may,
/// a bounded number of them for each disk. All may be repeated.
pub trait Disk: Send + Sync + 'static {
    /// A new, empty file; one that exists is emptied. Fails if the folder is gone: a folder that is
    /// made anew in its place may lie on another file system.
    fn create(&self, id: ExtentId) -> io::Result<Arc<dyn DiskFile>>;

    /// The file of an extent that a former life wrote, and how long it is.
    fn open(&self, id: ExtentId) -> io::Result<(Arc<dyn DiskFile>, u64)>;

    /// Removes one file. Whoever has it open can still read it.
    fn remove(&self, id: ExtentId) -> io::Result<()>;

    /// Removes all files of a query. Open ones stay readable until they are dropped.
    fn remove_query(&self, query: QueryId) -> io::Result<()>;

    /// Removes everything but the files of these extents.
    fn clear(&self, keep: &BTreeSet<ExtentId>) -> io::Result<()>;

    /// The table that a former life left, if it did.
    fn read_table(&self) -> io::Result<Option<Vec<u8>>>;

    /// Puts a table in its place, whole or not at all. When this has returned it survives the process
    /// and the machine.
    fn write_table(&self, bytes: &[u8]) -> io::Result<()>;

    /// Removes the table; when this has returned it does not come back.
    fn remove_table(&self) -> io::Result<()>;

    /// The extents of which there are files, in order.
    fn extents(&self) -> io::Result<Vec<ExtentId>>;

    /// The process ids of a former life, if it wrote them.
    fn read_lives(&self) -> io::Result<Option<Vec<u8>>>;

    /// Puts process ids in their place, as [`Disk::write_table`] does a table. [`Disk::clear`] leaves
    /// them.
    fn write_lives(&self, bytes: &[u8]) -> io::Result<()>;

    /// Removes the process ids; when this has returned they do not come back.
    fn remove_lives(&self) -> io::Result<()>;

    /// What tells this folder from all others, also after it was copied there.
    fn identity(&self) -> u128;

    /// The folder, for messages.
    fn directory(&self) -> &Path;

    /// How much of the file system is free.
    fn space(&self) -> io::Result<Space>;

    /// Writes, syncs, reads back and removes a small file: an error, or a long time, says that the
    /// disk is sick.
    fn probe(&self) -> io::Result<()>;
}

/// One file, written only at its end and read anywhere.
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills all of `bytes` from `offset`.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Fills all of `parts`, one after the other, from `offset`.
    fn read_parts_at(&self, mut offset: u64, parts: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        for part in parts {
            self.read_at(offset, part)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Returns when what was written would survive the process and the machine, and so would the
    /// file's name. After an error nobody knows what of it would: the file must not be trusted
    /// beyond its last good sync, whatever a later one says.
    fn sync(&self) -> io::Result<()>;

    /// Has the disk begin to write these bytes, and does not wait for its end: memory of the machine that
    /// they take is free only then, and a sync that follows finds most of its work done. Nothing
    /// depends on it.
    fn write_out(&self, _offset: u64, _length: u64) {}

    /// Cuts the file to `length`: takes a failed write back.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The path, for messages.
    fn path(&self) -> &Path;
}
