//! What a cluster has beyond processes, sockets and folders, for the faults that need it.

use std::path::Path;

use dunlin_base::{Env, Result};

use super::network::{Cut, Network};
use super::{disk, trace};

/// What a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Blobs and new tables are in an object store of ours, not in folders.
    pub objects: bool,
    /// Shuffle workers and executors have disks of their own, small ones.
    pub disks: bool,
    /// Shuffle workers and executors are on hosts of their own.
    pub hosts: bool,
    /// Processes can be made slow.
    pub trace: bool,
    /// Pushes are acknowledged once their blocks are in the object store: others adopt them.
    pub adopts: bool,
}

impl Needs {
    /// What either needs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            objects: self.objects || other.objects,
            disks: self.disks || other.disks,
            hosts: self.hosts || other.hosts,
            trace: self.trace || other.trace,
            adopts: self.adopts || other.adopts,
        }
    }

    /// Tries all of it in a folder. `Invalid`: the machine does not permit something; the message
    /// says what it said.
    pub async fn permitted(self, env: &Env, folder: &Path) -> Result<()> {
        if self.disks {
            disk::probe(folder).await?;
        }
        if self.hosts {
            let network = Network::open(env, 1).await?;
            network.host(1).cut(Cut::Both).await?;
            network.host(1).dropped().await?;
        }
        if self.trace {
            trace::probe(env).await?;
        }
        Ok(())
    }
}
