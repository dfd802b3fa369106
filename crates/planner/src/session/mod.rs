//! From SQL text to a physical plan, or to an answer when none is needed.
//!
//! [`Planner`] is shared by a process, [`Session`] belongs to one connection. The one thing to
//! know: statements that never leave the gateway (DDL, `SET`, `SHOW`) are done here, at once;
//! everything else comes back as a plan that nobody has run.

mod ddl;
mod describe;
mod dialect;
mod engine;
mod grants;
mod kind;
mod listing;
mod local;
mod options;
mod parameters;
mod query;
mod reuse;
mod size;
mod stack;
mod tables;
mod text;
mod write;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::{Env, Result};
use parking_lot::{Mutex, RwLock};

use crate::catalog::{
    CatalogCache, CatalogStoreRef, Entry, Overlay, Reading, Rights, Scope, ScopeParts, Snapshot,
    Who, tables_in,
};
use crate::functions::Planning;
use crate::object_stores::ObjectStores;
use crate::settings::Settings;
use crate::write::WritePlan;

pub use describe::Description;
pub use kind::StatementKind;
pub use listing::TableEntry;
pub(crate) use reuse::lasting;
pub(crate) use text::RECURSION_MAX;
pub use text::{Statement, prepare};
pub use write::{Ingest, IngestPlan};

/// What a table scan reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table.
    pub table: String,
    /// Files that the plan reads.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Hash over path, size and modification time of every file.
    pub fingerprint: u64,
    /// Folders and files that the table is read from, as URLs.
    pub locations: Vec<String>,
}

/// A query that nobody has run.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// DataFusion's plan. To be cut, never to be executed: the same plan is handed out again for
    /// the same text (see [`Settings::plan_cache`]).
    pub physical: Arc<dyn ExecutionPlan>,
    /// Columns as the user should see them.
    pub schema: SchemaRef,
    /// The optimised logical plan, for people: only in what is explained, else empty.
    pub logical: String,
    /// What it reads.
    pub tables: Vec<TableInfo>,
    /// The session's settings when it was planned.
    pub settings: Settings,
    /// The encoded stage graph, once somebody has cut the plan: it goes with the plan.
    pub graph: Arc<OnceLock<Bytes>>,
}

/// What became of a statement.
#[derive(Debug)]
pub enum Planned {
    /// A query to be run.
    Query(Box<QueryPlan>),
    /// A query to be explained.
    Explain {
        /// Run it and show measurements.
        analyze: bool,
        /// Show everything.
        verbose: bool,
        /// The query.
        inner: Box<QueryPlan>,
    },
    /// Files to be written.
    Write(Box<WritePlan>),
    /// Rows, already there: `SHOW`, `DESCRIBE`, `information_schema`.
    Local(Vec<RecordBatch>, SchemaRef),
    /// Nothing to return: what was done, such as `CREATE VIEW`.
    Done(String),
}

/// Plans for all sessions of a process. Share it by `Arc`.
#[derive(Debug)]
pub struct Planner {
    env: Env,
    settings: Settings,
    catalog: CatalogCache,
    stores: Arc<ObjectStores>,
    runtime: Arc<RuntimeEnv>,
    /// Tables of folders, for all sessions.
    folders: RwLock<Arc<Overlay>>,
    plans: reuse::PlanCache,
    /// The catalog whose stores are known as it says.
    settled: Mutex<Arc<Snapshot>>,
}

impl Planner {
    /// A planner whose sessions start with `settings`, over the tables in `catalog`. `Invalid`:
    /// settings that DataFusion does not take.
    pub fn new(
        env: Env,
        settings: Settings,
        catalog: CatalogStoreRef,
        stores: Arc<ObjectStores>,
    ) -> Result<Arc<Self>> {
        crate::settings::session_config(&settings)?;
        Ok(Arc::new(Self {
            runtime: engine::runtime(&stores)?,
            catalog: CatalogCache::new(catalog),
            folders: RwLock::default(),
            plans: reuse::PlanCache::default(),
            settled: Mutex::default(),
            env,
            settings,
            stores,
        }))
    }

    /// A new session, with the planner's settings, that may do everything.
    pub fn session(self: &Arc<Self>) -> Result<Session> {
        self.session_of(Who::Anyone)
    }

    /// A new session that may do what `who` may: looked up anew for every statement.
    pub fn session_of(self: &Arc<Self>, who: Who) -> Result<Session> {
        let settings = self.settings.clone();
        let state = Arc::new(engine::state(&settings, &self.runtime)?);
        let inner = RwLock::new(Inner { settings, state });
        Ok(Session { planner: Arc::clone(self), who, inner })
    }

