//! The durable half: a directory with a fjall database, written by the writer thread only.
//!
//! Layout: `LOCK` (see `lock`) and `data/` (fjall). A new database is made complete under another
//! name and then renamed, so a crash while it is made leaves nothing that looks like one.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use dunlin_base::{Error, Kind, Result, Revision};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::group::Changes;
use super::lock::{DirLock, LOCK_FILE};
use super::record;
use crate::io::{io_cause, io_error, io_kind};
use crate::store::{Durability, Entry};

const DATA_DIR: &str = "data";
const NEW_DATA_DIR: &str = "data.new";
const KEYSPACE: &str = "metadata";

/// Live state is in our own memory, so fjall gets little: its write buffer, its block cache, and
/// the journal that a start must replay.
const MEMTABLE_LEN: u64 = 16 << 20;
const CACHE_LEN: u64 = 1 << 20;
const JOURNAL_LEN_MAX: u64 = 64 << 20;

/// Where groups become durable. A seam, so that tests can fail a sync.
pub(super) trait Disk: Send {
    /// Writes a group as one atomic batch, behind all groups before it. On return it is durable,
    /// or (`Lazy`) with the operating system, which a crash of the process does not touch. After
    /// an error the disk must not be used again: what it holds is unknown until it is opened anew.
    fn commit(&mut self, changes: &Changes, durability: Durability) -> Result<()>;
}

/// What an opened directory holds.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) entries: Vec<Entry>,
    pub(super) revision: Revision,
}

/// The real disk. Fields drop in order: the lock goes last.
pub(super) struct FjallDisk {
    keyspace: Keyspace,
    db: Database,
    _lock: DirLock,
}

impl FjallDisk {
    /// Opens or makes the store in `dir`. Blocks. `Invalid`: another process has it, it holds
    /// other things or a newer format, no permission. `Lost`: it is corrupt. `Exhausted`: no space.
    pub(super) fn open(dir: &Path) -> Result<(Self, Stored)> {
        let failed = |e| io_error(format!("metadata directory '{}'", dir.display()), e);
        fs::create_dir_all(dir).map_err(failed)?;
        refuse_foreign(dir)?;
        let lock = DirLock::take(dir)?;
        let data = dir.join(DATA_DIR);
        if !data.try_exists().map_err(failed)? {
            create(dir, &data)?;
        }
        let (db, keyspace) = open_database(&data)?;
        let disk = Self { keyspace, db, _lock: lock };
        let stored = disk.load(dir)?;
        Ok((disk, stored))
    }

    fn load(&self, dir: &Path) -> Result<Stored> {
        let dir = dir.display();
        let failed = |e| storage_error(format!("metadata directory '{dir}' cannot be read"), e);
        let corrupt = |what: &str| {
            Error::lost(format!("metadata directory '{dir}' is corrupt: {what}"))
                .with_hint("restore it from a backup, or start with an empty directory")
        };
        let format = self.keyspace.get(record::FORMAT_KEY).map_err(failed)?;
        let format = format.ok_or_else(|| corrupt("it has no format"))?;
        if &*format != record::FORMAT {
            return Err(Error::invalid(format!(
                "metadata directory '{dir}' has format '{}', and this program reads '{}'",
                format.escape_ascii(),
                record::FORMAT.escape_ascii()
            )));
        }
        let revision = self.keyspace.get(record::REVISION_KEY).map_err(failed)?;
        let revision = revision
            .and_then(|bytes| record::decode_i64(&bytes))
            .ok_or_else(|| corrupt("it has no revision"))?;
        let mut entries = Vec::new();
        for pair in self.keyspace.prefix(record::ENTRY_PREFIX) {
            let (key, value) = pair.into_inner().map_err(failed)?;
            let entry = record::decode(&key, &value)
                .filter(|entry| entry.modified.0 <= revision)
                .ok_or_else(|| corrupt(&format!("entry '{}'", key.escape_ascii())))?;
            entries.push(entry);
        }
        Ok(Stored { entries, revision: Revision(revision) })
    }
}

