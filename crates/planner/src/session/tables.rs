//! What a physical plan reads: the files of its scans, by table.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::{ListingTable, ListingTableUrl};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::Result;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::TableInfo;
use crate::catalog::fingerprint;
use crate::errors::from_datafusion;

/// The tables of a plan with the files that its scans read. Scans do not know their table, so each
/// table has the scanned files that are in its locations.
pub(super) fn tables_of(
    logical: &LogicalPlan,
    physical: &Arc<dyn ExecutionPlan>,
) -> Result<Vec<TableInfo>> {
    let mut scanned: BTreeMap<(String, Path), ObjectMeta> = BTreeMap::new();
    physical
        .apply(|node| {
            let scan = node.downcast_ref::<DataSourceExec>();
            let scan = scan.and_then(|s| s.data_source().downcast_ref::<FileScanConfig>());
            if let Some(scan) = scan {
                let store = scan.object_store_url.to_string();
                for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
                    let meta = file.object_meta.clone();
                    scanned.insert((store.clone(), meta.location.clone()), meta);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(from_datafusion)?;
    let mut tables: BTreeMap<String, Vec<ListingTableUrl>> = BTreeMap::new();
    logical
        .apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let provider = source_as_provider(&scan.source)?;
                if let Some(table) = provider.downcast_ref::<ListingTable>() {
                    tables.insert(scan.table_name.to_string(), table.table_paths().clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(from_datafusion)?;
    Ok(tables.into_iter().map(|(table, urls)| info(table, &urls, &scanned)).collect())
}

fn info(
    table: String,
    urls: &[ListingTableUrl],
    scanned: &BTreeMap<(String, Path), ObjectMeta>,
) -> TableInfo {
    let of_table = |(store, path): &(String, Path)| {
        let within = |url: &ListingTableUrl| {
            *store == url.object_store().to_string() && url.contains(path, true)
        };
        urls.iter().any(within)
    };
    let files: Vec<&ObjectMeta> =
        scanned.iter().filter(|(key, _)| of_table(key)).map(|(_, meta)| meta).collect();
    TableInfo {
        files: files.len(),
        bytes: files.iter().map(|file| file.size).sum(),
        fingerprint: fingerprint(files.into_iter()),
        locations: urls
            .iter()
            .map(|url| format!("{}{}", url.object_store(), url.prefix()))
            .collect(),
        table,
    }
}
