//! Extents: the runs of bytes in which a partition lies once it has left memory. Kept by
//! `partition`, filled by `flush`, read by `read`.

use std::sync::Arc;

use crate::disk::{DiskFile, ExtentId};

/// Where the bytes of an extent are. Cheap to clone: a reader takes one along.
#[derive(Clone)]
pub(crate) enum Home {
    /// A file on the disk of this index.
    File { disk: usize, file: Arc<dyn DiskFile> },
}

impl Home {
    /// The index of the disk, if it is one.
    pub(crate) fn disk(&self) -> Option<usize> {
        match self {
            Self::File { disk, .. } => Some(*disk),
        }
    }
}

/// One extent. Bytes are appended to the last one of a partition only, and only while it is open.
pub(crate) struct Extent {
    pub(crate) id: ExtentId,
    pub(crate) home: Home,
    /// Bytes of whole blocks in it.
    pub(crate) length: u64,
}
