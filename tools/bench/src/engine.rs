//! What is measured: something that answers SQL over a folder of Parquet files.
//!
//! [`Plain`] is DataFusion alone. [`open`] is the seam where Dunlin comes in; the measuring code
//! sees only [`Engine`] and so treats both alike.

use std::path::Path;

use anyhow::{Result, bail};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::SessionContext;

use crate::oracle;

/// How an engine is set up. Both sides of a comparison get the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setup {
    /// Threads for query work.
    pub threads: usize,
    /// Target partitions of a plan.
    pub partitions: usize,
    /// Executor roles in the process; plain DataFusion has none.
    pub executors: usize,
}

/// Something that answers SQL.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// All rows of a query. Dropping the future cancels the query.
    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>>;

    /// Stops one executor role as a crash would, without a word to anyone, and starts another in
    /// its place. False if the engine has none.
    async fn crash_an_executor(&self) -> Result<bool>;
}

/// DataFusion alone, on the caller's runtime.
pub struct Plain(SessionContext);

impl Plain {
    /// Over the Parquet files of `dir`.
    pub async fn open(dir: &Path, setup: Setup) -> Result<Self> {
        Ok(Self(oracle::open(dir, setup.partitions).await?))
    }
}

#[async_trait]
impl Engine for Plain {
    fn name(&self) -> &'static str {
        "DataFusion"
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        oracle::rows(&self.0, sql).await
    }

    async fn crash_an_executor(&self) -> Result<bool> {
        Ok(false)
    }
}

/// Dunlin with all roles in this process, over the Parquet files of `dir`.
pub async fn open(dir: &Path, setup: Setup) -> Result<Box<dyn Engine>> {
    bail!(
        "the engine is not wired into dunlin-bench yet (asked for {setup:?} over {})",
        dir.display()
    )
}
