//! Sessions over tiny files: what is planned, answered and refused.

mod bad_input;
mod ddl;
mod deep;
mod files;
mod formats;
mod grants;
mod memory;
mod parameters;
mod queries;
mod reuse;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::physical_plan::collect;
use dunlin_base::{Env, Error, Result};

use super::*;
use crate::catalog::MemoryCatalog;
use crate::codec::{PlanCodec, ProtoCodec};
use crate::errors::from_datafusion;
use crate::object_stores::{Allowed, StoreLimits};

/// A folder of files and a session that sees it.
pub(super) struct Lab {
    pub(super) folder: tempfile::TempDir,
    pub(super) planner: Arc<Planner>,
    pub(super) session: Session,
    pub(super) users: Arc<MemoryCatalog>,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(Settings { partitions: 2, ..Settings::default() })
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::open(settings, Allowed::everything())
    }

    /// One that may open these places only.
    pub(super) fn limited(allowed: Allowed) -> Self {
        Self::open(Settings::default(), allowed)
    }

    fn open(settings: Settings, allowed: Allowed) -> Self {
        let env = Env::seeded(7);
        let stores = ObjectStores::limited(env.clone(), StoreLimits::default(), allowed);
        let catalog = Arc::new(MemoryCatalog::default());
        let users = Arc::clone(&catalog);
        let planner = Planner::new(env, settings, catalog, stores).expect("valid settings");
        let session = planner.session().expect("a session");
        Self { folder: tempfile::tempdir().expect("a folder"), planner, session, users }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        let parent = path.parent().expect("inside the folder");
        std::fs::create_dir_all(parent).expect("a folder");
        path
    }

    pub(super) fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A Parquet file of one column.
    pub(super) fn parquet(&self, name: &str, column: &str, values: ArrayRef) -> PathBuf {
        let path = self.path(name);
        let batch = RecordBatch::try_from_iter([(column, values)]).expect("one column");
        let file = std::fs::File::create(&path).expect("created");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        path
    }

    /// Plans every statement of a text; what became of the last.
    pub(super) async fn plan(&self, sql: &str) -> Result<Planned> {
        Self::plan_in(&self.session, sql).await
    }

    /// The same in another session.
    pub(super) async fn plan_in(session: &Session, sql: &str) -> Result<Planned> {
        let mut last = Err(Error::invalid("no statement"));
        for statement in session.prepare(sql)? {
            last = Ok(session.plan(&statement).await?);
        }
        last
    }

    /// The text of the last statement's error, with the folder's path as `DIR`, and its hint.
    pub(super) async fn error(&self, sql: &str) -> (String, String) {
        let error = match self.rows(sql).await {
            Err(error) => error,
            Ok(rows) => panic!("{sql} gave {rows:?}"),
        };
        let shown = |text: &str| text.replace(&self.folder.path().display().to_string(), "DIR");
        (shown(error.message()), error.hint().map(shown).unwrap_or_default())
    }

    /// Rows of the last statement as text, run as an executor would, with `|` between columns.
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<String>> {
        self.rows_in(&self.session, sql).await
    }

    /// The same in another session.
    pub(super) async fn rows_in(&self, session: &Session, sql: &str) -> Result<Vec<String>> {
        let batches = match Self::plan_in(session, sql).await? {
            Planned::Query(query) => self.run(*query).await?,
            Planned::Local(batches, _) => batches,
            Planned::Done(what) => return Ok(vec![what]),
            Planned::Write(plan) => panic!("a write that no gateway follows: {plan:?}"),
            Planned::Explain { inner, .. } => return Ok(vec![inner.logical]),
        };
        Ok(batches.iter().flat_map(shown).collect())
    }

    /// Encodes, decodes and runs a plan: whatever a session plans must travel.
    async fn run(&self, query: QueryPlan) -> Result<Vec<RecordBatch>> {
        let context = engine::state(&query.settings, &self.planner.runtime)?.task_ctx();
        let bytes = ProtoCodec.encode(&query.physical)?;
        let plan = ProtoCodec.decode(&bytes, &context)?;
        collect(plan, context).await.map_err(from_datafusion)
    }

    pub(super) async fn query(&self, sql: &str) -> QueryPlan {
        match self.plan(sql).await.expect(sql) {
            Planned::Query(query) => *query,
            other => panic!("{sql} is {other:?}"),
        }
    }
}

fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("can be shown"))
        .collect();
    let row = |at| {
        let values: Vec<_> = columns.iter().map(|column| column.value(at).to_string()).collect();
        values.join("|")
    };
    (0..batch.num_rows()).map(row).collect()
}

pub(super) fn numbers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(super) fn words(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// The statement that makes a table of a path.
pub(super) fn table(name: &str, format: &str, path: &Path) -> String {
    format!("CREATE EXTERNAL TABLE {name} STORED AS {format} LOCATION '{}'", path.display())
}
