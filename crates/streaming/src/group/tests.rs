//! Group records over random jobs and members.

use std::collections::BTreeSet;

use dunlin_base::Kind;
use dunlin_fuzz::Chance;

use super::*;
use crate::id::{StageNo, VSHARDS};
use crate::tuner::TunerOptions;

fn job(slots: &[u16]) -> Job {
    let stage = |(number, slots): (usize, &u16)| Stage {
        slots: *slots,
        inputs: (number > 0).then(|| StageNo(number as u16 - 1)).into_iter().collect(),
    };
    Job::new(slots.iter().enumerate().map(stage).collect(), TunerOptions::default()).expect("valid")
}

fn member(number: u128, cores: u32) -> Member {
    let executor = ProcessId::from_u128(number);
    Member { executor, cores, room: 1000, draining: false, straggling: false }
}

fn split(number: u32) -> (SplitId, StageNo) {
    (SplitId(number), StageNo(0))
}

fn load(placement: &BTreeMap<SlotId, ProcessId>, executor: ProcessId) -> usize {
    placement.values().filter(|owner| **owner == executor).count()
}

fn moved(a: &BTreeMap<SlotId, ProcessId>, b: &BTreeMap<SlotId, ProcessId>) -> usize {
    a.iter().filter(|(slot, executor)| b.get(slot) != Some(executor)).count()
}

#[test]
fn the_same_arguments_give_the_same_record_in_any_order() {
    let job = job(&[4, 8, 2]);
    let members = [member(1, 2), member(2, 4), member(3, 2)];
    let splits = [3, 1, 2].map(split);
    let measured = GroupMetrics::default();
    let one = next(&job, None, &members, &splits, &measured).expect("room");
    let turned: Vec<Member> = members.iter().rev().cloned().collect();
    let two = next(&job, None, &turned, &[2, 3, 1].map(split), &measured);
    assert_eq!(one, two.expect("room"));
    let loads = [1, 2, 3].map(|n| load(&one.0.placement, ProcessId::from_u128(n)));
    assert_eq!(loads.iter().sum::<usize>(), 14);
    assert!(loads[1] >= 6 && loads[0] >= 3 && loads[2] >= 3, "{loads:?}");
    let after = next(&job, Some(&one.0), &members, &splits, &measured).expect("room").0;
    assert_eq!((after.epoch, after.first), (Epoch(2), Mb(3)));
    assert_eq!((after.placement, after.splits), (one.0.placement, one.0.splits));
}

#[test]
fn a_join_or_a_leave_moves_as_few_slots_as_balance_needs() {
    for seed in 0..500 {
        let mut chance = Chance::new(seed);
        let job = job(&[1 + chance.below(9) as u16, 1 + chance.below(16) as u16]);
        let slots: Vec<SlotId> = job.slots().collect();
        let mut members: Vec<Member> =
            (0..1 + chance.below(5)).map(|n| member(n as u128 + 1, 2)).collect();
        let mut before = place(&slots, &BTreeMap::new(), &members).expect("room");
        for change in 0..8u128 {
            let gone = (members.len() > 1 && chance.once_in(2)).then(|| {
                let gone = chance.below(members.len());
                members.remove(gone).executor
            });
            if gone.is_none() {
                members.push(member(100 + change, 2));
            }
            let after = place(&slots, &before, &members).expect("room");
            assert_eq!(after.len(), slots.len());
            let loads: Vec<usize> = members.iter().map(|m| load(&after, m.executor)).collect();
            let (most, least) = (loads.iter().max(), loads.iter().min());
            assert!(most.zip(least).is_some_and(|(m, l)| m - l <= 1), "seed {seed} {loads:?}");
            // What must move: the slots of whoever left, or what a newcomer's share is.
            let needed = match gone {
                Some(executor) => load(&before, executor),
                None => load(&after, ProcessId::from_u128(100 + change)),
            };
            assert_eq!(moved(&before, &after), needed, "seed {seed} change {change}");
            before = after;
        }
    }
}

