//! What is measured: something that answers SQL over a folder of Parquet files.
//!
//! [`Plain`] is DataFusion alone. [`open`] is the seam where Dunlin comes in; the measuring code
//! sees only [`Engine`] and so treats both alike.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use dunlin_base::{ByteCount, Env};
use dunlin_gateway::{Reply, Session};
use dunlin_node::EngineOptions;
use futures::TryStreamExt;

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
    /// Memory for all tasks of all executors; plain DataFusion has no limit.
    #[serde(serialize_with = "as_text")]
    pub memory: ByteCount,
    /// Whether Dunlin may use a plan again for the same text. Plain DataFusion never does, so a
    /// comparison leaves it off unless it says so.
    pub plan_cache: bool,
}

fn as_text<S: serde::Serializer>(bytes: &ByteCount, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(bytes)
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

    /// Plans a query, and does not run it.
    pub async fn plan(&self, sql: &str) -> Result<()> {
        self.0.sql(sql).await?.create_physical_plan().await?;
        Ok(())
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
    Ok(Box::new(open_dunlin(dir, setup).await?))
}

/// [`open`], as what it is.
pub async fn open_dunlin(dir: &Path, setup: Setup) -> Result<Dunlin> {
    let (dir, scratch) = (dir.to_owned(), tempfile::tempdir()?);
    // The engine makes its own runtimes, so it is started and dropped outside of this one.
    let started = Env::real(None).thread("engine", move || start(&dir, setup, scratch))?;
    let (node, session, scratch) = started.join().map_err(|_| anyhow!("the engine panicked"))??;
    let name = if setup.plan_cache { "Dunlin, plans kept" } else { "Dunlin" };
    Ok(Dunlin { node: Some(node), session, name, _scratch: scratch })
}

type Started = (dunlin_node::Engine, Session, tempfile::TempDir);

fn start(dir: &Path, setup: Setup, scratch: tempfile::TempDir) -> Result<Started> {
    let state = scratch.path();
    let mut options = EngineOptions::ephemeral(state.join("scratch"));
    // Durable, as a user has it: every transaction of the figures was synced.
    options.metadata = state.join("metadata").display().to_string();
    options.blobs = state.join("blobs").display().to_string();
    options.threads = setup.threads;
    options.executors = setup.executors;
    options.lease_ttl = LEASE_TTL;
    options.memory_limit = ByteCount(setup.memory.0 / setup.executors.max(1) as u64);
    options.settings.partitions = setup.partitions;
    options.settings.plan_cache = setup.plan_cache;
    let node = dunlin_node::Engine::start(options)?;
    node.block_on(async {
        for (table, registered) in node.planner().register_folder(dir).await? {
            registered.with_context(|| format!("table {table}"))?;
        }
        anyhow::Ok(())
    })?;
    let session = node.session("bench")?;
    Ok((node, session, scratch))
}

/// Short, so that a crash in the demo is noticed while somebody watches.
const LEASE_TTL: Duration = Duration::from_secs(2);

/// Dunlin with all roles in this process.
pub struct Dunlin {
    node: Option<dunlin_node::Engine>,
    session: Session,
    name: &'static str,
    _scratch: tempfile::TempDir,
}

impl Dunlin {
    /// The process.
    pub fn node(&self) -> Result<&dunlin_node::Engine> {
        self.node.as_ref().context("the engine was stopped")
    }

    /// The session in which it runs queries.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Dunlin {
    fn drop(&mut self) {
        let node = self.node.take();
        // Its runtimes may not be dropped on a thread of another.
        if let Ok(thread) = Env::real(None).thread("engine's end", move || drop(node)) {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Engine for Dunlin {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        match self.session.sql(sql).await? {
            Reply::Rows(rows) => Ok(rows.batches.try_collect().await?),
            Reply::Done(what) => bail!("no query: {what}"),
        }
    }

    async fn crash_an_executor(&self) -> Result<bool> {
        let node = self.node()?;
        // The other first, so that there is never none.
        node.add_executor().await?;
        let executors = node.executors();
        let Some(victim) = executors.first() else { return Ok(false) };
        victim.kill();
        node.forget_killed();
        Ok(true)
    }
}
