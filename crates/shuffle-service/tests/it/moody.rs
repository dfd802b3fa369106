//! A disk that does on demand what disks do: it fills up, fails, hangs, gives other bytes. Each
//! fault that was met is counted, so that a test can see that it was.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use dunlin_shuffle_service::DiskOptions;
use dunlin_shuffle_service::disk::{Disk, DiskFile, ExtentId, LocalDisk, Space};
use parking_lot::{Condvar, Mutex};

use super::*;

/// A real folder under a mood.
pub(crate) struct Moody {
    inner: LocalDisk,
    mood: Arc<Mood>,
}

/// One kind of call that can fail: so many more times, and how often it has.
#[derive(Default)]
pub(crate) struct Fault {
    left: AtomicU32,
    fired: AtomicU32,
}

impl Fault {
    /// Fails from now on; 0 heals.
    pub(crate) fn fail(&self, times: u32) {
        self.left.store(times, SeqCst);
    }

    pub(crate) fn fired(&self) -> u32 {
        self.fired.load(SeqCst)
    }

    pub(crate) fn strikes(&self) -> bool {
        let struck = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        self.fired.fetch_add(u32::from(struck), SeqCst);
        struck
    }

    fn meet(&self) -> io::Result<()> {
        if self.strikes() { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

/// Fails until it is healed.
pub(crate) const ALWAYS: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Mood {
    pub(crate) full: AtomicBool,
    pub(crate) writes: Fault,
    pub(crate) syncs: Fault,
    pub(crate) reads: Fault,
    pub(crate) probes: Fault,
    pub(crate) creates: Fault,
    pub(crate) truncates: Fault,
    /// Of files, and of the folders of queries.
    pub(crate) removals: Fault,
    /// Tables: half of one is written beside its place.
    pub(crate) tables: Fault,
    /// Reads give other bytes.
    pub(crate) flips: Fault,
    /// The free space that it claims, if not 0.
    pub(crate) free: AtomicU64,
    /// Milliseconds that each write takes longer.
    pub(crate) slow_ms: AtomicU64,
    /// Syncs that went well.
    pub(crate) synced: AtomicU32,
    /// Calls that waited.
    pub(crate) hung: AtomicU32,
    stalled: Mutex<bool>,
    resumed: Condvar,
}

impl Mood {
    pub(crate) fn stall(&self, yes: bool) {
        *self.stalled.lock() = yes;
        self.resumed.notify_all();
    }

    fn wait(&self) {
        let mut stalled = self.stalled.lock();
        self.hung.fetch_add(u32::from(*stalled), SeqCst);
        self.resumed.wait_while(&mut stalled, |stalled| *stalled);
    }

    pub(crate) fn heal(&self) {
        let Self { writes, syncs, reads, probes, flips, tables, .. } = self;
        let Self { creates, truncates, removals, .. } = self;
        let all = [writes, syncs, reads, probes, flips, tables, creates, truncates, removals];
        all.iter().for_each(|fault| fault.fail(0));
        self.full.store(false, SeqCst);
        self.stall(false);
    }
}

struct MoodyFile(Arc<dyn DiskFile>, Arc<Mood>);

impl Moody {
    pub(crate) fn open(directory: &Path) -> (Self, Arc<Mood>) {
        let mood = Arc::new(Mood::default());
        let inner = LocalDisk::open(directory).expect("the directory is usable");
        (Self { inner, mood: Arc::clone(&mood) }, mood)
    }

    /// The same with what is in the folder.
    pub(crate) fn reopen(directory: &Path) -> (Self, Arc<Mood>) {
        let mood = Arc::new(Mood::default());
        let inner = LocalDisk::reopen(directory, 7).expect("the directory is usable");
        (Self { inner, mood: Arc::clone(&mood) }, mood)
    }
}

impl Disk for Moody {
    fn create(&self, id: ExtentId) -> io::Result<Arc<dyn DiskFile>> {
        self.mood.creates.meet()?;
        let file = self.inner.create(id)?;
        Ok(Arc::new(MoodyFile(file, Arc::clone(&self.mood))))
    }

    fn open(&self, id: ExtentId) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let (file, length) = self.inner.open(id)?;
        Ok((Arc::new(MoodyFile(file, Arc::clone(&self.mood))), length))
    }

    fn clear(&self, keep: &BTreeSet<ExtentId>) -> io::Result<()> {
        self.inner.clear(keep)
    }

    fn read_table(&self) -> io::Result<Option<Vec<u8>>> {
        self.mood.reads.meet()?;
        self.inner.read_table()
    }

    fn write_table(&self, bytes: &[u8]) -> io::Result<()> {
        self.mood.wait();
        if self.mood.tables.strikes() {
            std::fs::write(self.directory().join("table.1.new"), &bytes[..bytes.len() / 2])?;
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inner.write_table(bytes)
    }

    fn remove_table(&self) -> io::Result<()> {
        self.inner.remove_table()
    }

    fn extents(&self) -> io::Result<Vec<ExtentId>> {
        self.inner.extents()
    }

    fn read_lives(&self) -> io::Result<Option<Vec<u8>>> {
        self.mood.reads.meet()?;
        self.inner.read_lives()
    }

    fn write_lives(&self, bytes: &[u8]) -> io::Result<()> {
        self.mood.syncs.meet()?;
        self.inner.write_lives(bytes)
    }

    fn remove_lives(&self) -> io::Result<()> {
        self.inner.remove_lives()
    }

    fn identity(&self) -> u128 {
        self.inner.identity()
    }

    fn remove(&self, id: ExtentId) -> io::Result<()> {
        self.mood.removals.meet()?;
        self.inner.remove(id)
    }

    fn remove_query(&self, query: QueryId) -> io::Result<()> {
        self.mood.removals.meet()?;
        self.inner.remove_query(query)
    }

    fn directory(&self) -> &Path {
        self.inner.directory()
    }

    fn space(&self) -> io::Result<Space> {
        let space = self.inner.space()?;
        match self.mood.free.load(SeqCst) {
            0 => Ok(space),
            free => Ok(Space { free, total: space.total }),
        }
    }

    fn probe(&self) -> io::Result<()> {
        self.mood.wait();
        self.mood.probes.meet()?;
        // A real sync on a busy machine takes longer than tests let pass for a probe.
        if self.inner.directory().is_dir() { Ok(()) } else { self.inner.probe() }
    }
}

impl DiskFile for MoodyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.1.wait();
        std::thread::sleep(Duration::from_millis(self.1.slow_ms.load(SeqCst)));
        if self.1.full.load(SeqCst) {
            // Half of it arrives, as on a real full disk.
            self.0.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.1.writes.strikes() {
            self.0.write_at(offset, &bytes[..bytes.len() / 2])?;
            return Err(io::Error::from_raw_os_error(5));
        }
        self.0.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.1.wait();
        self.1.reads.meet()?;
        self.0.read_at(offset, bytes)?;
        if !bytes.is_empty() && self.1.flips.strikes() {
            let at = offset as usize % bytes.len();
            bytes[at] ^= 1;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.1.wait();
        self.1.syncs.meet()?;
        self.0.sync()?;
        self.1.synced.fetch_add(1, SeqCst);
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.1.truncates.meet()?;
        self.0.truncate(length)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A worker on several moody disks.
pub(crate) struct Ward {
    pub(crate) worker: Arc<ShuffleWorker>,
    pub(crate) moods: Vec<Arc<Mood>>,
    pub(crate) folders: Vec<tempfile::TempDir>,
}

impl Ward {
    /// One disk for each entry, whose path is not looked at.
    pub(crate) fn new(options: Options, disks: &[DiskOptions]) -> Self {
        Self::with_moods(options, disks, |_, _| {})
    }

    /// The same, with moods that are set before the worker sees them.
    pub(crate) fn with_moods(
        options: Options,
        disks: &[DiskOptions],
        set: impl Fn(usize, &Mood),
    ) -> Self {
        let (mut moods, mut folders, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (index, options) in disks.iter().enumerate() {
            let folder = tempfile::tempdir().expect("a place to write");
            let (disk, mood) = Moody::open(folder.path());
            set(index, &mood);
            all.push((options.clone(), Arc::new(disk) as Arc<dyn Disk>));
            moods.push(mood);
            folders.push(folder);
        }
        let worker = ShuffleWorker::with_disks(options, all, Env::seeded(1));
        Self { worker, moods, folders }
    }

    /// Bytes on each disk.
    pub(crate) fn used(&self) -> Vec<u64> {
        self.worker.stats().disks.iter().map(|disk| disk.used).collect()
    }

    /// Ends the query of the tests and sees that nothing of it is left.
    pub(crate) async fn ends_clean(self) {
        self.moods.iter().for_each(|mood| mood.heal());
        self.worker.delete_query(shuffle(1).query).await.expect("works");
        let stats = self.worker.stats();
        assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.blocks), (0, 0, 0));
        for folder in &self.folders {
            let root = folder.path().join("dunlin-shuffle");
            let left = std::fs::read_dir(root).map_or(0, Iterator::count);
            assert_eq!(left, 0, "files are left");
        }
    }
}

impl Drop for Ward {
    /// Threads that hang would hold the runtime of a test that has failed.
    fn drop(&mut self) {
        self.moods.iter().for_each(|mood| mood.heal());
    }
}

/// The value of a future while time passes, twenty times as fast as the real one: a thread that
/// hangs keeps a paused clock from moving by itself.
pub(crate) async fn while_time_passes<T>(what: impl Future<Output = T>) -> T {
    let passing = async {
        loop {
            tokio::time::advance(Duration::from_millis(20)).await;
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        value = what => value,
        () = passing => unreachable!("time passes for ever"),
    }
}

/// Lets so much time pass. Where no thread hangs, time stands still while one works.
pub(crate) async fn pass(time: Duration) {
    Env::seeded(1).sleep(time).await;
}
