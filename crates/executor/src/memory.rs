//! The memory pool of one task: a fair share for operators that spill, with the peak recorded.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryPool, MemoryReservation, PeakRecordingPool,
    TrackConsumersPool,
};
use parking_lot::Mutex;

/// How many of the largest consumers an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// A task's pool and its recorder.
pub(crate) struct TaskPool {
    pub(crate) pool: Arc<dyn MemoryPool>,
    recorder: Arc<PeakRecordingPool>,
}

impl TaskPool {
    pub(crate) fn new(bytes: usize) -> Self {
        let tracked = TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED_CONSUMERS);
        let recorder = Arc::new(PeakRecordingPool::new(Arc::new(tracked)));
        Self { pool: Arc::clone(&recorder) as Arc<dyn MemoryPool>, recorder }
    }

    /// The most that was reserved at once, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.recorder.peak_reserved() as u64
    }
}

/// What the writer of a task holds, as its pool knows it. Given back on drop.
pub(crate) struct Charge(Mutex<MemoryReservation>);

impl Charge {
    pub(crate) fn new(pool: &TaskPool) -> Self {
        Self(Mutex::new(MemoryConsumer::new("shuffle writer").register(&pool.pool)))
    }

    /// Charges so many bytes in all. False, and nothing changed, if the pool does not have them.
    pub(crate) fn set(&self, bytes: usize) -> bool {
        self.0.lock().try_resize(bytes).is_ok()
    }

    /// Charges so many bytes in all, whether or not the pool has them: they are on their way to a
    /// worker, and operators that can spill make room.
    pub(crate) fn must_be(&self, bytes: usize) {
        self.0.lock().resize(bytes);
    }
}
