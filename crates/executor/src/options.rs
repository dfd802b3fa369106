//! Limits of one executor.

use std::time::Duration;

use dunlin_base::ByteCount;

/// Limits of one executor. Data only; what it works with is in [`crate::Parts`].
#[derive(Clone, Debug)]
pub struct ExecutorOptions {
    /// Task slots: how many streams run at once. Usually the number of cores.
    pub slots: u32,
    /// Memory of all tasks together; a task gets the share of its slots. Operators that can spill
    /// do so at that limit, others fail the query with `Exhausted`.
    pub memory_limit: ByteCount,
    /// Time to live of the executor's lease: how long after a crash its slices stay claimed.
    pub lease_ttl: Duration,
    /// Results up to this many encoded bytes travel in the query's records.
    pub inline_result_bytes: ByteCount,
    /// A task takes no more input than this at once; larger claims are run as several tasks.
    pub task_bytes: ByteCount,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            slots: 2,
            memory_limit: ByteCount::mib(2048),
            lease_ttl: Duration::from_secs(10),
            inline_result_bytes: ByteCount(32 << 10),
            task_bytes: ByteCount::mib(256),
        }
    }
}
