//! Objects of shuffle workers that are dead: nobody else removes them. Part of a gateway's sweep.
//!
//! The one thing to know: objects go only if their worker has no card and their query no record, each
//! time that this gateway has looked for a whole grace period. That something was not found once, be
//! it a card, a record or an object, removes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dunlin_base::{Env, ProcessId, QueryId, Result};
use dunlin_metadata::blob::{BlobsRef, ObjectPlace};
use dunlin_queue::{Estate, Peer, Role};
use parking_lot::Mutex;

use crate::gateway::Parts;
use crate::uploads::Uploads;

/// Where workers have their folders.
pub(crate) const ROOT: &str = "shuffle/";

/// A worker's folder and a query in it.
type Place = (String, QueryId);

/// What was seen without an owner, and since when.
pub(crate) struct Orphans {
    objects: BlobsRef,
    grace: Duration,
    since: Mutex<BTreeMap<Place, u64>>,
    /// Estates of dead workers that name no objects, and since when.
    empty: Mutex<BTreeMap<ProcessId, u64>>,
    uploads: Uploads,
}

impl Orphans {
    pub(crate) fn new(place: &ObjectPlace, env: &Env, grace: Duration) -> Self {
        let (objects, uploads) = (place.blobs(env.clone()), Uploads::new(place, env, grace));
        Self { objects, grace, since: Mutex::default(), empty: Mutex::default(), uploads }
    }

    /// Removes what has had no owner for the grace period. What cannot be removed is logged and left
    /// to the next sweep. `Retry`: the object store or the metadata store is out of reach. Any number
    /// of gateways may sweep at once.
    pub(crate) async fn sweep(&self, parts: &Parts) -> Result<()> {
        // Objects first: a worker has its card, and a query its record, before the first object.
        let names = self.objects.list(ROOT).await?;
        let objects = self.sweep_objects(parts, &names).await;
        objects.and(self.uploads.sweep(parts, &names).await)
    }

    async fn sweep_objects(&self, parts: &Parts, names: &[String]) -> Result<()> {
        let found: BTreeSet<Place> = names.iter().filter_map(|name| place(name)).collect();
        self.sweep_estates(parts, &found).await?;
        if found.is_empty() {
            self.since.lock().clear();
            return Ok(());
        }
        let workers = Peer::all(&parts.store, Role::Shuffle).await?;
        let owned = |peer: Peer| peer.card.shuffle.map(|s| s.object_folders).unwrap_or_default();
        let owners: BTreeSet<String> = workers.into_iter().flat_map(owned).collect();
        let known = parts.queue.running().await?;
        let known: BTreeSet<QueryId> = known.iter().map(|query| query.query).collect();
        let is_orphan =
            |(worker, query): &Place| !owners.contains(worker) && !known.contains(query);
        let orphans = found.into_iter().filter(is_orphan).collect();
        let now = parts.env.unix_ms();
        let due = due(&mut self.since.lock(), &orphans, now, self.grace);
        for (worker, query) in due {
            if parts.queue.status(query).await?.is_some() {
                continue;
            }
            match self.objects.delete_prefix(&format!("{ROOT}{worker}/{query}/")).await {
                Ok(()) => tracing::info!(worker, %query, "removed objects of a dead worker"),
                Err(error) => tracing::debug!(worker, %query, %error, "objects of a dead worker"),
            }
        }
        Ok(())
    }

    /// Removes what dead workers left as a record and nobody adopts, because there are no objects.
    async fn sweep_estates(&self, parts: &Parts, found: &BTreeSet<Place>) -> Result<()> {
        let estates = Estate::all(parts.store.as_ref()).await?;
        let alive = match estates.len() {
            0 => Vec::new(),
            _ => Peer::all(&parts.store, Role::Shuffle).await?,
        };
        let is_empty = |estate: &&Estate| {
            let there = |folder: &String| found.iter().any(|(worker, _)| worker == folder);
            let lives = alive.iter().any(|peer| estate.names(&peer.id.to_string()));
            !lives && !estate.record.folders.iter().any(there)
        };
        let empty = estates.iter().filter(is_empty).map(|estate| estate.id).collect();
        let now = parts.env.unix_ms();
        let due = due(&mut self.empty.lock(), &empty, now, self.grace);
        for estate in estates.iter().filter(|estate| due.contains(&estate.id)) {
            estate.forget(&parts.store).await?;
        }
        Ok(())
    }
}

/// Whose an object is, by its name. `None`: the name is not of this build's making.
fn place(name: &str) -> Option<Place> {
    let mut words = name.strip_prefix(ROOT)?.split('/');
    let (worker, query, object) = (words.next()?, words.next()?, words.next()?);
    let whole = !worker.is_empty() && !object.is_empty() && words.next().is_none();
    Some((worker.to_owned(), query.parse().ok()?)).filter(|_| whole)
}

/// Takes note of what has no owner now (milliseconds since 1970); returns what has had none for long
/// enough.
pub(crate) fn due<T: Ord + Clone>(
    since: &mut BTreeMap<T, u64>,
    orphans: &BTreeSet<T>,
    now: u64,
    grace: Duration,
) -> Vec<T> {
    since.retain(|place, _| orphans.contains(place));
    for place in orphans {
        since.entry(place.clone()).or_insert(now);
    }
    let old = |first: u64| u128::from(now.saturating_sub(first)) >= grace.as_millis();
    since.iter().filter(|(_, first)| old(**first)).map(|(place, _)| place.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_worker_and_query() {
        let query = QueryId::from_u128(7 << 64);
        let name = format!("shuffle/w1/{query}/1.0.3.0");
        assert_eq!(place(&name), Some(("w1".to_owned(), query)));
        for other in ["shuffle/w1/x", "shuffle/w1/none/0", "q/1/plan", "shuffle//a/b"] {
            assert_eq!(place(other), None, "{other}");
        }
        assert_eq!(place(&format!("{name}/more")), None);
    }

    #[test]
    fn what_had_an_owner_in_between_waits_the_whole_grace_again() {
        let place = |worker: &str| (worker.to_owned(), QueryId::from_u128(1));
        let of = |workers: &[&str]| workers.iter().map(|worker| place(worker)).collect();
        let (mut since, grace) = (BTreeMap::new(), Duration::from_millis(100));
        assert_eq!(due(&mut since, &of(&["a", "b"]), 1000, grace), []);
        assert_eq!(due(&mut since, &of(&["a"]), 1050, grace), [], "b has an owner");
        assert_eq!(due(&mut since, &of(&["a", "b"]), 1099, grace), []);
        assert_eq!(due(&mut since, &of(&["a", "b"]), 1100, grace), [place("a")]);
        assert_eq!(due(&mut since, &of(&["b"]), 1199, grace), [place("b")]);
    }
}
