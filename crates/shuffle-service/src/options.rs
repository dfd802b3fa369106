//! The limits of a shuffle worker.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::ByteCount;
use object_store::ObjectStore;
use object_store::multipart::MultipartStore;

/// How fast a disk is, by kind. The faster class is used first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Solid state: seeks cost nothing.
    #[default]
    Ssd,
    /// Spinning.
    Hdd,
}

/// One folder for data that leave memory, usually on a disk of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// The folder. The worker owns the folder `dunlin-shuffle` in it; at the start it clears what no former
    /// life handed over.
    pub path: PathBuf,
    /// Default: [`Class::Ssd`].
    pub class: Class,
    /// Free space of the file system that is left to others: below it, nothing is written. Default:
    /// 256 MiB.
    pub reserve: ByteCount,
    /// Block bytes here never exceed this. Default: no limit but the disk's.
    pub capacity: Option<ByteCount>,
}

impl DiskOptions {
    /// The defaults for this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            class: Class::default(),
            reserve: ByteCount::mib(256),
            capacity: None,
        }
    }
}

/// What data that leave memory are offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The disks.
    Disks,
    /// The object store.
    Objects,
}

/// What happens when no disk takes data and there is an object store below the disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// What leaves memory goes straight to the store.
    #[default]
    WriteOn,
    /// The oldest extents on the disks go to the store and make room: what was written last is
    /// usually what is read next.
    Evict,
}

/// A store's uploads by their ids, so that others can end them.
#[derive(Clone)]
pub struct ByIds(pub Arc<dyn MultipartStore>);

impl fmt::Debug for ByIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByIds")
    }
}

/// The object store as a place for data that leave memory.
#[derive(Clone, Debug)]
pub struct ObjectOptions {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The uploads of that store. With them each one is recorded there, and others can abort it if
    /// this process is killed. Default: none.
    pub by_ids: Option<ByIds>,
    /// A folder in it; all names are below `shuffle/` there.
    pub prefix: String,
    /// The name of this life of the worker: no other worker and no later life may have the same.
    pub worker: String,
    /// Uploads under way at once. Default: 4.
    pub uploads: usize,
    /// How long one call may take, one part of a large upload being a call. Default: 30 s.
    pub call_max: Duration,
    /// How often a call is tried. Default: 4.
    pub tries: u32,
}

impl ObjectOptions {
    /// The defaults.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        prefix: impl Into<String>,
        worker: impl Into<String>,
    ) -> Self {
        Self {
            store,
            by_ids: None,
            prefix: prefix.into(),
            worker: worker.into(),
            uploads: 4,
            call_max: Duration::from_secs(30),
            tries: 4,
        }
    }
}

/// Shares of [`Options::transit`]. They are apart since what makes room must never wait for who needs
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Blocks until sockets have taken them.
    pub reads: ByteCount,
    /// Bytes of files until the object store has them.
    pub uploads: ByteCount,
    /// Pushes until they are stored: for [`crate::DoorOptions::door_bytes_max`].
    pub pushes: ByteCount,
}

/// The least default of [`Options::transit`].
const TRANSIT_LEAST: ByteCount = ByteCount::mib(64);

