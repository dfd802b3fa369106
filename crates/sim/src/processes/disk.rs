//! A disk of its own for a process, small enough to be filled up: a file system in memory, mounted
//! in a namespace that only the process has. Nothing of it is left when the process ends.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dunlin_base::{Error, Result};
use tokio::process::Command;

/// Its size: more than what queries in calm put there.
const SIZE: &str = "size=96m";

/// What it is filled up with.
const BALLAST: &str = "ballast";

/// Mounts, then becomes the program; `$0` is the folder.
const MOUNT: &str = "mount -t tmpfs -o \"$SIZE\" tmpfs \"$0\" && exec \"$@\"";

/// The words before a command for which `folder` is to be a disk of its own.
pub(super) fn prefix(folder: &Path) -> Vec<String> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let script = MOUNT.replace("$SIZE", SIZE);
    let folder = folder.display().to_string();
    let mut words = vec!["unshare"];
    words.extend_from_slice(user);
    words.extend(["--mount", "sh", "-c", &script, &folder]);
    words.into_iter().map(str::to_owned).collect()
}

/// `Invalid` if the machine does not permit such disks; the message says what it said.
pub(super) async fn probe(folder: &Path) -> Result<()> {
    let hint = "it takes root, or user namespaces that may mount";
    let failed = |why: String| {
        Error::invalid(format!("a process cannot have a disk of its own: {why}")).with_hint(hint)
    };
    let words = prefix(folder);
    let (program, rest) = words.split_first().ok_or_else(|| Error::bug("no words"))?;
    let tried = Command::new(program).args(rest).arg("true").output().await;
    let tried = tried.map_err(|e| failed(e.to_string()))?;
    match tried.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&tried.stderr).trim().to_owned())),
    }
}

/// A folder as a process sees it.
pub(super) fn seen(process: u32, folder: &Path) -> PathBuf {
    let inner = folder.strip_prefix("/").unwrap_or(folder);
    Path::new("/proc").join(process.to_string()).join("root").join(inner)
}

/// Fills the disk of a folder up. `Bug`: it cannot be filled.
pub(super) fn fill(folder: &Path) -> Result<()> {
    let path = folder.join(BALLAST);
    let failed = |e| Error::bug(format!("cannot fill {}", path.display())).with_source(e);
    let mut file = File::create(&path).map_err(failed)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.write(&piece) {
            Ok(count) if count > 0 => {}
            // The last bytes, too.
            Ok(_) => piece.truncate(piece.len() / 2),
            Err(e) if e.kind() == ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
            Err(e) => return Err(failed(e)),
        }
        if piece.is_empty() {
            return Ok(());
        }
    }
}

/// Gives the room back.
pub(super) fn empty(folder: &Path) {
    // It was not filled, or its process and with it the disk is gone.
    let _ = std::fs::remove_file(folder.join(BALLAST));
}
