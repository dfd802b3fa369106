//! Taking in what a dead worker left in the object store: its objects say which blocks are in them.
//! Which worker does that is decided outside; see `design/2026-11-28-shuffle-adoption.md`.
//!
//! What does not say what its name says is left out: a reader then misses blocks that a commit names,
//! which is `Lost`, and never gets other ones.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::{Error, Kind, Result};
use futures::{StreamExt, stream};

use crate::core::Core;
use crate::extent::Target;
use crate::memory::ENTRY_COST;
use crate::objects::{Found, Objects};
use crate::partition::Adopt;
use crate::worker::ShuffleWorker;

/// Objects whose ends are read at once.
const READS: usize = 8;

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Objects that were there.
    pub objects: u64,
    /// Blocks in them that were not here already.
    pub blocks: u64,
    /// Bytes of the blocks of these objects.
    pub bytes: u64,
    /// Objects that were left out: they do not say what is in them, or not what their names say.
    pub refused: u64,
}

/// What became of one object.
enum One {
    TakenIn {
        blocks: u64,
        bytes: u64,
    },
    /// It was here already.
    Known,
    Refused,
    /// Its query has ended: it is to go.
    Ended(Found),
}

impl ShuffleWorker {
    /// How many objects lie in these folders, by their names as cards say them. 0 may mean that they
    /// are in another store. `Retry`: the store does not answer. `Invalid`: there is no store.
    pub async fn objects_in(&self, folders: &[String]) -> Result<u64> {
        let objects = store(&self.core)?;
        let mut count = 0;
        for folder in folders {
            count += objects.find(folder).await?.len() as u64;
        }
        Ok(count)
    }

    /// Takes in all objects in these folders; from then on their blocks are read here like others, and
    /// go with their queries. What is here already is not read again, so the call may be repeated.
    ///
    /// `Retry`: the store does not answer, or this worker has handed over; some of it may have been taken
    /// in. `Invalid`: there is no store. Dropping the future leaves some of it taken in.
    pub async fn adopt(&self, folders: &[String]) -> Result<Adopted> {
        let adopted = self.take_in_all(folders).await;
        let counters = &self.core.counters;
        match &adopted {
            Ok(Adopted { blocks, refused, .. }) => {
                counters.adoptions.fetch_add(1, Relaxed);
                counters.adopted_blocks.fetch_add(*blocks, Relaxed);
                counters.adoption_refusals.fetch_add(*refused, Relaxed);
            }
            Err(_) => drop(counters.adoption_failures.fetch_add(1, Relaxed)),
        }
        adopted
    }

    async fn take_in_all(&self, folders: &[String]) -> Result<Adopted> {
        let _call = self.change()?;
        let (core, objects) = (&self.core, store(&self.core)?);
        let mut all = Vec::new();
        for folder in folders {
            all.extend(objects.find(folder).await?);
        }
        let mut adopted = Adopted { objects: all.len() as u64, ..Adopted::default() };
        // Before anything is known of them: a query that ends from now on takes them along.
        all.iter().for_each(|found| core.goes_with_query(objects, found));
        let ones = all.into_iter().map(|found| core.take_in(objects, found));
        let mut ones = stream::iter(ones).buffer_unordered(READS);
        let mut ended = Vec::new();
        while let Some(one) = ones.next().await {
            match one? {
                One::TakenIn { blocks, bytes } => {
                    adopted.blocks += blocks;
                    adopted.bytes += bytes;
                }
                One::Known => {}
                One::Refused => adopted.refused += 1,
                One::Ended(found) => ended.push(found),
            }
        }
        for found in ended {
            core.goes_with_query(objects, &found);
            // What cannot be removed now is removed with the next call for the query, or swept.
            drop(core.remove_places(found.id.shuffle.query).await);
        }
        Ok(adopted)
    }
}

fn store(core: &Core) -> Result<&Objects> {
    core.objects.as_ref().ok_or_else(|| Error::invalid("this shuffle worker has no object store"))
}

impl Core {
    fn goes_with_query(&self, objects: &Objects, found: &Found) {
        objects.adopt(found.path.as_ref(), found.id);
        let query = found.id.shuffle.query;
        self.places.lock().entry(query).or_default().insert(Target::Objects);
    }

    /// `Retry`: the store does not answer.
    async fn take_in(self: &Arc<Self>, objects: &Objects, found: Found) -> Result<One> {
        let (shuffle, partition) = (found.id.shuffle, found.id.partition);
        let known = self.registry.get(shuffle).and_then(|shuffle| shuffle.partition(partition));
        if known.is_some_and(|partition| partition.has_object(&found.path)) {
            return Ok(One::Known);
        }
        let taken = match objects.index_of(&found).await {
            Ok(index) => {
                let (length, blocks) = (index.length, index.blocks);
                let path = found.path.clone();
                self.add(&found, Adopt { partition, path, length, blocks }).await
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok(one) => Ok(one),
            Err(error) if error.kind() == Kind::Fenced => Ok(One::Ended(found)),
            Err(error) if error.kind() == Kind::Retry => Err(error),
            Err(error) => {
                let object = found.path.to_string();
                tracing::warn!(object, %error, "an object of a dead worker is left out");
                Ok(One::Refused)
            }
        }
    }

    async fn add(self: &Arc<Self>, found: &Found, object: Adopt) -> Result<One> {
        let mut reserved = self.reserve(object.blocks.len() as u64 * ENTRY_COST).await?;
        let bytes = object.length;
        let blocks = self.registry.open(found.id.shuffle)?.adopt(object, &mut reserved)?;
        self.counters.took_over(blocks);
        self.keeps(Target::Objects, bytes.cast_signed());
        Ok(One::TakenIn { blocks, bytes })
    }
}
