//! What the tests share: data, an engine over it, the oracle's rows.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use dunlin_base::{ByteCount, Result};
use dunlin_gateway::{Reply, Session};
use dunlin_node::{Engine, EngineOptions};
use futures::TryStreamExt;
use tempfile::TempDir;

/// No query of these tests takes longer on the slowest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A folder that lives as long as the test process.
pub(crate) fn shared_folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

/// TPC-H at a hundredth.
pub(crate) fn tpch() -> PathBuf {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| dunlin_corpus::tpch::cached(shared_folder(), 0.01).expect("data")).clone()
}

/// Plain DataFusion on a runtime of its own: on an engine's it would keep its control work waiting.
pub(crate) struct Oracle {
    runtime: tokio::runtime::Runtime,
    context: datafusion::prelude::SessionContext,
}

impl Oracle {
    pub(crate) fn open(data: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let context = runtime.block_on(dunlin_corpus::oracle::open(data, 2)).expect("an oracle");
        Self { runtime, context }
    }

    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, String> {
        let rows = self.runtime.block_on(dunlin_corpus::oracle::rows(&self.context, sql));
        rows.map_err(|error| error.to_string())
    }
}

/// How an engine of a test is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) partitions: usize,
    pub(crate) executors: usize,
    /// Cut wherever it can be cut, or as in production.
    pub(crate) fine: bool,
}

/// An engine over `data` with its own state, and a session on it.
pub(crate) struct Cluster {
    pub(crate) session: Session,
    pub(crate) engine: Engine,
    _scratch: TempDir,
}

impl Cluster {
    pub(crate) fn start(data: &Path, shape: Shape) -> Self {
        Self::with(data, shape, |_| {})
    }

    pub(crate) fn with(data: &Path, shape: Shape, change: impl FnOnce(&mut EngineOptions)) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder");
        let mut options = EngineOptions::ephemeral(scratch.path());
        options.executors = shape.executors;
        options.settings.partitions = shape.partitions;
        if shape.fine {
            options.settings.slice_bytes = ByteCount(256 << 10);
            options.settings.collapse_bytes = ByteCount(0);
            // Small data: with production's threshold every join would be a broadcast.
            options.settings.broadcast_bytes = ByteCount(16 << 10);
            options.settings.broadcast_rows = 500;
        }
        change(&mut options);
        let engine = Engine::start(options).expect("an engine starts");
        engine.block_on(async {
            for (name, registered) in engine.planner().register_folder(data).await.expect("data") {
                registered.unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        });
        let session = engine.session("test").expect("a session");
        Self { session, engine, _scratch: scratch }
    }

    /// All rows of a statement, within the limit.
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.engine.block_on(self.rows_async(sql))
    }

    pub(crate) async fn rows_async(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let all = async {
            match self.session.sql(sql).await? {
                Reply::Rows(rows) => rows.batches.try_collect().await,
                Reply::Done(_) => Ok(Vec::new()),
            }
        };
        let env = self.engine.env().clone();
        let done = env.timeout(LIMIT, all).await;
        done.unwrap_or_else(|| panic!("no answer within {LIMIT:?}: {sql}"))
    }

    /// Fails if anything of an ended query is left: keys, blocks, files.
    pub(crate) fn assert_nothing_left(&self) {
        self.engine.block_on(async {
            self.engine.gateway().expect("a gateway").settle().await;
            let mut left = Vec::new();
            for prefix in ["q/", "ready/", "live/"] {
                let found = self.engine.store().range(prefix).await.expect("a range");
                left.extend(found.entries.into_iter().map(|entry| entry.key));
            }
            assert!(left.is_empty(), "keys are left: {left:#?}");
        });
        let worker = self.engine.shuffle_worker().expect("a worker");
        let stats = worker.stats();
        assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.blocks), (0, 0, 0), "{stats:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.engine.block_on(self.engine.shutdown());
    }
}
