//! What ended queries have left behind: keys, blobs, blocks, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dunlin_base::{Error, Result};
use dunlin_proto::queue::History;
use prost::Message;

use super::admin;
use super::cluster::{BLOBS, Cluster, TABLES};
use super::server::Role;

/// Where records of queries are that have not been removed.
const PREFIXES: [&str; 4] = ["q/", "ready/", "live/", "wr/q/"];

/// A file that a shuffle worker owns for as long as its folder exists.
const LOCK: &str = "dunlin-shuffle.lock";

/// Where files of a write are that do not count yet.
const STAGING: &str = ".dunlin";

/// At most so many things of one sort are named.
const NAMED_MAX: usize = 5;

/// Everything that is left, one line each; empty once all is gone. `Retry`: a process or the store
/// does not tell.
pub async fn leftovers(cluster: &Cluster) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for prefix in PREFIXES {
        let found = cluster.store().range(prefix).await?;
        left.extend(found.entries.iter().take(NAMED_MAX).map(|e| format!("key {}", e.key)));
    }
    left.extend(files(&cluster.folder().join(BLOBS), |_| true)?);
    let staged = |path: &Path| path.components().any(|part| part.as_os_str() == STAGING);
    left.extend(files(&cluster.folder().join(TABLES), staged)?);
    if let Some(objects) = &cluster.objects {
        let staged = |key: &String| staged(Path::new(key));
        let tables = objects.keys(TABLES).into_iter().filter(staged);
        let found = objects.keys(BLOBS).into_iter().chain(tables).take(NAMED_MAX);
        left.extend(found.map(|key| format!("object {key}")));
    }
    for server in &cluster.servers {
        left.extend(files(&server.scratch(), |_| true)?);
    }
    for server in cluster.of(Role::Shuffle) {
        let address = server.admin();
        match admin::figure(cluster.env(), &address, "dunlin_shuffle_blocks").await? {
            Some(0) => {}
            Some(blocks) => left.push(format!("{blocks} blocks in the memory of {}", server.name)),
            None => left.push(format!("{} does not tell its blocks", server.name)),
        }
    }
    Ok(left)
}

/// The wanted files below a folder, by their names.
fn files(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Whoever owned it has removed it since.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                let text = format!("cannot list {}: {e}", folder.display());
                return Err(Error::invalid(text).with_source(e));
            }
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with(LOCK) => {}
                // A door of a worker that runs.
                false if path.extension().is_some_and(|extension| extension == "sock") => {}
                false if !wanted(&path) => {}
                false => found.push(format!("file {}", path.display())),
            }
        }
    }
    found.truncate(NAMED_MAX);
    Ok(found)
}

/// Queries of one text, as the history has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// How many were run.
    pub queries: u64,
    /// Slices of all their stages.
    pub slices: u64,
    /// Claims of ranges of these slices: those beyond a calm run's are work done again.
    pub claims: u64,
}

/// What the history tells of the queries that were done, by the beginning of their text.
pub async fn claims(cluster: &Cluster) -> Result<BTreeMap<String, Claims>> {
    let mut all: BTreeMap<String, Claims> = BTreeMap::new();
    for entry in cluster.store().range("hist/").await?.entries {
        let Ok(history) = History::decode(entry.value.clone()) else { continue };
        if history.failure.is_some() {
            continue;
        }
        let claims = all.entry(history.sql.clone()).or_default();
        claims.queries += 1;
        claims.slices += u64::from(history.slices);
        claims.claims += u64::from(history.attempts);
    }
    Ok(all)
}
