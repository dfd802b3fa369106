//! DataFusion's state for a session.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use dunlin_base::{ByteCount, Result};

use crate::errors::from_datafusion;
use crate::functions;
use crate::object_stores::ObjectStores;
use crate::rules::{
    CheckedConstants, CheckedSums, LiftSubqueries, OneRowSubqueries, optimizer_rules,
    physical_rules,
};
use crate::settings::{Settings, session_config};

/// What a statement that is answered by the gateway may hold.
const LOCAL_MEMORY: ByteCount = ByteCount::mib(256);

/// The runtime that planning shares: its caches of footers and statistics check size and time of
/// each file; listings are not cached, so that new files are seen.
pub(super) fn runtime(stores: &Arc<ObjectStores>) -> Result<Arc<RuntimeEnv>> {
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::clone(stores) as _)
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(LOCAL_MEMORY.as_usize())))
        .with_cache_manager(CacheManagerConfig::default())
        .with_object_list_cache_limit(0)
        .build_arc()
        .map_err(from_datafusion)
}

/// The state for `settings`, without a catalog.
pub(super) fn state(settings: &Settings, runtime: &Arc<RuntimeEnv>) -> Result<SessionState> {
    let mut state = SessionStateBuilder::new()
        .with_config(session_config(settings)?)
        .with_runtime_env(Arc::clone(runtime))
        .with_default_features()
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .with_optimizer_rules(optimizer_rules())
        .with_physical_optimizer_rules(physical_rules())
        .with_analyzer_rule(Arc::new(LiftSubqueries))
        .with_analyzer_rule(Arc::new(OneRowSubqueries))
        .with_analyzer_rule(Arc::new(CheckedConstants))
        .with_analyzer_rule(Arc::new(CheckedSums))
        .build();
    // Some functions keep a copy of options, such as the time zone.
    let config = Arc::clone(state.config().options());
    let changed = |udf: &Arc<datafusion::logical_expr::ScalarUDF>| {
        udf.inner().with_updated_config(&config).map(Arc::new)
    };
    let changed: Vec<_> = state.scalar_functions().values().filter_map(changed).collect();
    for udf in changed {
        state.register_udf(udf).map_err(from_datafusion)?;
    }
    functions::register(&mut state).map_err(from_datafusion)?;
    Ok(state)
}

/// Marks the start of a statement: `now()` is this moment in all of it.
pub(super) fn start(state: &mut SessionState, unix_ms: u64) {
    state.mark_start_execution();
    let now = UNIX_EPOCH + Duration::from_millis(unix_ms);
    state.execution_props_mut().query_execution_start_time = Some(now.into());
}