/// Limits and places of one [`crate::ShuffleWorker`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Block bodies held in memory never exceed this: a push waits, then is refused.
    pub memory_limit: ByteCount,
    /// Bytes that are on their way are bounded by this, beside `memory_limit`: half of it for reads
    /// until sockets have taken them, a quarter for what goes from disks to the object store, and a
    /// quarter for pushes until they are stored ([`Options::shares`]). Who finds it used up waits.
    /// Default: an eighth of `memory_limit`, and at least 64 MiB.
    pub transit: ByteCount,
    /// Above this share of `memory_limit` (in percent) the largest partitions go to disk.
    /// Default: 75.
    pub memory_mark_percent: u8,
    /// Bodies of blocks in memory beyond this go to disk, too, while `memory_limit` bounds them with all else
    /// that blocks take: a small footprint that grows when the disk is slow, and for the index of many
    /// blocks. Default: no limit of its own.
    pub bodies_mark: ByteCount,
    /// Where partitions are written when memory is short. Default: nowhere, everything stays in
    /// memory.
    pub disks: Vec<DiskOptions>,
    /// An object store for data that leave memory. Default: none.
    pub objects: Option<ObjectOptions>,
    /// The order in which places are offered data. Default: disks, then the object store.
    pub tiers: Vec<Tier>,
    /// Default: [`WhenFull::WriteOn`].
    pub when_full: WhenFull,
    /// Writes under way on one disk at once, so that a disk that hangs holds no more than these.
    /// Default: 2.
    pub disk_writes: usize,
    /// A partition that was written to disk once is written on in pieces of this, without waiting
    /// for memory to be short. Default: 4 MiB.
    pub flush_bytes: ByteCount,
    /// A run of a partition's bytes in one place ends at this; the next may lie elsewhere. Default:
    /// 1 GiB.
    pub extent_bytes: ByteCount,
    /// Block bytes on all disks together never exceed this. Default: no limit but the disk's.
    pub disk_limit: ByteCount,
    /// Blocks leave memory for a file only when that is synced. Default: false, files of a worker that
    /// dies are of no use to anybody.
    pub sync: bool,
    /// A push of one copy is acknowledged when its blocks are in synced files, and says so; those
    /// that come while a file is synced share the next sync. If that cannot be done within
    /// `push_wait`, the blocks stay in memory and the acknowledgement says that. Implies `sync`.
    /// Default: false.
    pub sync_pushes: bool,
    /// How long a push waits for memory before it is refused. Default: 30 s.
    pub push_wait: Duration,
    /// A partition with more than this is to go elsewhere soon. Default: 1 GiB.
    pub split_soft: ByteCount,
    /// A partition with more than this is refused, unless its writer has nowhere else to go.
    /// Default: 2 GiB.
    pub split_hard: ByteCount,
    /// How long a push waits for the second copy. Default: 5 s.
    pub peer_wait: Duration,
    /// Check a pushed block's checksum before it is stored. Default: true. Where writer and worker
    /// share a process it only costs time: every read verifies anyway.
    pub verify_pushes: bool,
    /// Ended queries that are remembered to refuse late pushes. Default: 65,536.
    pub tombstones: usize,
}

impl Options {
    /// The defaults for this much memory, without a disk.
    pub fn new(memory_limit: ByteCount) -> Self {
        Self {
            memory_limit,
            transit: Self::usual_transit(memory_limit),
            memory_mark_percent: 75,
            bodies_mark: ByteCount(u64::MAX),
            disks: Vec::new(),
            objects: None,
            tiers: vec![Tier::Disks, Tier::Objects],
            when_full: WhenFull::default(),
            disk_writes: 2,
            flush_bytes: ByteCount::mib(4),
            extent_bytes: ByteCount::mib(1024),
            disk_limit: ByteCount(u64::MAX),
            sync: false,
            sync_pushes: false,
            push_wait: Duration::from_secs(30),
            split_soft: ByteCount::mib(1024),
            split_hard: ByteCount::mib(2048),
            peer_wait: Duration::from_secs(5),
            verify_pushes: true,
            tombstones: 65_536,
        }
    }

    /// What [`Options::transit`] is by default.
    pub fn usual_transit(memory_limit: ByteCount) -> ByteCount {
        ByteCount((memory_limit.0 / 8).max(TRANSIT_LEAST.0))
    }

    /// What [`Options::transit`] is divided into.
    pub fn shares(&self) -> Shares {
        let quarter = self.transit.0 / 4;
        let reads = ByteCount(self.transit.0 - 2 * quarter);
        Shares { reads, uploads: ByteCount(quarter), pushes: ByteCount(quarter) }
    }

    /// The defaults for this much memory and one folder to write to.
    pub fn in_folder(memory_limit: ByteCount, path: impl Into<PathBuf>) -> Self {
        Self { disks: vec![DiskOptions::new(path)], ..Self::new(memory_limit) }
    }
}