    /// The catalog as it is now. What tables said about their stores goes with the last of them,
    /// wherever that was dropped.
    async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let now = self.catalog.current().await?;
        let mut settled = self.settled.lock();
        if settled.version() < now.version() {
            let (before, said) = (settled.store_specs(), now.store_specs());
            before.iter().filter(|spec| !said.contains(spec)).for_each(|s| self.stores.forget(s));
            *settled = Arc::clone(&now);
        }
        Ok(now)
    }

    /// The object stores; export them into plan headers.
    pub fn stores(&self) -> &Arc<ObjectStores> {
        &self.stores
    }

    /// What planning shares with nothing else: caches of footers and statistics, a small pool.
    pub fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }

    /// Makes a table of every file and folder in `folder`, for all sessions, until the process
    /// ends. One result for each, by table name; what is skipped is `Invalid` and says why. Files
    /// are not looked into: a damaged one is found when its table is first used.
    pub async fn register_folder(&self, folder: &Path) -> Result<Vec<(String, Result<()>)>> {
        let found = tables_in(folder).await?;
        let usable = |(name, entry): &(String, Result<Arc<Entry>>)| {
            entry.as_ref().ok().map(|entry| (name.clone(), Arc::clone(entry)))
        };
        let mut folders = self.folders.write();
        let mut all = Overlay::clone(&folders);
        all.extend(found.iter().filter_map(usable));
        *folders = Arc::new(all);
        Ok(found.into_iter().map(|(name, entry)| (name, entry.map(drop))).collect())
    }
}

/// One connection: its settings and its view of the catalog.
#[derive(Debug)]
pub struct Session {
    planner: Arc<Planner>,
    who: Who,
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    /// Rebuilt whenever the settings change; has no catalog.
    state: Arc<SessionState>,
}

impl Session {
    /// The settings as `SET` left them.
    pub fn settings(&self) -> Settings {
        self.inner.read().settings.clone()
    }

    /// The object stores that its tables use; export them into plan headers.
    pub fn stores(&self) -> &Arc<ObjectStores> {
        &self.planner.stores
    }

    /// Splits a text into statements and parses them all: a syntax error anywhere runs nothing.
    /// `Invalid` with line, column and an excerpt; no statement is no error.
    pub fn prepare(&self, sql: &str) -> Result<Vec<Statement>> {
        prepare(sql)
    }

    /// Plans a query, or does what the statement says. Runs on the caller's task and reads the
    /// files' listings and footers; dropping the future cancels it (a change of the catalog has
    /// then happened wholly or not at all).
    pub async fn plan(&self, statement: &Statement) -> Result<Planned> {
        // Deep expressions make deep recursions in DataFusion, not all of them guarded.
        let planning = Planning::new(Box::pin(self.dispatch(statement)));
        stack::Deep::new(planning).await
    }

    /// The catalog and the settings as they are now.
    async fn view(&self) -> Result<View> {
        Ok(self.view_of(&self.planner.snapshot().await?))
    }

    /// A catalog, and the settings as they are now.
    fn view_of(&self, catalog: &Arc<Snapshot>) -> View {
        let rights = Rights::new(catalog, &self.who);
        let folders = Arc::clone(&self.planner.folders.read());
        let inner = self.inner.read();
        let (settings, state) = (inner.settings.clone(), Arc::clone(&inner.state));
        View { rights, folders, settings, state }
    }

    async fn scope(&self) -> Result<Scope> {
        Ok(self.scope_of(&self.view().await?))
    }

    /// What a statement sees.
    fn scope_of(&self, view: &View) -> Scope {
        let mut base = SessionState::clone(&view.state);
        engine::start(&mut base, self.planner.env.unix_ms());
        Scope::new(ScopeParts {
            rights: view.rights.clone(),
            overlays: vec![Arc::clone(&view.folders)],
            base,
            stores: Arc::clone(&self.planner.stores),
            engine: view.settings.engine.clone(),
        })
    }

    /// Takes over changed settings.
    fn change(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        let mut inner = self.inner.write();
        let mut settings = inner.settings.clone();
        change(&mut settings)?;
        let state = Arc::new(engine::state(&settings, &self.planner.runtime)?);
        *inner = Inner { settings, state };
        Ok(())
    }
}

/// The catalog and the settings at one moment.
#[derive(Clone, Debug)]
struct View {
    rights: Rights,
    folders: Arc<Overlay>,
    settings: Settings,
    state: Arc<SessionState>,
}

impl View {
    /// Nothing has been created, dropped, granted or registered between the two. Their users may
    /// be others, but not one who may everything and one who is asked.
    fn same(&self, other: &Self) -> bool {
        let asked = |view: &Self| view.rights.who() != &Who::Anyone;
        Arc::ptr_eq(self.catalog(), other.catalog())
            && Arc::ptr_eq(&self.folders, &other.folders)
            && asked(self) == asked(other)
    }

    /// All of the catalog, whoever may see it.
    fn catalog(&self) -> &Arc<Snapshot> {
        self.rights.all()
    }

    fn reading<'a>(&'a self, session: &'a Session) -> Reading<'a> {
        Reading {
            state: &self.state,
            stores: &session.planner.stores,
            engine: &self.settings.engine,
        }
    }
}

#[cfg(test)]
mod tests;
