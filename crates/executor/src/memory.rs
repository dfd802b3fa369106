//! The memory pool of one task: a fair share for operators that spill, with the peak recorded.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryPool, PeakRecordingPool, TrackConsumersPool,
};

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
