//! One flush from its beginning to its end: the write, what its outcome says about the disk, and
//! the removal of what nobody wants any more. The pump runs it in a task of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dunlin_base::{QueryId, Result};
use futures::future::join_all;

use crate::core::Core;
use crate::extent::{Extent, Home};
use crate::flush::{Flush, Written};
use crate::partition::{Landed, Partition};
use crate::unit::Unit;

impl Core {
    /// Writes, and says how many bytes of memory that freed. Not to be dropped in the middle.
    pub(crate) async fn carry(&self, partition: &Arc<Partition>, flush: Flush) -> Result<u64> {
        let (ticket, start, bytes) = (flush.ticket, flush.start, flush.length());
        let (unit, query) = (&self.disks[ticket.to], ticket.id.shuffle.query);
        let (written, failure) = match self.write(flush).await {
            Ok(written) => (Ok(written), None),
            Err(error) => (Err(Some(ticket.to)), Some(error)),
        };
        let home = written.as_ref().ok().map(|written| written.home.clone());
        match (partition.end_flush(ticket, written, &self.memory), home) {
            (Landed::Freed(freed), home) => {
                if home.is_some() {
                    unit.keeps(bytes.cast_signed());
                    self.counters.flushes.fetch_add(1, Relaxed);
                }
                failure.map_or(Ok(freed), Err)
            }
            (Landed::TooLate, Some(Home::File { file, .. })) => {
                let cut = self.env.blocking(move || file.truncate(start)).await;
                tracing::debug!(?cut, "a write that was given up has ended");
                Ok(0)
            }
            (Landed::TooLate, None) => Ok(0),
            (Landed::Gone, _) => {
                // The query ended while its partition was being written, perhaps before the file
                // was made, and what was known of its files went then.
                self.files.lock().entry(query).or_default().insert(ticket.to);
                let _ = self.remove_files(query).await;
                Ok(0)
            }
        }
    }

    async fn write(&self, flush: Flush) -> Result<Written> {
        let unit = &self.disks[flush.ticket.to];
        let (bytes, started) = (flush.length(), self.env.now());
        let disk = Arc::clone(&unit.disk);
        let sync = self.options.sync || self.options.sync_pushes;
        let work = move || (flush.write(disk.as_ref(), sync), disk.space());
        let done = self.env.blocking(work).await;
        let (written, space) = done.unwrap_or_else(|panic| {
            (Err(io::Error::other(panic)), Err(io::ErrorKind::Other.into()))
        });
        let now = self.env.now();
        let outcome = match written {
            Ok(written) => {
                unit.wrote(bytes, now.saturating_sub(started));
                Ok(written)
            }
            Err(cause) => {
                let error = unit.failed(now, &cause);
                tracing::warn!(%error, "shuffle data stay in memory");
                Err(error.with_source(cause))
            }
        };
        if let Ok(space) = space {
            unit.measured(space);
        }
        outcome
    }

    /// Takes note that extents are not asked for any more; [`Core::remove_files`] removes them.
    pub(crate) fn release(&self, extents: &[Extent]) {
        for extent in extents {
            if let Some(disk) = extent.home.disk() {
                self.disks[disk].keeps(-extent.length.cast_signed());
            }
        }
    }

    /// Removes the files of a query from the disks where it may have any. May be repeated: what
    /// could not be removed is remembered. A disk that hangs holds up its own files only.
    pub(crate) async fn remove_files(&self, query: QueryId) -> io::Result<()> {
        let disks: Vec<_> = self.files.lock().get(&query).into_iter().flatten().copied().collect();
        let removals = disks.into_iter().map(|disk| async move {
            remove(self, &self.disks[disk], query).await?;
            let mut files = self.files.lock();
            if let Some(left) = files.get_mut(&query) {
                left.remove(&disk);
                if left.is_empty() {
                    files.remove(&query);
                }
            }
            Ok(())
        });
        join_all(removals).await.into_iter().collect()
    }
}

async fn remove(core: &Core, unit: &Unit, query: QueryId) -> io::Result<()> {
    let permit = Arc::clone(&unit.calls).acquire_owned().await;
    let disk = Arc::clone(&unit.disk);
    let work = move || {
        let _permit = permit;
        disk.remove_query(query).map(|()| disk.space())
    };
    let removed = core.env.blocking(work).await;
    if let Ok(space) = removed.unwrap_or_else(|panic| Err(io::Error::other(panic)))? {
        unit.measured(space);
    }
    Ok(())
}
