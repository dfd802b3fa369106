//! Which partitions are read together: as the engine shares out a stage to the tasks of one executor.

use dunlin_base::PartitionId;
use dunlin_proto::output::StageOutput;
use dunlin_shuffle::{Share, partition_stats};

/// Neighbouring partitions of fewer bytes together are one slice (`planner::decide`).
const SLICE_BYTES: u64 = 1 << 20;

/// An executor claims so many slices for each of its slots, while half of all are more
/// (`queue::choose`).
const SLICES_A_SLOT: usize = 4;

/// What each stream of rows reads, in the order of the tasks. A task has `slots` of them.
pub(super) fn streams(output: &StageOutput, partitions: u32, slots: usize) -> Vec<Vec<Share>> {
    let mut slices = slices(output, partitions);
    let mut streams = Vec::new();
    while !slices.is_empty() {
        let claimed = (slots * SLICES_A_SLOT).min(slices.len() / 2).max(1);
        let rest = slices.split_off(claimed);
        let each = claimed.div_ceil(slots);
        streams.extend(slices.chunks(each).map(<[_]>::concat));
        slices = rest;
    }
    streams
}

fn slices(output: &StageOutput, partitions: u32) -> Vec<Vec<Share>> {
    let mut slices: Vec<(u64, Vec<Share>)> = Vec::new();
    for (partition, stats) in (0..).zip(partition_stats(output, partitions)) {
        let share = Share::whole(PartitionId(partition));
        match slices.last_mut() {
            Some((bytes, shares)) if *bytes + stats.bytes <= SLICE_BYTES => {
                *bytes += stats.bytes;
                shares.push(share);
            }
            _ => slices.push((stats.bytes, vec![share])),
        }
    }
    slices.into_iter().map(|(_, shares)| shares).collect()
}

#[cfg(test)]
mod tests {
    use dunlin_proto::output::{MapOutput, PartitionOutput};

    use super::*;

    fn read(partitions: u32, bytes: u64) -> Vec<Vec<u32>> {
        let written = |partition| PartitionOutput { partition, bytes, ..Default::default() };
        let partitions_of_map = (0..partitions).map(written).collect();
        let map = MapOutput { partitions: partitions_of_map, ..Default::default() };
        let streams = streams(&StageOutput { maps: vec![map] }, partitions, 2);
        let ids = |shares: Vec<Share>| shares.iter().map(|share| share.partition.0).collect();
        streams.into_iter().map(ids).collect()
    }

    #[test]
    fn each_partition_is_read_once_and_small_ones_together() {
        for (partitions, bytes) in [(1, 5), (20, 26 << 20), (2000, 268 << 10), (7, 600 << 10)] {
            let all: Vec<_> = read(partitions, bytes).concat();
            assert_eq!(all, (0..partitions).collect::<Vec<_>>());
        }
        assert_eq!(read(2000, 268 << 10)[0], (0..12).collect::<Vec<_>>(), "four slices of three");
        let large: Vec<_> = read(20, 26 << 20).iter().map(Vec::len).collect();
        assert_eq!(large, [4, 4, 3, 3, 2, 1, 1, 1, 1], "a claim leaves half of the rest");
    }
}
