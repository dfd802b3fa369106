//! Slices of file scans: which ranges of which files one slice reads.

use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::config::SessionConfig;
use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::{Error, Result};
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{FileSlices, Slice};

use super::{CutOptions, df};
use crate::codec::encode_group;
use crate::nodes::SliceScanExec;

/// A scan gets more slices than it needs by size only if each has this many bytes.
const SLICE_BYTES_MIN: u64 = 1 << 20;

/// There are twice as many slices as partitions if each has this many bytes. A row group belongs
/// to the slice in which it begins, so a file of seven is cut in halves of four and three; with
/// quarters, whoever has the light one takes another.
const EVEN_BYTES_MIN: u64 = 4 << 20;

/// Bytes of files below a plan.
pub(crate) fn scan_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = match plan.downcast_ref::<DataSourceExec>() {
        Some(scan) => match scan.data_source().downcast_ref::<FileScanConfig>() {
            Some(config) => config.file_groups.iter().map(group_bytes).sum(),
            None => 0,
        },
        None => 0,
    };
    own + plan.children().into_iter().map(scan_bytes).sum::<u64>()
}

/// Bytes of the files that slices name.
pub(crate) fn slice_bytes(slices: &SliceKind) -> u64 {
    match slices {
        SliceKind::Files(list) => list.slices.iter().map(|s| s.weight_bytes).sum(),
        _ => 0,
    }
}

fn group_bytes(group: &FileGroup) -> u64 {
    let file_bytes = |file: &datafusion::datasource::listing::PartitionedFile| match &file.range {
        Some(range) => (range.end - range.start).max(0) as u64,
        None => file.object_meta.size,
    };
    group.iter().map(file_bytes).sum()
}

/// Splits a scan: the scan without its files, and the files in slices.
pub(crate) fn slice_scan(
    plan: &Arc<dyn ExecutionPlan>,
    options: &CutOptions,
    config: &SessionConfig,
) -> Result<(Arc<dyn ExecutionPlan>, FileSlices)> {
    let not_a_scan = || Error::bug("the driving leaf of a stage is not a file scan");
    let exec = plan.downcast_ref::<DataSourceExec>().ok_or_else(not_a_scan)?;
    let scan = exec.data_source().downcast_ref::<FileScanConfig>().ok_or_else(not_a_scan)?;
    let mut slices = Vec::new();
    for group in split(scan, options, config)? {
        let weight_bytes = group_bytes(&group);
        let group = encode_group(&without_statistics(group))?;
        slices.push(Slice { weight_bytes, group, ..Slice::default() });
    }
    let bare = FileScanConfigBuilder::from(scan.clone())
        .with_file_groups(vec![FileGroup::default()])
        .with_statistics(Statistics::new_unknown(scan.file_schema()))
        .build();
    let marked = SliceScanExec::new(DataSourceExec::from_data_source(bare));
    Ok((Arc::new(marked), FileSlices { slices }))
}

/// The scan's files in groups of about the slice size.
fn split(
    scan: &FileScanConfig,
    options: &CutOptions,
    config: &SessionConfig,
) -> Result<Vec<FileGroup>> {
    let groups = &scan.file_groups;
    let total: u64 = groups.iter().map(group_bytes).sum();
    let by_size = total.div_ceil(options.slice_bytes.0.max(1)) as usize;
    let at_least = |bytes: u64, slices: usize| slices.min(total.div_ceil(bytes) as usize);
    let by_width = at_least(SLICE_BYTES_MIN, options.slices_min);
    let even = at_least(EVEN_BYTES_MIN, 2 * options.slices_min);
    let wanted = by_size.max(by_width).max(even).max(1);
    // Declared order holds within the groups that the planner made: keep them.
    if !scan.output_ordering.is_empty() || groups.len() >= wanted {
        return Ok(groups.clone());
    }
    let min_bytes = config.options().optimizer.repartition_file_min_size.min(1 << 20);
    let split = scan.repartitioned(wanted, min_bytes, None).map_err(df)?;
    if let Some(split) = split.as_ref().and_then(|s| s.downcast_ref::<FileScanConfig>()) {
        return Ok(split.file_groups.clone());
    }
    let files: Vec<_> = groups.iter().flat_map(|group| group.iter().cloned()).collect();
    Ok(FileGroup::new(files).split_files(wanted))
}

/// Statistics of files are for planning, and larger than all else in a slice.
fn without_statistics(group: FileGroup) -> FileGroup {
    let mut files = group.into_inner();
    for file in &mut files {
        file.statistics = None;
    }
    FileGroup::new(files)
}
