//! Records over random histories, and the steps of a life.

use std::collections::BTreeMap;

use dunlin_base::ProcessId;
use dunlin_fuzz::Chance;

use super::*;
use crate::cut::Pins;
use crate::group::{Calendar, Group};
use crate::id::{Epoch, Mb, Term};
use crate::tuner::TunerState;

fn who(number: u128) -> ProcessId {
    ProcessId::from_u128(number)
}

/// Groups of two mbs each.
fn calendar(groups: u64) -> Calendar {
    let mut calendar = Calendar::default();
    for epoch in 1..=groups {
        calendar.note(&Group {
            epoch: Epoch(epoch),
            first: Mb(2 * epoch - 1),
            placement: BTreeMap::new(),
            splits: BTreeMap::new(),
            tuner: TunerState::default(),
        });
    }
    calendar
}

#[test]
fn t1_at_any_time_one_holding_does_a_group_and_terms_grow() {
    for seed in 0..2000 {
        let mut chance = Chance::new(seed);
        let mut record: Option<SlotRecord> = None;
        let (mut committed, mut highest) = (Epoch(0), Term(0));
        for _ in 0..30 {
            let owner = who(chance.below(4) as u128);
            let new = match &record {
                Some(old) if !chance.once_in(3) => {
                    let from = Epoch(old.latest().from.0.max(committed.0) + chance.below(3) as u64);
                    match old.pruned(committed).handed_over(owner, from, None) {
                        Ok(new) => new,
                        Err(_) => continue,
                    }
                }
                old => SlotRecord::claimed(old.as_ref(), Kind::Keyed, owner, committed, Mb(1)),
            };
            SlotRecord::check(record.as_ref(), &new, committed).expect("a rightful write");
            assert!(new.latest().term > highest);
            highest = new.latest().term;
            for epoch in committed.0 + 1..committed.0 + 4 {
                let covering = new.covering(Epoch(epoch)).expect("somebody does it");
                assert!(new.needed(committed).any(|needed| needed == covering), "seed {seed}");
            }
            record = Some(new);
            committed = Epoch(committed.0 + chance.below(2) as u64);
        }
    }
}

#[test]
fn t1_taking_a_group_from_a_live_holding_or_using_a_term_again_is_refused() {
    let first = SlotRecord::claimed(None, Kind::Source, who(1), Epoch(0), Mb(1));
    assert_eq!(first.pins(), Some(&Pins { first: Mb(1), cuts: vec![] }));
    let handed = first.handed_over(who(2), Epoch(3), None).expect("later");
    let claimed = SlotRecord::claimed(Some(&handed), Kind::Source, who(3), Epoch(1), Mb(3));
    assert_eq!((claimed.latest().term, claimed.pins()), (Term(3), None));
    SlotRecord::check(Some(&handed), &claimed, Epoch(1)).expect("a claim");
    assert!(
        SlotRecord::check(Some(&handed), &claimed, Epoch(2)).is_err(),
        "from before the commit"
    );
    assert!(SlotRecord::check(Some(&claimed), &handed, Epoch(1)).is_err(), "terms fall");
    assert!(SlotRecord::check(Some(&handed), &first, Epoch(0)).is_err(), "a holding vanishes");
    assert!(first.handed_over(who(2), Epoch(1), None).is_err());
}

#[test]
fn a_slot_is_free_while_anyone_is_gone_whose_ring_may_be_needed() {
    let first = SlotRecord::claimed(None, Kind::Keyed, who(1), Epoch(0), Mb(1));
    let handed = first.handed_over(who(2), Epoch(3), None).expect("later");
    let gone = |number| move |owner: ProcessId| owner == who(number);
    assert!(handed.is_free(Epoch(0), gone(1)) && handed.is_free(Epoch(1), gone(1)));
    assert!(!handed.is_free(Epoch(2), gone(1)), "all of its groups are committed");
    assert!(handed.is_free(Epoch(2), gone(2)));
    assert_eq!(handed.pruned(Epoch(2)).needed(Epoch(2)).count(), 1);
}

