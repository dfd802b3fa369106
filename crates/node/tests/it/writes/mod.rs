//! Statements that write files: what is written is read back, once, whoever dies on the way.

mod flaky;
mod forms;
mod given_up;
mod killed;
mod once;
mod refused;

use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use dunlin_base::Result;
use tempfile::TempDir;

use crate::cluster::{Cluster, Shape, tpch};

/// An engine over TPC-H data, and a folder to write to.
pub(super) struct Lab {
    pub(super) cluster: Cluster,
    out: TempDir,
}

impl Lab {
    pub(super) fn new(shape: Shape) -> Self {
        Self::over(Cluster::start(&tpch(), shape))
    }

    pub(super) fn over(cluster: Cluster) -> Self {
        Self { cluster, out: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    /// `OUT` in a statement is the folder.
    pub(super) fn sql(&self, sql: &str) -> String {
        sql.replace("OUT", &self.out.path().display().to_string())
    }

    pub(super) fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.cluster.rows(&self.sql(sql))
    }

    pub(super) fn run(&self, sql: &str) {
        self.rows(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// What a statement that writes says it has written.
    pub(super) fn written(&self, sql: &str) -> u64 {
        written(&self.rows(sql).unwrap_or_else(|e| panic!("{sql}: {e}")))
    }

    /// How many rows a table has.
    pub(super) fn count(&self, table: &str) -> i64 {
        let rows = self.rows(&format!("SELECT count(*) FROM {table}")).expect(table);
        rows[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
    }

    /// Every file in the folder, hidden ones too.
    pub(super) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.out.path(), &mut found);
        let root = format!("{}/", self.out.path().display());
        let mut names: Vec<_> =
            found.iter().map(|path| path.display().to_string().replace(&root, "")).collect();
        names.sort();
        names
    }

    /// Fails if anything is still staged, or anything of a query is left.
    pub(super) fn assert_clean(&self) {
        self.cluster.assert_nothing_left();
        let staged: Vec<_> = self.files().into_iter().filter(|f| f.contains(".dunlin")).collect();
        assert!(staged.is_empty(), "still staged: {staged:#?}");
    }
}

/// The row count in the one row of a write's reply.
pub(crate) fn written(rows: &[RecordBatch]) -> u64 {
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{rows:?}");
    rows[0].column_by_name("count").expect("a count").as_primitive::<UInt64Type>().value(0)
}

/// All files and empty folders below.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let inside: Vec<_> = std::fs::read_dir(folder).expect("a folder").collect();
    if inside.is_empty() {
        found.push(folder.to_owned());
    }
    for entry in inside {
        let path = entry.expect("an entry").path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}