impl Disk for FjallDisk {
    fn commit(&mut self, changes: &Changes, durability: Durability) -> Result<()> {
        let mode = match durability {
            Durability::Synced => PersistMode::SyncData,
            Durability::Lazy => PersistMode::Buffer,
        };
        let mut batch = self.db.batch().durability(Some(mode));
        for (key, change) in &changes.entries {
            let key = record::entry_key(key);
            match change {
                Some(entry) => batch.insert(&self.keyspace, key, record::encode(entry)),
                None => batch.remove(&self.keyspace, key),
            }
        }
        let revision = changes.revision.0.to_be_bytes();
        batch.insert(&self.keyspace, record::REVISION_KEY, revision);
        batch.commit().map_err(|e| storage_error("a metadata commit failed", e))
    }
}

/// A directory that holds anything else is a mistake in an option, not a place for our files.
fn refuse_foreign(dir: &Path) -> Result<()> {
    let failed = |e| io_error(format!("metadata directory '{}'", dir.display()), e);
    let ours = [LOCK_FILE, DATA_DIR, NEW_DATA_DIR];
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !ours.iter().any(|ours| name == *ours) {
            return Err(Error::invalid(format!(
                "'{}' is not a metadata directory: it holds '{}'",
                dir.display(),
                name.display()
            ))
            .with_hint("name an empty or a new directory"));
        }
    }
    Ok(())
}

fn create(dir: &Path, data: &Path) -> Result<()> {
    let failed = |e| io_error(format!("metadata directory '{}'", dir.display()), e);
    let new: PathBuf = dir.join(NEW_DATA_DIR);
    match fs::remove_dir_all(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let (db, keyspace) = open_database(&new)?;
    let mut batch = db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&keyspace, record::FORMAT_KEY, record::FORMAT);
    batch.insert(&keyspace, record::REVISION_KEY, 0_i64.to_be_bytes());
    batch.commit().map_err(|e| storage_error("a new metadata directory", e))?;
    drop((keyspace, db));
    fs::rename(&new, data).and_then(|()| File::open(dir)?.sync_all()).map_err(failed)
}

fn open_database(path: &Path) -> Result<(Database, Keyspace)> {
    let open = || {
        let db = Database::builder(path)
            .worker_threads(1)
            .cache_size(CACHE_LEN)
            .max_journaling_size(JOURNAL_LEN_MAX)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_LEN);
        let keyspace = db.keyspace(KEYSPACE, options)?;
        Ok((db, keyspace))
    };
    open().map_err(|e| storage_error(format!("the metadata in '{}'", path.display()), e))
}

/// What a failure of fjall means: that of the file operation below it, if there is one. Anything
/// else but a lock is a checksum, a tag or a length that is wrong.
fn storage_error(what: impl Into<String>, e: fjall::Error) -> Error {
    let kind = match (&e, io_cause(&e)) {
        (_, Some(cause)) => io_kind(cause),
        (fjall::Error::Locked, _) => Kind::Invalid,
        (fjall::Error::Poisoned, _) => Kind::Retry,
        _ => Kind::Lost,
    };
    let error = Error::new(kind, format!("{}: {e}", what.into())).with_source(e);
    match kind {
        Kind::Exhausted => error.with_hint("free some disk space, then restart"),
        Kind::Lost => error.with_hint("restore the directory from a backup, or use an empty one"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_exhausted_however_deep_the_cause() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        assert_eq!(io_error("x", full()).kind(), Kind::Exhausted);
        assert_eq!(storage_error("x", fjall::Error::Io(full())).kind(), Kind::Exhausted);
        let deep = fjall::Error::Storage(full().into());
        assert_eq!(storage_error("x", deep).kind(), Kind::Exhausted);
        assert_eq!(storage_error("x", fjall::Error::InvalidTrailer).kind(), Kind::Lost);
    }
}
