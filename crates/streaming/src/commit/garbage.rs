//! What may be removed. It never removes what a retained manifest names, nor anything at all while one of
//! them cannot be read.

use std::collections::BTreeSet;

use crate::id::{Epoch, SlotId, Term};

/// A commit whose record is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Which.
    pub epoch: Epoch,
    /// The files that its manifest names, own ones and those of earlier groups; `None` if it cannot be
    /// read.
    pub files: Option<BTreeSet<String>>,
    /// A savepoint names it.
    pub saved: bool,
}

/// A file that was found below the job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredFile {
    /// The group that it was written for.
    pub epoch: Epoch,
    /// By whom.
    pub slot: SlotId,
    /// Under which term.
    pub term: Term,
    /// Its name.
    pub name: String,
}

/// Something to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The record of a commit, and of its parts.
    Commit(Epoch),
    /// A file.
    File(String),
}

/// What to remove, in this order: records of old commits first, oldest first, then files that nothing
/// retained names, oldest first. So a crash in between leaves files that the next run finds, and never a
/// record that names a file which is gone.
///
/// `keep` latest commits stay (at least one), and all that savepoints name. Of a group that is not
/// committed only files of void terms go: `void` says that the slot's record gives the group to another.
/// The list of files must have been made before the commits were read.
pub fn collect(
    commits: &[Retained],
    keep: usize,
    files: &[StoredFile],
    void: impl Fn(&StoredFile) -> bool,
) -> Vec<Removal> {
    if commits.iter().any(|commit| commit.files.is_none()) {
        return Vec::new();
    }
    let mut epochs: Vec<Epoch> = commits.iter().map(|commit| commit.epoch).collect();
    epochs.sort_unstable();
    let kept_from = epochs.iter().rev().nth(keep.max(1) - 1).copied().unwrap_or(Epoch(0));
    let stays = |commit: &&Retained| commit.saved || commit.epoch >= kept_from;
    let named: BTreeSet<&String> =
        commits.iter().filter(stays).flat_map(|commit| commit.files.iter().flatten()).collect();
    let mut gone: Vec<Epoch> =
        commits.iter().filter(|commit| !stays(commit)).map(|commit| commit.epoch).collect();
    gone.sort_unstable();
    let last = epochs.last().copied().unwrap_or(Epoch(0));
    let decided = |file: &&StoredFile| file.epoch <= last || void(file);
    let mut lost: Vec<&StoredFile> =
        files.iter().filter(|file| !named.contains(&file.name)).filter(decided).collect();
    lost.sort();
    let records = gone.into_iter().map(Removal::Commit);
    records.chain(lost.into_iter().map(|file| Removal::File(file.name.clone()))).collect()
}
