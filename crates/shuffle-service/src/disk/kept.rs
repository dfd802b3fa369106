//! What of a local folder outlives a process: its identity, its table, and the files that the table
//! names. The calls of [`super::LocalDisk`] for that, on paths.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dunlin_proto::table::TABLE_LEN_MAX;

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

pub(super) fn table_path(root: &Path) -> PathBuf {
    root.join("table.1")
}

pub(super) fn read_table(root: &Path) -> io::Result<Option<Vec<u8>>> {
    let path = table_path(root);
    match std::fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
        Ok(found) if found.len() > TABLE_LEN_MAX as u64 => {
            return Err(io::Error::other("the table is longer than any that is written"));
        }
        Ok(_) => {}
    }
    std::fs::read(&path).map(Some)
}

/// To another name first: whoever finds the table finds all of it.
pub(super) fn write_table(root: &Path, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (table_path(root), root.join("table.1.new"));
    let file = File::create(&new)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    File::open(root)?.sync_all()
}

/// Removes all but these files, and folders that hold none of them.
pub(super) fn clear(root: &Path, keep: &HashSet<PathBuf>) -> io::Result<()> {
    let folders: HashSet<_> = keep.iter().filter_map(|path| path.parent()).collect();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let path = entry.path();
        if keep.contains(&path) {
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
