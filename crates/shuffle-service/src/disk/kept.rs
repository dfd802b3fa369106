//! What of a local folder outlives a process: its identity, its table, and the files that the table
//! names. The calls of [`super::LocalDisk`] for that, on paths.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dunlin_base::{PartitionId, QueryId, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::table::TABLE_LEN_MAX;

use super::ExtentId;

/// Hexadecimal digits of an identity.
const DIGITS: usize = 32;

/// The identity that a lock file holds; one that holds none gets `fresh`, unless that is 0: none.
pub(super) fn identity(lock: &File, fresh: u128) -> io::Result<u128> {
    let mut text = [0; DIGITS];
    let found = if lock.metadata()?.len() == DIGITS as u64 {
        lock.read_exact_at(&mut text, 0)?;
        std::str::from_utf8(&text).ok().and_then(|text| u128::from_str_radix(text, 16).ok())
    } else {
        None
    };
    if let Some(identity) = found {
        return Ok(identity);
    }
    if fresh == 0 {
        return Ok(0);
    }
    lock.set_len(DIGITS as u64)?;
    lock.write_all_at(format!("{fresh:032x}").as_bytes(), 0)?;
    Ok(fresh)
}

/// The table.
pub(super) const TABLE: &str = "table.1";

/// The process ids. In the form of a table without shuffles.
pub(super) const LIVES: &str = "lives.1";

pub(super) fn read(root: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = root.join(name);
    match std::fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
        Ok(found) if found.len() > TABLE_LEN_MAX as u64 => {
            return Err(io::Error::other("it is longer than any that is written"));
        }
        Ok(_) => {}
    }
    std::fs::read(&path).map(Some)
}

/// To another name first: whoever finds the file finds all of it.
pub(super) fn write(root: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = root.join(format!("{name}.new"));
    let file = File::create(&new)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&new, root.join(name))?;
    File::open(root)?.sync_all()
}

pub(super) fn remove(root: &Path, name: &str) -> io::Result<()> {
    match std::fs::remove_file(root.join(name)) {
        Ok(()) => File::open(root)?.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The extents whose names are those of files here. Other files are nobody's.
pub(super) fn extents(root: &Path) -> io::Result<Vec<ExtentId>> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(root)? {
        let folder = folder?;
        let query = folder.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(query) = query.filter(|_| folder.path().is_dir()) else { continue };
        for file in std::fs::read_dir(folder.path())? {
            let name = file?.file_name();
            found.extend(name.to_str().and_then(|name| extent(query, name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The extent of a file of this name.
fn extent(query: QueryId, name: &str) -> Option<ExtentId> {
    ExtentId::of_numbers(query, name.strip_suffix(".blocks")?)
}

impl ExtentId {
    /// The extent whose numbers a name has: stage, epoch, partition, extent.
    pub(crate) fn of_numbers(query: QueryId, name: &str) -> Option<Self> {
        let mut numbers = name.split('.').map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        let (stage, epoch) = (StageId(next()?), StageEpoch(next()?));
        let shuffle = ShuffleId { query, stage, epoch };
        let id = Self { shuffle, partition: PartitionId(next()?), extent: next()? };
        numbers.next().is_none().then_some(id)
    }
}

/// Removes all but these files, and folders that hold none of them.
pub(super) fn clear(root: &Path, keep: &HashSet<PathBuf>) -> io::Result<()> {
    let folders: HashSet<_> = keep.iter().filter_map(|path| path.parent()).collect();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let path = entry.path();
        if keep.contains(&path) || path == root.join(LIVES) {
            continue;
        }
        if !entry.file_type()?.is_dir() {
            std::fs::remove_file(path)?;
        } else if folders.contains(path.as_path()) {
            clear(&path, keep)?;
        } else {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
