//! The runtimes of a process, and the runtime environment of its plans.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use dunlin_base::{ByteCount, Error, Result};
use dunlin_planner::ObjectStores;
use tokio::runtime::{Builder, Runtime};

/// Stack of each thread: deep expressions are planned and decoded without a stack of their own.
/// Only what is used of it costs memory.
const STACK: ByteCount = ByteCount::mib(32);

/// Plans on one, leases on one that nothing else can keep busy, everything else on the third.
pub(super) struct Runtimes {
    pub(super) cpu: Runtime,
    pub(super) control: Runtime,
    pub(super) lease: Runtime,
}

impl Runtimes {
    pub(super) fn new(threads: usize) -> Result<Self> {
        let start = |name: &str, threads: usize| {
            Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_name(name)
                .thread_stack_size(STACK.as_usize())
                .enable_all()
                .build()
                .map_err(|e| Error::bug("can not start threads").with_source(e))
        };
        let (cpu, control) = (start("dunlin-cpu", threads.max(1))?, start("dunlin-control", 1)?);
        Ok(Self { cpu, control, lease: start("dunlin-lease", 1)? })
    }

    /// Ends all tasks without waiting for them.
    pub(super) fn stop(self) {
        self.cpu.shutdown_background();
        self.control.shutdown_background();
        self.lease.shutdown_background();
    }
}

/// What tasks share: the caches of planning, and a folder to spill to.
pub(super) fn task_runtime(
    scratch: &Path,
    stores: &Arc<ObjectStores>,
    planning: &Arc<RuntimeEnv>,
) -> Result<Arc<RuntimeEnv>> {
    let spill = scratch.join("spill");
    std::fs::create_dir_all(&spill)
        .map_err(|e| Error::invalid(format!("can not use folder {}: {e}", spill.display())))?;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
    let mut runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::clone(stores) as _)
        .with_cache_manager(CacheManagerConfig::default())
        .with_disk_manager_builder(disk)
        .build()
        .map_err(dunlin_planner::from_datafusion)?;
    // One process plans and runs: footers read for planning are not read again.
    runtime.cache_manager = Arc::clone(&planning.cache_manager);
    Ok(Arc::new(runtime))
}
