//! From SQL text to a physical plan, or to an answer when none is needed.
//!
//! [`Planner`] is shared by a process, [`Session`] belongs to one connection. The one thing to
//! know: statements that never leave the gateway (DDL, `SET`, `SHOW`) are done here, at once;
//! everything else comes back as a plan that nobody has run.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as Ast;
use dunlin_base::{Error, Result};

use crate::catalog::CatalogStoreRef;
use crate::object_stores::ObjectStores;
use crate::settings::Settings;

/// One statement of a text, with its place in it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The whole text that it was part of; positions in errors count from its start.
    pub text: Arc<str>,
    /// The bytes of the text that are this statement.
    pub range: std::ops::Range<usize>,
    pub(crate) ast: Box<Ast>,
}

impl Statement {
    /// The statement's own text.
    pub fn sql(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default().trim()
    }
}

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
}

/// A query that nobody has run.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// DataFusion's plan. Single use: executing it twice is an error of the caller.
    pub physical: Arc<dyn ExecutionPlan>,
    /// Columns as the user should see them.
    pub schema: SchemaRef,
    /// The optimised logical plan, for people.
    pub logical: String,
    /// What it reads.
    pub tables: Vec<TableInfo>,
    /// The session's settings when it was planned.
    pub settings: Settings,
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
    /// Rows, already there: `SHOW`, `DESCRIBE`, `information_schema`.
    Local(Vec<RecordBatch>, SchemaRef),
    /// Nothing to return: what was done, such as `CREATE VIEW`.
    Done(String),
}

/// Plans for all sessions of a process. Cheap to share.
#[derive(Debug)]
pub struct Planner {
    settings: Settings,
    #[expect(dead_code, reason = "skeleton")]
    catalog: CatalogStoreRef,
    stores: Arc<ObjectStores>,
}

impl Planner {
    /// A planner whose sessions start with `settings`, over the tables in `catalog`.
    pub fn new(
        settings: Settings,
        catalog: CatalogStoreRef,
        stores: Arc<ObjectStores>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { settings, catalog, stores }))
    }

    /// A new session.
    pub fn session(self: &Arc<Self>) -> Result<Session> {
        Ok(Session { planner: Arc::clone(self), settings: self.settings.clone() })
    }

    /// The object stores; export them into plan headers.
    pub fn stores(&self) -> &Arc<ObjectStores> {
        &self.stores
    }

    /// Makes a table of every file and folder in `folder`, for all sessions, until the process
    /// ends. One result for each, by name; files of no known format are `Invalid` with a note.
    pub async fn register_folder(
        &self,
        _folder: &std::path::Path,
    ) -> Result<Vec<(String, Result<()>)>> {
        Err(Error::invalid("folders are not supported yet"))
    }
}

/// One connection: its settings and its view of the catalog.
#[derive(Debug)]
pub struct Session {
    #[expect(dead_code, reason = "skeleton")]
    planner: Arc<Planner>,
    settings: Settings,
}

impl Session {
    /// The settings as `SET` left them.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Splits a text into statements and parses them. `Invalid` with line, column and an excerpt.
    pub fn prepare(&self, _sql: &str) -> Result<Vec<Statement>> {
        Err(Error::invalid("SQL is not supported yet"))
    }

    /// Plans a query, or does what the statement says. Runs on the caller's task; dropping the
    /// future cancels it (a change of the catalog has then happened wholly or not at all).
    pub async fn plan(&self, _statement: &Statement) -> Result<Planned> {
        Err(Error::invalid("planning is not supported yet"))
    }
}
