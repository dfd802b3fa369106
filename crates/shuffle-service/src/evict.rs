//! Moving the oldest extents from disks that are full to the object store, so that what leaves memory
//! next finds room there. The pump asks for it when no disk takes data; one round runs at a time.
//!
//! The bytes are copied as they are, so a block keeps its offset, and the index of an object is written
//! behind them. They are verified on their way: an
//! extent that cannot be read, or is corrupt, stays where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;

use crate::core::Core;
use crate::disk::{Disk, DiskFile};
use crate::extent::{Home, Target};
use crate::health::DiskState;
use crate::objects::{Failed, Objects, Source};
use crate::options::WhenFull;
use crate::partition::{Evicted, Partition};

/// A round that found nothing to move is not repeated for this long.
const PAUSE: Duration = Duration::from_secs(1);

/// What is known of evictions.
#[derive(Default)]
pub(crate) struct Evictions {
    /// None begins any more: extents stay where they are.
    stopped: AtomicBool,
    running: AtomicBool,
    /// The last round was of no use: none before this.
    not_before: Mutex<Duration>,
}

/// An extent that can be moved.
pub(crate) struct Old {
    pub(crate) born: u64,
    pub(crate) index: usize,
    pub(crate) disk: usize,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Evictions {
    /// Has no further round begin. True if none is under way.
    pub(crate) fn stop(&self) -> bool {
        self.stopped.store(true, Release);
        !self.running.load(Acquire)
    }
}

impl Core {
    /// True if extents are on their way from the disks to the object store, so that disks will take
    /// data soon. Starts that if it is what the options say.
    pub(crate) fn makes_room(self: &Arc<Self>, bytes: u64) -> bool {
        let wanted =
            self.options.when_full == WhenFull::Evict && !self.evictions.stopped.load(Acquire);
        let usable = self.objects.as_ref().is_some_and(|objects| objects.trouble().is_none());
        if !wanted || !usable || self.env.now() < *self.evictions.not_before.lock() {
            return false;
        }
        if !self.evictions.running.swap(true, AcqRel) {
            let core = Arc::clone(self);
            self.env.spawn("shuffle-evict", async move {
                if core.evict(bytes).await == 0 {
                    *core.evictions.not_before.lock() = core.env.now() + PAUSE;
                }
                core.evictions.running.store(false, Release);
                core.wake();
                core.pump(core.memory.wants_flush());
            });
        }
        true
    }

    /// One round. Returns the bytes that were moved.
    async fn evict(self: &Arc<Self>, bytes: u64) -> u64 {
        let Some(objects) = &self.objects else { return 0 };
        let moves = self.oldest(bytes).into_iter();
        let moves = moves.map(|(partition, old)| self.evict_one(objects, partition, old));
        let moved = stream::iter(moves).buffer_unordered(objects.options.uploads.max(1));
        moved.fold(0, |sum, one| async move { sum + one }).await
    }

    /// The oldest extents of full disks: as many as make room for `bytes`, and an eighth of what
    /// lies there, so that not each write has to wait for a round.
    fn oldest(&self, bytes: u64) -> Vec<(Arc<Partition>, Old)> {
        let now = self.env.now();
        let full = |disk: usize| self.disks[disk].state(now) == DiskState::Full;
        let mut all = Vec::new();
        let mut used = 0;
        for partition in self.registry.partitions() {
            for old in partition.files(full) {
                used += old.length;
                all.push((Arc::clone(&partition), old));
            }
        }
        all.sort_unstable_by_key(|(_, old)| old.born);
        let (mut left, mut count) = (bytes.max(used / 8), 0);
        for (_, old) in all.iter().take_while(|_| left > 0).collect::<Vec<_>>() {
            left = left.saturating_sub(old.length);
            count += 1;
        }
        all.truncate(count);
        all
    }

    async fn evict_one(&self, objects: &Objects, partition: Arc<Partition>, old: Old) -> u64 {
        let Some(id) = partition.begin_evict(&old) else { return 0 };
        self.places.lock().entry(id.shuffle.query).or_default().insert(Target::Objects);
        let (unit, path) = (&self.disks[old.disk], objects.path(id));
        let index = partition.index_of(&old).unwrap_or_default();
        let source = Source::file(unit, &old.file, old.length, index);
        match objects.put(&path, &source).await {
            Ok(()) => {}
            Err(Failed::Source(cause)) => {
                unit.failed_to_read(self.env.now(), &cause);
                partition.stays(&old);
                return 0;
            }
            Err(Failed::Store(error)) => {
                tracing::warn!(%error, "an extent stays on its disk");
                return 0;
            }
        }
        match partition.end_evict(&old, Home::Object(path.clone())) {
            Evicted::Moved => {}
            // The query ended meanwhile, and what was known of its places went then.
            Evicted::Gone => {
                self.places.lock().entry(id.shuffle.query).or_default().insert(Target::Objects);
                let _ = self.remove_places(id.shuffle.query).await;
                return 0;
            }
        }
        self.keeps(Target::Objects, old.length.cast_signed());
        self.keeps(Target::Disk(old.disk), -old.length.cast_signed());
        let remove = move |disk: &dyn Disk| disk.remove(id).and_then(|()| disk.space());
        match unit.call(&self.env, remove).await {
            Ok(space) => {
                unit.measured(space);
                unit.has_room();
            }
            // It goes with its query.
            Err(error) => {
                unit.failed_to_remove(self.env.now(), &error);
                tracing::warn!(%error, "a file that was evicted is still there");
            }
        }
        old.length
    }
}