#[test]
fn trap_23_nothing_is_placed_where_there_is_no_room() {
    let job = job(&[2, 4]);
    let slots: Vec<SlotId> = job.slots().collect();
    let mut small = member(1, 16);
    small.room = 1;
    let placed = place(&slots, &BTreeMap::new(), &[small.clone(), member(2, 1)]).expect("room");
    assert_eq!(load(&placed, small.executor), 1);
    let mut full = member(2, 1);
    full.room = 4;
    let refused = place(&slots, &BTreeMap::new(), &[small, full]).expect_err("one is too many");
    assert_eq!(refused.kind(), Kind::Exhausted);
    assert_eq!(place(&slots, &BTreeMap::new(), &[]).expect_err("nobody").kind(), Kind::Exhausted);
}

#[test]
fn a_straggler_and_a_leaver_lose_their_slots_and_a_lone_straggler_keeps_them() {
    let slots: Vec<SlotId> = job(&[3, 3]).slots().collect();
    let mut members = [member(1, 2), member(2, 2), member(3, 2)];
    let before = place(&slots, &BTreeMap::new(), &members).expect("room");
    members[0].draining = true;
    members[1].straggling = true;
    let after = place(&slots, &before, &members).expect("room");
    assert_eq!(load(&after, members[2].executor), 6);
    let after = place(&slots, &before, &members[..2]).expect("the straggler is all there is");
    assert_eq!(load(&after, members[1].executor), 6);
}

#[test]
fn shards_are_all_owned_once_and_channels_follow_from_the_shape() {
    for slots in [1u16, 2, 3, 7, 100, 255, 256] {
        let job = job(&[2, slots]);
        let mut seen = 0;
        for slot in job.slots().filter(|slot| slot.stage == StageNo(1)) {
            let range = job.vshards(slot);
            assert!(range.start == seen && !range.is_empty());
            assert!(range.clone().all(|vshard| job.slot_of(StageNo(1), vshard) == slot));
            seen = range.end;
        }
        assert_eq!(seen, VSHARDS);
        assert_eq!(job.channels().len(), 2 * usize::from(slots));
    }
    assert!(
        Job::new(vec![Stage { slots: 1, inputs: vec![StageNo(0)] }], TunerOptions::default())
            .is_err()
    );
}

#[test]
fn trap_17_upstream_is_all_edges() {
    let source = || Stage { slots: 2, inputs: vec![] };
    let join = Stage { slots: 1, inputs: vec![StageNo(0), StageNo(1)] };
    let job = Job::new(vec![source(), source(), join], TunerOptions::default()).expect("valid");
    let upstream: BTreeSet<SlotId> = job.upstream(SlotId::new(2, 0)).into_iter().collect();
    let all = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(stage, number)| SlotId::new(stage, number));
    assert_eq!(upstream, BTreeSet::from(all));
    assert_eq!(job.downstream(SlotId::new(1, 1)), [SlotId::new(2, 0)]);
}

#[test]
fn new_splits_enter_where_there_are_fewest_and_old_ones_stay() {
    let job = job(&[3, 1]);
    let first = deal(&job, None, &[0, 1, 2, 3].map(split));
    let then = deal(&job, Some(&first), &[9, 4, 0].map(split));
    assert!(first.iter().all(|(split, slot)| then.get(split) == Some(slot)));
    assert_eq!(then[&SplitId(4)], SlotId::new(0, 1));
    assert_eq!(then[&SplitId(9)], SlotId::new(0, 2));
}

#[test]
fn a_calendar_knows_only_what_was_recorded() {
    let job = job(&[1]);
    let members = [member(1, 1)];
    let measured = GroupMetrics { coordination_us: 1, busy_us: 1, tick_us: 1, commit_us: 0 };
    let one = next(&job, None, &members, &[], &measured).expect("room").0;
    let two = next(&job, Some(&one), &members, &[], &measured).expect("room").0;
    let mut calendar = Calendar::default();
    calendar.note(&one);
    calendar.note(&two);
    assert_eq!(
        (calendar.of(Epoch(1)), calendar.of(Epoch(2))),
        (Some((Mb(1), Mb(2))), Some((Mb(3), Mb(6))))
    );
    assert_eq!(
        (calendar.epoch_of(Mb(2)), calendar.epoch_of(Mb(3))),
        (Some(Epoch(1)), Some(Epoch(2)))
    );
    assert_eq!((calendar.epoch_of(Mb(7)), calendar.after(Epoch(1))), (None, Some(Mb(3))));
    assert_eq!((calendar.after(Epoch(0)), calendar.after(Epoch(3))), (Some(Mb(1)), None));
}
