//! One process per directory: an advisory lock on a file that names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use dunlin_base::{Error, Result};

use crate::io::io_error;

/// The name of the lock file within the directory.
pub(super) const LOCK_FILE: &str = "LOCK";

/// Holds the directory until dropped; the system lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock. `Invalid`, with the holder's process id, if another one has it.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let failed = |e| io_error(format!("the lock of metadata directory '{}'", dir.display()), e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(dir, &mut file)),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn in_use(dir: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    // The holder may be about to write its id: then we cannot name it.
    let holder = match file.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        _ => "another process".to_owned(),
    };
    Error::invalid(format!("metadata directory '{}' is in use by {holder}", dir.display()))
        .with_hint("stop that process, or give this one a directory of its own")
}
