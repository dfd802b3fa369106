//! Plain DataFusion over a folder of Parquet files: what the engine's answers are compared with,
//! and what its times are measured against.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use arrow::array::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::future::BoxFuture;

/// A session with each `*.parquet` file of `dir` as a table named by its stem, and with
/// `partitions` target partitions. Statistics are collected, as the engine does.
pub async fn open(dir: &Path, partitions: usize) -> Result<SessionContext> {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true)
        .with_collect_statistics(true);
    let context = SessionContext::new_with_config(config);
    let mut found = false;
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "parquet") || stem.starts_with('.')
        {
            continue;
        }
        let text = path.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
        context
            .register_parquet(stem, text, ParquetReadOptions::default())
            .await
            .with_context(|| format!("cannot register {}", path.display()))?;
        found = true;
    }
    anyhow::ensure!(found, "{} holds no Parquet file", dir.display());
    Ok(context)
}

/// The rows of one query. Boxed: that the future may change threads is proven here, and not again
/// wherever it is awaited.
pub fn rows<'a>(
    context: &'a SessionContext,
    sql: &'a str,
) -> BoxFuture<'a, Result<Vec<RecordBatch>>> {
    Box::pin(async move { Ok(context.sql(sql).await?.collect().await?) })
}
