//! Which slices to claim: how many, from which segment, which run. Pure.

use std::ops::Range;

use dunlin_base::{ProcessId, QueryId, StageId};
use xxhash_rust::xxh3::xxh3_64;

/// Segments that an executor tries first by preference. The others follow by chance, so that
/// executors that find their own ones empty spread out.
const PREFERRED: usize = 2;

/// How many slices to claim: enough for the free slots, few enough that executors that come late
/// still find work, at least one. Of a light stage an executor takes its whole share: to wait for
/// one that is busy would take longer than to come back for the rest.
pub(crate) fn size(free_slots: u32, remaining: u64, live_executors: usize, light: bool) -> u32 {
    let live = live_executors.max(1) as u64;
    let share = if light { remaining.div_ceil(live) } else { remaining / (2 * live) };
    let slots = u64::from(free_slots) * 4;
    u32::try_from(slots.min(share).max(1)).unwrap_or(u32::MAX)
}

/// The order in which an executor tries the segments of a stage. The preferred ones come by
/// rendezvous hash: the same for the same executor each time, so its caches are warm, and few of
/// them move when executors come and go.
pub(crate) fn order(
    executor: ProcessId,
    query: QueryId,
    stage: StageId,
    segment_count: u32,
    mut random_below: impl FnMut(u64) -> u64,
) -> Vec<u32> {
    let mut order: Vec<u32> = (0..segment_count).collect();
    order.sort_by_cached_key(|segment| std::cmp::Reverse(rank(executor, query, stage, *segment)));
    let rest = order.get_mut(PREFERRED..).unwrap_or_default();
    for i in (1..rest.len()).rev() {
        rest.swap(i, random_below(i as u64 + 1) as usize);
    }
    order
}

/// The executor that is the first choice for a segment.
pub(crate) fn first(
    executors: impl Iterator<Item = ProcessId>,
    query: QueryId,
    stage: StageId,
    segment: u32,
) -> Option<ProcessId> {
    executors.max_by_key(|executor| rank(*executor, query, stage, segment))
}

fn rank(executor: ProcessId, query: QueryId, stage: StageId, segment: u32) -> u64 {
    let mut bytes = [0; 40];
    bytes[..16].copy_from_slice(&executor.to_u128().to_le_bytes());
    bytes[16..32].copy_from_slice(&query.to_u128().to_le_bytes());
    bytes[32..36].copy_from_slice(&stage.0.to_le_bytes());
    bytes[36..].copy_from_slice(&segment.to_le_bytes());
    xxh3_64(&bytes)
}

/// The run to claim: the start of the first free run that is long enough, else the longest.
pub(crate) fn run(free: &[Range<u32>], size: u32) -> Option<Range<u32>> {
    let long_enough = free.iter().find(|run| run.end - run.start >= size);
    let run = long_enough.or_else(|| free.iter().max_by_key(|run| run.end - run.start))?;
    Some(run.start..run.end.min(run.start.saturating_add(size)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn claims_shrink_as_work_runs_out_and_never_to_nothing() {
        assert_eq!(size(8, 10_000, 4, false), 32);
        assert_eq!(size(8, 80, 4, false), 10);
        assert_eq!(size(8, 3, 4, false), 1);
        assert_eq!(size(0, 0, 0, false), 1);
        assert_eq!(size(u32::MAX, u64::MAX, 1, false), u32::MAX);
    }

    #[test]
    fn light_stages_are_shared_out_evenly() {
        assert_eq!((size(1, 4, 2, true), size(1, 2, 2, true)), (2, 1));
        assert_eq!((size(1, 5, 2, true), size(1, 40, 2, true), size(2, 40, 2, true)), (3, 4, 8));
        assert_eq!((size(1, 1, 9, true), size(0, 0, 0, true)), (1, 1));
    }

    #[test]
    fn a_late_executor_always_finds_work() {
        // Four executors with endless slots claim in turn: before the last slices are taken, each
        // claim leaves at least half of what was there.
        let mut remaining = 1000u64;
        while remaining > 8 {
            let claimed = u64::from(size(u32::MAX, remaining, 4, false));
            assert!(claimed * 2 <= remaining, "{claimed} of {remaining}");
            remaining -= claimed;
        }
    }

    #[test]
    fn every_segment_is_tried_once_and_the_preferred_ones_first() {
        let (query, stage) = (QueryId::from_u128(5), StageId(1));
        let of = |executor: u128, chance: u64| {
            order(ProcessId::from_u128(executor), query, stage, 50, |below| chance % below)
        };
        for executor in 0..20 {
            let order = of(executor, 7);
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 50);
            assert_eq!(order[..PREFERRED], of(executor, 31)[..PREFERRED], "preference is stable");
            assert_ne!(order, of(executor, 31), "the rest is by chance");
        }
        let firsts: BTreeSet<u32> = (0..20).map(|executor| of(executor, 7)[0]).collect();
        assert!(firsts.len() > 10, "executors prefer different segments: {firsts:?}");
        assert_eq!(order(ProcessId::from_u128(1), query, stage, 1, |_| 0), [0]);
    }

    #[test]
    fn a_run_is_the_first_that_is_long_enough() {
        assert_eq!(run(&[0..2, 5..9, 10..30], 3), Some(5..8));
        assert_eq!(run(&[0..2, 5..9], 10), Some(5..9));
        assert_eq!(run(std::slice::from_ref(&(3..4)), 1), Some(3..4));
        assert_eq!(run(&[], 1), None);
    }
}
