//! What moves the extents of a partition from one place to another. Called by `evict`.

use std::sync::Arc;

use super::index::Partition;
use crate::disk::ExtentId;
use crate::evict::Old;
use crate::extent::Home;

/// What the end of a move means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evicted {
    /// Readers go to the new place from now on; those that are under way may read the old one.
    Moved,
    /// The partition was removed meanwhile: the new place is of no use.
    Gone,
}

impl Partition {
    /// The extents on disks that are like this, except one that is being written.
    pub(crate) fn files(&self, like: impl Fn(usize) -> bool) -> Vec<Old> {
        let inner = self.inner.lock();
        let written = inner.flushing.map(|ticket| ticket.id);
        let old = |(index, extent): (usize, &crate::extent::Extent)| match &extent.home {
            Home::File { disk, file }
                if like(*disk) && !extent.stays && Some(extent.id) != written =>
            {
                Some(Old {
                    born: extent.born,
                    index,
                    disk: *disk,
                    length: extent.length,
                    file: Arc::clone(file),
                })
            }
            _ => None,
        };
        inner.extents.iter().enumerate().filter_map(old).collect()
    }

    /// Closes the extent, so that its bytes are what they are. `None` if that is not to be: it has
    /// grown, is being written, or is gone.
    pub(crate) fn begin_evict(&self, old: &Old) -> Option<ExtentId> {
        let mut inner = self.inner.lock();
        let extent = inner.extents.get(old.index)?;
        let id = extent.id;
        let written = inner.flushing.is_some_and(|ticket| ticket.id == id);
        if extent.length != old.length || written {
            return None;
        }
        inner.open &= old.index + 1 != inner.extents.len();
        Some(id)
    }

    /// The extent could not be read: it is not tried again.
    pub(crate) fn stays(&self, old: &Old) {
        if let Some(extent) = self.inner.lock().extents.get_mut(old.index) {
            extent.stays = true;
        }
    }

    /// The bytes of the extent are at the new place, too.
    pub(crate) fn end_evict(&self, old: &Old, home: Home) -> Evicted {
        let mut inner = self.inner.lock();
        match inner.extents.get_mut(old.index) {
            Some(extent) => {
                extent.home = home;
                Evicted::Moved
            }
            None => Evicted::Gone,
        }
    }
}
