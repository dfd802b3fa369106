//! Sessions of plain DataFusion over TPC-H at a small scale, made once for a test process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tempfile::TempDir;

fn folder() -> PathBuf {
    static FOLDER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = dunlin_corpus::tpch::cached(root.path(), 0.01).expect("data");
        (root, path)
    });
    path.clone()
}

/// A session over the tables. `distributed` forces what distribution needs.
pub(crate) async fn session(partitions: usize, distributed: bool) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_collect_statistics(true)
        .with_repartition_file_min_size(1);
    if distributed {
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.enable_round_robin_repartition = false;
        optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        // Joins of this small data are to be hashed, or there would be little to cut.
        optimizer.hash_join_single_partition_threshold = 1 << 14;
        optimizer.hash_join_single_partition_threshold_rows = 1 << 8;
    }
    let mut state = SessionStateBuilder::new_with_default_features().with_config(config);
    if distributed {
        state = state.with_physical_optimizer_rules(dunlin_planner::physical_rules());
    }
    let context = SessionContext::new_with_state(state.build());
    for table in dunlin_corpus::tpch::TABLES {
        register(&context, table, &folder().join(format!("{table}.parquet"))).await;
    }
    context
}

async fn register(context: &SessionContext, table: &str, path: &Path) {
    let path = path.to_str().expect("a path of ASCII");
    context.register_parquet(table, path, ParquetReadOptions::new()).await.expect("a table");
}
