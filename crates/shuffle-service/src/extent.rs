//! Extents: the runs of bytes in which a partition lies once it has left memory. Kept by
//! `partition`, filled by `flush`, read by `read`.

use std::sync::Arc;

use dunlin_proto::shuffle::Durability;
use object_store::path::Path;

use crate::disk::{DiskFile, ExtentId};

/// A place that takes extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The disk of this index.
    Disk(usize),
    /// The object store.
    Objects,
}

/// Where the bytes of an extent are. Cheap to clone: a reader takes one along.
#[derive(Clone)]
pub(crate) enum Home {
    /// A file on the disk of this index.
    File { disk: usize, file: Arc<dyn DiskFile> },
    /// An object of this name.
    Object(Path),
}

impl Home {
    pub(crate) fn at(&self) -> Target {
        self.disk().map_or(Target::Objects, Target::Disk)
    }

    /// The index of the disk, if it is one.
    pub(crate) fn disk(&self) -> Option<usize> {
        match self {
            Self::File { disk, .. } => Some(*disk),
            Self::Object(_) => None,
        }
    }
}

/// One extent. Bytes are appended to the last one of a partition only, and only while it is open.
pub(crate) struct Extent {
    pub(crate) id: ExtentId,
    pub(crate) home: Home,
    /// Bytes of whole blocks in it.
    pub(crate) length: u64,
    /// As many of them as the last good sync covers. One that fails leaves it as it is, for ever:
    /// the extent is not continued after it.
    pub(crate) synced: u64,
    /// Extents are evicted in this order.
    pub(crate) born: u64,
    /// It could not be read when it was to be moved.
    pub(crate) stays: bool,
}

impl Extent {
    /// How safe the block at this offset is.
    pub(crate) fn safety(&self, offset: u64) -> Durability {
        match self.home {
            Home::File { .. } if offset < self.synced => Durability::Twice,
            Home::File { .. } => Durability::Memory,
            Home::Object(_) => Durability::Object,
        }
    }
}
