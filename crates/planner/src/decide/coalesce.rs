//! Slices of stages that read exchanges: from the sizes of the partitions that were really written.

use std::collections::BTreeMap;

use dunlin_proto::output::StageOutput;
use dunlin_proto::plan::{Slice, StageSpec};

/// Partitions below this are always joined with a neighbour.
const SLICE_BYTES_MIN: u64 = 1 << 20;

/// Rows and bytes of each of `n` partitions over all inputs.
fn partition_sizes(
    inputs: &[u32],
    n: u32,
    sealed: &BTreeMap<u32, &StageOutput>,
) -> Vec<(u64, u64)> {
    let mut sizes = vec![(0, 0); n as usize];
    for output in inputs.iter().filter_map(|input| sealed.get(input)) {
        for partition in output.maps.iter().flat_map(|map| &map.partitions) {
            if let Some(size) = sizes.get_mut(partition.partition as usize) {
                size.0 += partition.rows;
                size.1 += partition.bytes;
            }
        }
    }
    sizes
}

/// Slices of neighbouring hash partitions: empty ones dropped (no operator that shares out a hash
/// exchange makes rows from none), small ones joined. A slice stays below `bytes_max` unless one
/// partition alone is larger, and slices are not made so large that fewer than `n` would be busy.
pub(super) fn hash_slices(
    inputs: &[u32],
    n: u32,
    sealed: &BTreeMap<u32, &StageOutput>,
    bytes_max: u64,
) -> Vec<Slice> {
    let sizes = partition_sizes(inputs, n, sealed);
    let total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    let fair = total / u64::from(n.max(1));
    let target = fair.min(bytes_max).max(SLICE_BYTES_MIN.min(bytes_max));
    let mut slices: Vec<Slice> = Vec::new();
    for (partition, (rows, bytes)) in (0..).zip(sizes) {
        if rows == 0 {
            continue;
        }
        match slices.last_mut() {
            Some(last) if last.weight_bytes + bytes <= target => {
                last.weight_bytes += bytes;
                last.partition_count = partition - last.first_partition + 1;
            }
            _ => slices.push(Slice {
                weight_bytes: bytes,
                first_partition: partition,
                partition_count: 1,
                ..Slice::default()
            }),
        }
    }
    slices
}

/// One slice for each stream that was written, in the order of stages and map tasks.
pub(super) fn forward_slices(inputs: &[u32], sealed: &BTreeMap<u32, &StageOutput>) -> Vec<Slice> {
    let mut slices = Vec::new();
    for (stage, output) in inputs.iter().filter_map(|i| Some((*i, sealed.get(i)?))) {
        for partition in output.maps.iter().flat_map(|map| &map.partitions) {
            slices.push(Slice {
                weight_bytes: partition.bytes,
                first_partition: partition.partition,
                partition_count: 1,
                stage,
                ..Slice::default()
            });
        }
    }
    slices
}

/// The one slice of a stage that is not shared out.
pub(super) fn whole_slice(spec: &StageSpec, sealed: &BTreeMap<u32, &StageOutput>) -> Slice {
    let inputs = spec.inputs.iter().filter_map(|i| sealed.get(&i.stage));
    let read: u64 = inputs
        .flat_map(|output| output.maps.iter().flat_map(|map| &map.partitions))
        .map(|partition| partition.bytes)
        .sum();
    Slice { weight_bytes: spec.scan_bytes + read, ..Slice::default() }
}