#[test]
fn a_life_restores_gathers_runs_and_gives_a_part_at_each_border() {
    let record = SlotRecord::claimed(None, Kind::Source, who(1), Epoch(2), Mb(5));
    let stays = |_| Some(who(1));
    let calendar = calendar(5);
    let mut life = Life::new(record.latest(), Kind::Source, Epoch(2), Mb(5));
    assert_eq!(life.step(&calendar, stays), Step::Restore { commit: Epoch(2), parts: vec![] });
    life.restored(true);
    assert_eq!(life.step(&calendar, stays), Step::Gather);
    life.gathered();
    for mb in [5, 6] {
        assert_eq!(life.step(&calendar, stays), Step::Run(Mb(mb)));
        life.ran(Mb(mb));
    }
    assert_eq!(life.step(&calendar, stays), Step::Part(Epoch(3)));
    life.part_taken(Epoch(3));
    for mb in [7, 8] {
        assert_eq!(life.step(&calendar, stays), Step::Run(Mb(mb)), "the part is written meanwhile");
        life.ran(Mb(mb));
    }
    life.part_taken(Epoch(4));
    assert_eq!(life.step(&calendar, stays), Step::Wait(WaitsFor::Commit(Epoch(3))));
    life.part_written(Epoch(3));
    life.committed(Epoch(3));
    assert_eq!(life.step(&calendar, stays), Step::Run(Mb(9)));
    life.ran(Mb(9));
    life.ran(Mb(10));
    life.part_taken(Epoch(5));
    assert_eq!(life.step(&calendar, stays), Step::Wait(WaitsFor::Group(Epoch(6))));
}

#[test]
fn a_slot_goes_to_another_after_its_parts_and_its_ring_is_served_until_the_commit() {
    let first = SlotRecord::claimed(None, Kind::Keyed, who(1), Epoch(0), Mb(1));
    let moves = |epoch| Some(who(if epoch < Epoch(2) { 1 } else { 2 }));
    let calendar = calendar(3);
    let mut life = Life::new(first.latest(), Kind::Keyed, Epoch(0), Mb(1));
    life.restored(false);
    life.ran(Mb(1));
    life.ran(Mb(2));
    assert_eq!(life.step(&calendar, moves), Step::Part(Epoch(1)));
    life.part_taken(Epoch(1));
    assert_eq!(life.step(&calendar, moves), Step::Wait(WaitsFor::Part(Epoch(1))));
    life.part_written(Epoch(1));
    assert_eq!(life.step(&calendar, moves), Step::HandOver { to: who(2), from: Epoch(2) });
    let handed = first.handed_over(who(2), Epoch(2), None).expect("later");
    life.record(&handed);
    assert_eq!(life.step(&calendar, moves), Step::Serve(Epoch(1)));
    let mut heir = Life::new(handed.latest(), Kind::Keyed, Epoch(0), Mb(3));
    let restore = Step::Restore { commit: Epoch(0), parts: vec![Epoch(1)] };
    assert_eq!(heir.step(&calendar, moves), restore);
    heir.restored(true);
    assert_eq!(heir.step(&calendar, moves), Step::Run(Mb(3)));
    life.committed(Epoch(1));
    assert_eq!(life.step(&calendar, moves), Step::Done);
}

#[test]
fn after_a_hand_over_was_sent_nothing_runs_though_its_receiver_is_gone() {
    let first = SlotRecord::claimed(None, Kind::Source, who(1), Epoch(0), Mb(1));
    let calendar = calendar(3);
    let mut life = Life::new(first.latest(), Kind::Source, Epoch(0), Mb(1));
    life.restored(false);
    life.ran(Mb(1));
    life.ran(Mb(2));
    life.part_taken(Epoch(1));
    life.part_written(Epoch(1));
    let to_other = Step::HandOver { to: who(2), from: Epoch(2) };
    assert_eq!(life.step(&calendar, |_| Some(who(2))), to_other);
    // Not sent yet: it may stay.
    assert_eq!(life.step(&calendar, |_| None), Step::Run(Mb(3)));
    life.handing_over();
    let to_itself = Step::HandOver { to: who(1), from: Epoch(2) };
    assert_eq!(life.step(&calendar, |_| None), to_itself);
    let record = first.handed_over(who(1), Epoch(2), None).expect("later");
    life.record(&record);
    assert_eq!(life.step(&calendar, |_| None), Step::Serve(Epoch(1)));
}

#[test]
fn trap_14_who_is_not_in_the_record_any_more_stops() {
    let first = SlotRecord::claimed(None, Kind::Keyed, who(1), Epoch(0), Mb(1));
    let claimed = SlotRecord::claimed(Some(&first), Kind::Keyed, who(2), Epoch(0), Mb(1));
    for handed_on in [false, true] {
        let mut life = Life::new(first.latest(), Kind::Keyed, Epoch(0), Mb(1));
        life.restored(false);
        if handed_on {
            life.handed_over(Epoch(2));
        }
        life.record(&first);
        assert_ne!(life.step(&calendar(1), |_| None), Step::Stop);
        life.record(&claimed);
        assert_eq!(life.step(&calendar(1), |_| None), Step::Stop);
    }
}
