//! Damaged files: which one it was. A decoder knows bytes, not names; the task knows its scans.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::Error;

use super::find;

/// Marks errors about damaged data, as their cause.
#[derive(Debug, thiserror::Error)]
#[error("the data are damaged")]
struct Damaged;

/// How many files are named.
const NAMED_MAX: usize = 3;

/// An error about damaged data of the given format.
pub(super) fn damaged(format: &str, text: &str) -> Error {
    unreadable(&format!("{format} data"), text)
}

/// An error about something in a file that can not be read.
pub(super) fn unreadable(what: &str, text: &str) -> Error {
    Error::invalid(format!("cannot read {what}: {text}")).with_source(Damaged)
}

/// The error with the files that `plan` reads, if it is about damaged data and names none of them.
pub fn name_files(error: Error, plan: &Arc<dyn ExecutionPlan>) -> Error {
    if find::<Damaged>(&error).is_none() {
        return error;
    }
    let files = scanned(plan);
    if files.is_empty() || files.iter().any(|file| error.message().contains(file)) {
        return error;
    }
    let names: Vec<_> = files.iter().take(NAMED_MAX).map(String::as_str).collect();
    let names = names.join(", ");
    match files.len() {
        1 => error.context(format!("file {names}")),
        n if n <= NAMED_MAX => error.context(format!("one of the files {names}")),
        n => error.context(format!("one of {n} files, among them {names}")),
    }
}

/// Paths of all files that a plan reads.
fn scanned(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut files = Vec::new();
    let walked = plan.apply(|node| {
        let scan = node.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        if let Some(config) = scan.and_then(|s| s.downcast_ref::<FileScanConfig>()) {
            let local = config.object_store_url.as_str().starts_with("file:");
            let root = if local { "/" } else { config.object_store_url.as_str() };
            let paths = config.file_groups.iter().flat_map(|group| group.iter());
            files.extend(paths.map(|file| format!("{root}{}", file.object_meta.location)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "the walk itself never fails");
    files.sort();
    files.dedup();
    files
}
