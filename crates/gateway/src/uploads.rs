//! What shuffle workers that are dead began to write and did not end: uploads that their records name,
//! and unfinished files of a local folder. Part of a gateway's sweep; see "Uploads of dead workers" in
//! `design/2026-11-28-shuffle-service.md`.
//!
//! The one thing to know: only a worker whose card names a folder as its own writes there, so what is
//! in a folder that was adopted, or of a former life, is ended as well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dunlin_base::{Env, Error, Kind, Result};
use dunlin_metadata::blob::{ObjectPlace, Unfinished};
use dunlin_proto::queue::ShuffleStorage;
use dunlin_proto::uploads::{FOLDER, RECORD_LEN_MAX, UploadRecord};
use dunlin_queue::{Peer, Role};
use parking_lot::Mutex;

use crate::gateway::Parts;
use crate::orphans::{ROOT, due};

/// What was seen of workers without a card, and since when.
pub(crate) struct Uploads {
    unfinished: Unfinished,
    grace: Duration,
    since: Mutex<BTreeMap<String, u64>>,
    /// What cannot be ended until somebody does something about it. Logged once.
    stuck: Mutex<BTreeSet<Remnant>>,
}

/// Something that a worker left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remnant {
    /// The record of uploads, by its name.
    Record(String),
    /// An unfinished file.
    File(String),
}

impl Uploads {
    pub(crate) fn new(place: &ObjectPlace, env: &Env, grace: Duration) -> Self {
        let unfinished = place.unfinished(env.clone());
        Self { unfinished, grace, since: Mutex::default(), stuck: Mutex::default() }
    }

    /// Ends what has had no owner for the grace period. `names`: all objects, listed by the caller just
    /// before. What cannot be ended is logged and left to the next sweep. `Retry`: the metadata store
    /// is out of reach; `Invalid`: a folder cannot be listed. Any number of gateways may sweep at once.
    pub(crate) async fn sweep(&self, parts: &Parts, names: &[String]) -> Result<()> {
        // Before the cards: a worker has its card before it begins anything.
        let left = self.left(names).await?;
        let workers = match left.len() {
            0 => Vec::new(),
            _ => Peer::all(&parts.store, Role::Shuffle).await?,
        };
        let cards = workers.iter().filter_map(|peer| peer.card.shuffle.as_ref());
        let owners = cards.flat_map(own_folders).collect();
        self.end_all(&left, &owners, parts.env.unix_ms()).await;
        Ok(())
    }

    /// What is unfinished, by the folders of workers.
    async fn left(&self, names: &[String]) -> Result<BTreeMap<String, Vec<Remnant>>> {
        let files = self.unfinished.files(ROOT).await?;
        let mut left: BTreeMap<String, Vec<Remnant>> = BTreeMap::new();
        for name in names.iter().filter(|name| is_record(name)) {
            let folder = worker_of(name).unwrap_or_default().to_owned();
            left.entry(folder).or_default().push(Remnant::Record(name.clone()));
        }
        for name in files {
            let Some(folder) = worker_of(&name) else { continue };
            left.entry(folder.to_owned()).or_default().push(Remnant::File(name));
        }
        Ok(left)
    }

    /// `now`: milliseconds since 1970, as seen after `left` and `owners`.
    async fn end_all(
        &self,
        left: &BTreeMap<String, Vec<Remnant>>,
        owners: &BTreeSet<String>,
        now: u64,
    ) {
        let orphans = left.keys().filter(|folder| !owners.contains(*folder)).cloned().collect();
        let due = due(&mut self.since.lock(), &orphans, now, self.grace);
        let all: BTreeSet<&Remnant> = left.values().flatten().collect();
        self.stuck.lock().retain(|remnant| all.contains(remnant));
        for worker in due {
            let mut ended = 0;
            for remnant in left.get(&worker).into_iter().flatten() {
                match self.end(&worker, remnant).await {
                    Ok(uploads) => ended += uploads,
                    Err(error) => self.cannot_end(&worker, remnant, &error),
                }
            }
            if ended > 0 {
                tracing::info!(worker, ended, "ended uploads of a dead worker");
            }
        }
    }

    fn cannot_end(&self, worker: &str, remnant: &Remnant, error: &Error) {
        match error.kind() {
            Kind::Retry => tracing::debug!(worker, ?remnant, %error, "uploads of a dead worker"),
            _ if self.stuck.lock().insert(remnant.clone()) => {
                tracing::warn!(worker, ?remnant, %error, "uploads of a dead worker cannot be ended");
            }
            _ => {}
        }
    }

    /// How many were ended, completed ones included. After an error the remnant is still there.
    async fn end(&self, worker: &str, remnant: &Remnant) -> Result<usize> {
        let name = match remnant {
            Remnant::File(name) => return self.unfinished.remove_file(name).await.map(|()| 1),
            Remnant::Record(name) => name,
        };
        let bytes = match self.unfinished.read(name, RECORD_LEN_MAX as u64).await {
            // Another gateway was faster.
            Err(error) if error.kind() == Kind::Lost => return Ok(0),
            read => read?,
        };
        let record = UploadRecord::from_bytes(&bytes)?;
        let mut aborted = Ok(record.uploads.len());
        for upload in &record.uploads {
            let object = format!("{ROOT}{worker}/{}", upload.object);
            if let Err(error) = self.unfinished.abort(&object, &upload.id).await {
                aborted = Err(error);
            }
        }
        // Last: nothing else says what is still to be aborted.
        let ended = aborted?;
        self.unfinished.remove(name).await.map(|()| ended)
    }
}

/// Where a worker with this card writes.
fn own_folders(card: &ShuffleStorage) -> Vec<String> {
    match card.object_folder.is_empty() {
        true => card.object_folders.clone(),
        false => vec![card.object_folder.clone()],
    }
}

/// Whose folder something lies in, by its name.
fn worker_of(name: &str) -> Option<&str> {
    let (worker, rest) = name.strip_prefix(ROOT)?.split_once('/')?;
    (!worker.is_empty() && !rest.is_empty()).then_some(worker)
}

fn is_record(name: &str) -> bool {
    let Some(worker) = worker_of(name) else { return false };
    let rest = name[ROOT.len() + worker.len() + 1..].split_once('/');
    rest.is_some_and(|(folder, slot)| {
        folder == FOLDER && !slot.is_empty() && slot.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests;
