//! What callers see of a query's state.

use dunlin_base::{Error, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::output::{OperatorStats, StageOutput};
pub use dunlin_proto::queue::Phase;

/// How a query ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `Done`, `Failed` or `Cancelled`.
    pub phase: Phase,
    /// Why it failed or was cancelled, with kind, message and hint as the first process saw them.
    pub failure: Option<Error>,
    /// The stage that holds the result, if the query is done and its records still exist.
    pub result: Option<(StageId, StageEpoch, StageOutput)>,
    /// Rows of the result.
    pub rows: u64,
}

/// The smallest, middle and largest of a figure over the tasks of a stage: far apart means skew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Smallest.
    pub min: u64,
    /// Middle (the lower one of two).
    pub median: u64,
    /// Largest.
    pub max: u64,
}

/// A query and its stages at one revision.
#[derive(Clone, Debug)]
pub struct QueryStatus {
    /// The query.
    pub query: QueryId,
    /// Its phase.
    pub phase: Phase,
    /// Its SQL (the beginning of it, if long).
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, 0 before.
    pub ended_unix_ms: u64,
    /// Why it failed.
    pub failure: Option<Error>,
    /// Rows of the result, once done.
    pub rows: u64,
    /// How many decisions have been made.
    pub decisions: u32,
    /// The stages opened so far, by number.
    pub stages: Vec<StageStatus>,
}

/// A stage at one revision.
#[derive(Clone, Debug)]
pub struct StageStatus {
    /// The stage.
    pub stage: StageId,
    /// Its epoch.
    pub epoch: StageEpoch,
    /// True once its output is complete.
    pub sealed: bool,
    /// Stages it reads.
    pub inputs: Vec<StageId>,
    /// When it became claimable, in milliseconds since 1970.
    pub opened_unix_ms: u64,
    /// When it was sealed, 0 before.
    pub sealed_unix_ms: u64,
    /// Slices in all.
    pub slices_total: u32,
    /// Slices that are committed.
    pub slices_done: u32,
    /// Slices that are claimed and not committed.
    pub slices_running: u32,
    /// Attempts so far, with those that failed.
    pub attempts: u32,
    /// Attempts that failed.
    pub attempts_failed: u32,
    /// Committed tasks (each ran one or more slices).
    pub tasks: u32,
    /// Rows written by committed tasks.
    pub rows: u64,
    /// Bytes written by committed tasks.
    pub bytes: u64,
    /// Bytes read by committed tasks.
    pub bytes_in: u64,
    /// Bytes spilled by committed tasks.
    pub spilled_bytes: u64,
    /// Largest memory of one task.
    pub peak_memory_bytes: u64,
    /// Time of committed tasks.
    pub elapsed_us: Spread,
    /// Rows per slice of committed tasks.
    pub rows_per_slice: Spread,
    /// Bytes per slice of committed tasks.
    pub bytes_per_slice: Spread,
    /// The operators, summed over committed tasks.
    pub operators: Vec<OperatorStats>,
}

/// A query that has records: running, or ended and not yet removed.
#[derive(Clone, Debug)]
pub struct RunningQuery {
    /// The query.
    pub query: QueryId,
    /// Its phase.
    pub phase: Phase,
    /// The beginning of its SQL.
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// Process id of the gateway that accepted it, as text.
    pub gateway: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, 0 before.
    pub ended_unix_ms: u64,
    /// When its time is up, in milliseconds since 1970.
    pub deadline_unix_ms: Option<u64>,
}

/// A removed query.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The query.
    pub query: QueryId,
    /// How it ended.
    pub phase: Phase,
    /// Its SQL (the beginning of it, if long).
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// Rows of its result.
    pub rows: u64,
    /// Why it failed.
    pub failure: Option<Error>,
    /// Stages that were opened.
    pub stages: u32,
    /// Slices of those.
    pub slices: u32,
    /// Attempts at them.
    pub attempts: u32,
}

/// The status of one query, each time it has changed.
#[derive(Debug)]
pub struct QueryWatch {}

impl QueryWatch {
    /// The status: at once on the first call, then after each change (changes within a tenth of a
    /// second are one). `None` when the query's records are gone. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Result<Option<QueryStatus>> {
        std::future::pending().await
    }
}
