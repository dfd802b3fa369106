//! What doors (the shell, Flight SQL, Postgres wire, HTTP) see of a gateway.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::{QueryId, Result, StageId};
use futures::stream::BoxStream;

/// The answer to one SQL statement.
pub enum Reply {
    /// A statement that yields rows.
    Rows(Rows),
    /// A statement that yields none: what was done, such as `CREATE VIEW`.
    Done(String),
}

/// Rows of a query, as they become available.
pub struct Rows {
    /// The query; any gateway can find it by this id until it has ended. `None` for statements
    /// that are answered without a query (`SHOW`, `EXPLAIN`).
    pub query: Option<QueryId>,
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The rows. Dropping the stream before its end cancels the query.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

/// How far a query has come; see [`crate::Rows`] for its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Opened stages in the order of their ids.
    pub stages: Vec<StageProgress>,
}

/// How far one stage has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageProgress {
    /// The stage.
    pub stage: StageId,
    /// Slices of the stage.
    pub slices: u32,
    /// Slices that are committed.
    pub done: u32,
    /// Slices that are claimed and not committed.
    pub running: u32,
}
