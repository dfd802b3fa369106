//! A disk that is a folder of the local file system. Opened by the worker, one for each folder that
//! it is given.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dunlin_base::{Error, QueryId, Result};
use rustix::fs::{Advice, fadvise};

use super::kept;
use super::{Disk, DiskFile, ExtentId, Space};

/// What a probe writes: a few pages, so that the disk has work and not much of it.
const PROBE_LEN: usize = 16 << 10;

/// Parts that the system reads in one call.
const PARTS_MAX: usize = 1024;

/// Bytes that the system looks ahead by itself, usually.
const READ_AHEAD: u64 = 128 << 10;

/// How often a folder is removed again that others still write to.
const REMOVE_AGAIN: usize = 16;

/// The folder `dunlin-shuffle` in a directory of the local file system.
pub struct LocalDisk {
    root: PathBuf,
    /// Locked for the life of the worker: clearing the folder of a live worker would lose its data.
    _lock: File,
    identity: u128,
}

impl LocalDisk {
    /// Takes the folder over and clears what a former life left in it. `Invalid` if it cannot be
    /// created or written, or if another worker uses it.
    pub fn open(directory: &Path) -> Result<Self> {
        let disk = Self::reopen(directory, 0)?;
        let cleared = disk.remove_lives().and_then(|()| disk.remove_table());
        let cleared = cleared.and_then(|()| disk.clear(&BTreeSet::new()));
        cleared.map_err(|e| unusable(&disk.root, e))?;
        Ok(disk)
    }

    /// Takes the folder over with all that is in it: the caller clears what it does not want. A folder
    /// without an identity gets `fresh` (0: it stays without one). Errors as those of [`LocalDisk::open`].
    pub fn reopen(directory: &Path, fresh: u128) -> Result<Self> {
        let root = directory.join("dunlin-shuffle");
        let lock = Self::lock(directory, &root)?;
        // Beside the folder and not in it: what is copied to another place is not what was left there.
        let identity = kept::identity(&lock, fresh).map_err(|e| unusable(&root, e))?;
        Ok(Self { root, _lock: lock, identity })
    }

    fn lock(directory: &Path, root: &Path) -> Result<File> {
        std::fs::create_dir_all(root).map_err(|e| unusable(root, e))?;
        let path = directory.join("dunlin-shuffle.lock");
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
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

    fn path(&self, id: ExtentId) -> PathBuf {
        let ExtentId { shuffle, partition, extent } = id;
        let name = format!("{}.{}.{partition}.{extent}.blocks", shuffle.stage, shuffle.epoch);
        self.query_folder(shuffle.query).join(name)
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
    fn create(&self, id: ExtentId) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(id);
        let folder = self.query_folder(id.shuffle.query);
        match std::fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        Ok(Arc::new(LocalFile { path, file, named: AtomicBool::new(false) }))
    }

    fn open(&self, id: ExtentId) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let path = self.path(id);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok((Arc::new(LocalFile { path, file, named: AtomicBool::new(false) }), length))
    }

    fn remove(&self, id: ExtentId) -> io::Result<()> {
        absent_is_fine(std::fs::remove_file(self.path(id)))
    }

    fn remove_query(&self, query: QueryId) -> io::Result<()> {
        let folder = self.query_folder(query);
        let mut removed = std::fs::remove_dir_all(&folder);
        // A write that was under way makes one more file, and no other after it.
        for _ in 0..REMOVE_AGAIN {
            match &removed {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    removed = std::fs::remove_dir_all(&folder);
                }
                _ => break,
            }
        }
        absent_is_fine(removed)
    }

    fn clear(&self, keep: &BTreeSet<ExtentId>) -> io::Result<()> {
        kept::clear(&self.root, &keep.iter().map(|id| self.path(*id)).collect())
    }

    fn read_table(&self) -> io::Result<Option<Vec<u8>>> {
        kept::read(&self.root, kept::TABLE)
    }

    fn write_table(&self, bytes: &[u8]) -> io::Result<()> {
        kept::write(&self.root, kept::TABLE, bytes)
    }

    fn remove_table(&self) -> io::Result<()> {
        kept::remove(&self.root, kept::TABLE)
    }

    fn extents(&self) -> io::Result<Vec<ExtentId>> {
        kept::extents(&self.root)
    }

    fn read_lives(&self) -> io::Result<Option<Vec<u8>>> {
        kept::read(&self.root, kept::LIVES)
    }

    fn write_lives(&self, bytes: &[u8]) -> io::Result<()> {
        kept::write(&self.root, kept::LIVES, bytes)
    }

    fn remove_lives(&self) -> io::Result<()> {
        kept::remove(&self.root, kept::LIVES)
    }

    fn identity(&self) -> u128 {
        self.identity
    }

    fn directory(&self) -> &Path {
        &self.root
    }

    fn space(&self) -> io::Result<Space> {
        let of = rustix::fs::statvfs(&self.root)?;
        let bytes = |blocks: u64| blocks.saturating_mul(of.f_frsize);
        Ok(Space { free: bytes(of.f_bavail), total: bytes(of.f_blocks) })
    }

    fn probe(&self) -> io::Result<()> {
        let path = self.root.join(".probe");
        let mut open = OpenOptions::new();
        let file = open.create(true).truncate(true).read(true).write(true).open(&path)?;
        let written: Vec<u8> = (0..PROBE_LEN).map(|n| (n * 31) as u8).collect();
        file.write_all_at(&written, 0)?;
        file.sync_all()?;
        let mut read = vec![0; PROBE_LEN];
        file.read_exact_at(&mut read, 0)?;
        std::fs::remove_file(&path)?;
        if read == written { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

struct LocalFile {
    path: PathBuf,
    file: File,
    /// The folders were synced since the file was made, so its name would survive, too.
    named: AtomicBool,
}

impl DiskFile for LocalFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn read_parts_at(&self, mut offset: u64, mut parts: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > READ_AHEAD {
            // All of it is asked of the disk at once: the system by itself looks ahead a little, and
            // waits for that before it looks further. Without it the read is only slower.
            let _ = fadvise(&self.file, offset, NonZeroU64::new(bytes), Advice::WillNeed);
        }
        while !parts.is_empty() {
            let some = parts.len().min(PARTS_MAX);
            match rustix::io::preadv(&self.file, &mut parts[..some], offset) {
                Ok(0) if parts.iter().all(|part| part.is_empty()) => break,
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    offset += read as u64;
                    IoSliceMut::advance_slices(&mut parts, read);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named.load(Relaxed) {
            // The folder of the query, and the one that this has its name in.
            for folder in self.path.ancestors().skip(1).take(2) {
                File::open(folder)?.sync_all()?;
            }
            self.named.store(true, Relaxed);
        }
        Ok(())
    }

    fn write_out(&self, offset: u64, length: u64) {
        if let Some(length) = NonZeroU64::new(length) {
            // What is not written yet stays in the cache, and its writing begins.
            let _ = fadvise(&self.file, offset, Some(length), Advice::DontNeed);
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
