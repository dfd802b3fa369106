//! One flush from its beginning to its end: the write, what its outcome says about the disk, and
//! the removal of what nobody wants any more. The pump runs it in a task of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::{Error, QueryId, Result};
use futures::future::join_all;

use crate::core::Core;
use crate::disk::Disk;
use crate::extent::{Extent, Home, Target};
use crate::flush::{Flush, Written};
use crate::objects::{Failed, Source};
use crate::partition::{Landed, Partition};
use crate::unit::Unit;

impl Core {
    /// Writes, and says how many bytes of memory that freed. Not to be dropped in the middle.
    pub(crate) async fn carry(&self, partition: &Arc<Partition>, flush: Flush) -> Result<u64> {
        let (ticket, start, bytes) = (flush.ticket, flush.start, flush.length());
        let (to, query) = (ticket.to, ticket.id.shuffle.query);
        let written = match to {
            Target::Disk(disk) => self.write(disk, flush).await,
            Target::Objects => self.upload(flush).await,
        };
        let (written, failure) = match written {
            Ok(written) => (Ok(written), None),
            Err(error) => {
                tracing::warn!(%error, "shuffle data stay in memory");
                (Err(Some(to)), Some(error))
            }
        };
        let home = written.as_ref().ok().map(|written| written.home.clone());
        match (partition.end_flush(ticket, written, &self.memory), home) {
            (Landed::Freed(freed), home) => {
                if home.is_some() {
                    self.keeps(to, bytes.cast_signed());
                    self.counters.flushes.fetch_add(1, Relaxed);
                }
                failure.map_or(Ok(freed), Err)
            }
            (Landed::TooLate, Some(Home::File { file, .. })) => {
                let cut = self.env.blocking(move || file.truncate(start)).await;
                tracing::debug!(?cut, "a write that was given up has ended");
                Ok(0)
            }
            (Landed::TooLate, _) => Ok(0),
            (Landed::Gone, _) => {
                // The query ended while its partition was being written, perhaps before the file
                // was made, and what was known of its places went then.
                self.places.lock().entry(query).or_default().insert(to);
                let _ = self.remove_places(query).await;
                Ok(0)
            }
        }
    }

    async fn write(&self, index: usize, flush: Flush) -> Result<Written> {
        let unit = &self.disks[index];
        let (bytes, started) = (flush.length(), self.env.now());
        let disk = Arc::clone(&unit.disk);
        let sync = self.options.sync || self.options.sync_pushes;
        let work = move || (flush.write(index, disk.as_ref(), sync), disk.space());
        let done = self.env.blocking(work).await;
        let (written, space) = done.unwrap_or_else(|panic| {
            (Err(io::Error::other(panic)), Err(io::ErrorKind::Other.into()))
        });
        let now = self.env.now();
        if written.is_ok() {
            unit.wrote(bytes, now.saturating_sub(started));
        }
        if let Ok(space) = space {
            unit.measured(space);
        }
        written.map_err(|cause| unit.failed(now, &cause).with_source(cause))
    }

    async fn upload(&self, flush: Flush) -> Result<Written> {
        let Some(objects) = &self.objects else { return Err(Error::bug("no object store")) };
        let (path, end) = (objects.path(flush.ticket.id), flush.length());
        let (mut parts, offsets) = flush.parts();
        let index = flush.index(&offsets).unwrap_or_default();
        let length = end + index.len() as u64;
        parts.push(index);
        match objects.put(&path, &Source::Memory(parts, length)).await {
            Ok(()) => Ok(Written { home: Home::Object(path), offsets, end, synced: true }),
            Err(Failed::Store(error)) => Err(error),
            Err(Failed::Source(cause)) => Err(Error::bug(format!("bytes in memory: {cause}"))),
        }
    }

    /// The extents there grew by so much, or shrank.
    pub(crate) fn keeps(&self, at: Target, bytes: i64) {
        match at {
            Target::Disk(disk) => self.disks[disk].keeps(bytes),
            Target::Objects => self.objects.iter().for_each(|objects| objects.keeps(bytes)),
        }
    }

    /// Takes note that extents are not asked for any more; [`Core::remove_places`] removes them.
    pub(crate) fn release(&self, extents: &[Extent]) {
        for extent in extents {
            self.keeps(extent.home.at(), -extent.length.cast_signed());
        }
    }

    /// Removes files and objects of a query from where it may have any. May be repeated: what could
    /// not be removed is remembered. A disk that hangs holds up its own files only. `Retry` says
    /// that something is left.
    pub(crate) async fn remove_places(&self, query: QueryId) -> Result<()> {
        let places: Vec<_> =
            self.places.lock().get(&query).into_iter().flatten().copied().collect();
        let removals = places.into_iter().map(|place| async move {
            match (place, &self.objects) {
                (Target::Disk(disk), _) => {
                    remove(self, &self.disks[disk], query).await.map_err(|cause| {
                        let text = "cannot remove the shuffle files of query";
                        Error::retry(format!("{text} {query}: {cause}")).with_source(cause)
                    })?;
                }
                (Target::Objects, Some(objects)) => {
                    let removed = objects.remove_query(query).await;
                    removed.map_err(|error| Error::retry(error.message()))?;
                }
                (Target::Objects, None) => {}
            }
            let mut places = self.places.lock();
            if let Some(left) = places.get_mut(&query) {
                left.remove(&place);
                if left.is_empty() {
                    places.remove(&query);
                }
            }
            Ok(())
        });
        join_all(removals).await.into_iter().collect()
    }
}

async fn remove(core: &Core, unit: &Unit, query: QueryId) -> io::Result<()> {
    let remove = move |disk: &dyn Disk| disk.remove_query(query).map(|()| disk.space());
    let removed = unit.call(&core.env, remove).await;
    let removed = removed.inspect_err(|cause| unit.failed_to_remove(core.env.now(), cause));
    if let Ok(space) = removed? {
        unit.measured(space);
        unit.has_room();
    }
    Ok(())
}
