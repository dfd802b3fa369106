//! The seam to local disks. [`LocalDisk`] is the real one; tests and simulations put one that
//! fails, fills up or changes bytes in its place.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dunlin_base::{Error, PartitionId, QueryId, Result};
use dunlin_proto::block::ShuffleId;

/// Files of one worker. Calls block: they are made on threads that may. All may be repeated.
pub trait Disk: Send + Sync + 'static {
    /// A new, empty file for one partition; one that exists is emptied.
    fn create(&self, shuffle: ShuffleId, partition: PartitionId) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes all files of a query. Open ones stay readable until they are dropped.
    fn remove_query(&self, query: QueryId) -> io::Result<()>;

    /// The folder, for messages.
    fn directory(&self) -> &Path;
}

/// One file, written only at its end and read anywhere. Nothing is promised to survive the
/// process, so nothing is ever synced.
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills all of `bytes` from `offset`.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Cuts the file to `length`: takes a failed write back.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The path, for messages.
    fn path(&self) -> &Path;
}

/// The folder `dunlin-shuffle` in a directory of the local file system.
pub struct LocalDisk {
    root: PathBuf,
    /// Locked for the life of the worker: clearing the folder of a live worker would lose its data.
    _lock: File,
}

impl LocalDisk {
    /// Takes the folder over and clears what a former life left in it. `Invalid` if it cannot be
    /// created or written, or if another worker uses it.
    pub fn open(directory: &Path) -> Result<Self> {
        let root = directory.join("dunlin-shuffle");
        let lock = Self::lock(directory, &root)?;
        Self::clear(&root).map_err(|e| unusable(&root, e))?;
        Ok(Self { root, _lock: lock })
    }

    fn lock(directory: &Path, root: &Path) -> Result<File> {
        std::fs::create_dir_all(root).map_err(|e| unusable(root, e))?;
        let path = directory.join("dunlin-shuffle.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| unusable(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::Error(e)) => Err(unusable(&path, e)),
            Err(TryLockError::WouldBlock) => {
                let text = format!("shuffle directory {} is in use", directory.display());
                Err(Error::invalid(text).with_hint("give every shuffle worker its own directory"))
            }
        }
    }

    fn clear(root: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn query_folder(&self, query: QueryId) -> PathBuf {
        self.root.join(query.to_string())
    }
}

fn unusable(path: &Path, cause: io::Error) -> Error {
    Error::invalid(format!("shuffle directory {} cannot be used: {cause}", path.display()))
        .with_source(cause)
}

impl Disk for LocalDisk {
    fn create(&self, shuffle: ShuffleId, partition: PartitionId) -> io::Result<Arc<dyn DiskFile>> {
        let folder = self.query_folder(shuffle.query);
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.{}.{partition}.blocks", shuffle.stage, shuffle.epoch));
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Arc::new(LocalFile { path, file }))
    }

    fn remove_query(&self, query: QueryId) -> io::Result<()> {
        match std::fs::remove_dir_all(self.query_folder(query)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn directory(&self) -> &Path {
        &self.root
    }
}

struct LocalFile {
    path: PathBuf,
    file: File,
}

impl DiskFile for LocalFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
