//! Pins and standing, by units and over random histories of owners.

use dunlin_fuzz::Chance;

use super::*;

const SOURCE: SlotId = SlotId::new(0, 0);
const A: SlotId = SlotId::new(1, 0);
const B: SlotId = SlotId::new(2, 0);

fn cut(from: u64, to: u64) -> Cut {
    Cut { at_ms: to, ranges: vec![SplitRange { split: SplitId(0), from, to, ends: false }] }
}

fn cuts(term: u64, cut: Cut) -> Cuts {
    Cuts::from([(SOURCE, SourceCut { term: Term(term), cut })])
}

#[test]
fn trap_28_what_any_home_has_merged_is_pinned() {
    let mut gather = Gather::new(Mb(5), [A, B]);
    assert_eq!(gather.ask().count(), 0);
    gather.owner(A, Term(1));
    gather.owner(B, Term(4));
    assert_eq!(gather.ask().collect::<Vec<_>>(), [(A, Term(1)), (B, Term(4))]);
    gather.answer(A, Term(1), [(Mb(4), cut(0, 9)), (Mb(5), cut(9, 12))]).expect("agrees");
    assert_eq!(gather.pins().expect("no gap"), None);
    // The stage after it is further: it had the first stage's output.
    gather.answer(B, Term(4), [(Mb(5), cut(9, 12)), (Mb(6), cut(12, 12))]).expect("agrees");
    let pins = gather.pins().expect("no gap").expect("all have answered");
    assert_eq!(pins, Pins { first: Mb(5), cuts: vec![cut(9, 12), cut(12, 12)] });
    assert_eq!((pins.end(), pins.get(Mb(4)), pins.get(Mb(7))), (Mb(7), None, None));
}

#[test]
fn nobody_answers_for_a_home_that_has_changed_hands() {
    let mut gather = Gather::new(Mb(1), [A]);
    gather.owner(A, Term(1));
    gather.owner(A, Term(2));
    gather.answer(A, Term(1), [(Mb(1), cut(0, 3))]).expect("agrees");
    assert_eq!(gather.pins().expect("no gap"), None);
    gather.owner(A, Term(1));
    gather.answer(A, Term(2), []).expect("agrees");
    assert_eq!(gather.pins().expect("no gap").expect("answered").cuts, [cut(0, 3)]);
}

#[test]
fn two_cuts_of_one_mb_or_a_gap_are_a_bug_and_not_a_result() {
    let mut gather = Gather::new(Mb(1), [A, B]);
    gather.owner(A, Term(1));
    gather.owner(B, Term(1));
    gather.answer(A, Term(1), [(Mb(1), cut(0, 3))]).expect("first");
    assert!(gather.answer(B, Term(1), [(Mb(1), cut(0, 4))]).is_err());
    gather.answer(B, Term(1), [(Mb(3), cut(4, 5))]).expect("nothing else is known of it");
    assert!(gather.pins().is_err());
}

#[test]
fn trap_14_cuts_of_former_owners_stand_only_as_pinned() {
    let mut views = Views::default();
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 3))), Standing::Unknown(SOURCE));
    assert!(views.pinned(SOURCE, Term(1), &Pins { first: Mb(1), cuts: vec![] }));
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 3))), Standing::Stands);
    views.heard(SOURCE, Term(2));
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 3))), Standing::Unknown(SOURCE));
    // Its own cut, too: what it goes on from is not known here.
    assert_eq!(views.judge(Mb(1), &cuts(2, cut(0, 4))), Standing::Unknown(SOURCE));
    views.pinned(SOURCE, Term(1), &Pins { first: Mb(1), cuts: vec![cut(0, 9)] });
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 9))), Standing::Unknown(SOURCE));
    views.pinned(SOURCE, Term(2), &Pins { first: Mb(1), cuts: vec![cut(0, 3)] });
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 3))), Standing::Stands);
    assert_eq!(views.judge(Mb(1), &cuts(1, cut(0, 4))), Standing::Void);
    assert_eq!(views.judge(Mb(2), &cuts(1, cut(3, 5))), Standing::Void);
    assert_eq!(views.judge(Mb(2), &cuts(2, cut(3, 4))), Standing::Stands);
    assert_eq!(views.judge(Mb(1), &cuts(2, cut(0, 4))), Standing::Void, "it keeps to its own pins");
    views.heard(SOURCE, Term(3));
    assert_eq!(views.judge(Mb(1), &cuts(2, cut(0, 3))), Standing::Unknown(SOURCE));
}

/// Owners come and go, their markers linger; a home merges what stands, or dies. All that live homes have
/// merged is of one cut per mb.
#[test]
fn trap_28_no_history_of_owners_gives_an_mb_two_cuts() {
    for seed in 0..3000 {
        let mut chance = Chance::new(seed);
        let mut homes = [(Views::default(), Vec::<Cut>::new()), (Views::default(), Vec::new())];
        let mut home_terms = [Term(1), Term(1)];
        let mut afloat: Vec<(usize, Cuts)> = Vec::new();
        for term in 1..6u64 {
            let mut gather = Gather::new(Mb(0), [A, B]);
            for home in 0..2 {
                let slot = [A, B][home];
                gather.owner(slot, home_terms[home]);
                homes[home].0.heard(SOURCE, Term(term));
                let merged = (0..).map(Mb).zip(homes[home].1.clone());
                gather.answer(slot, home_terms[home], merged).expect("one cut each");
            }
            // What arrives between the answers and the pins must not count.
            for _ in 0..chance.below(4) {
                merge_one(&mut homes, &afloat, &mut chance);
            }
            let pins = gather.pins().expect("no gap").expect("answered");
            if chance.once_in(4) {
                continue; // The new owner dies before its pins are written.
            }
            homes.iter_mut().for_each(|home| {
                home.0.pinned(SOURCE, Term(term), &pins);
            });
            let mut offset = pins.cuts.last().map_or(0, |cut| cut.ranges[0].to);
            for mb in 0..8 {
                let cut = pins.get(Mb(mb)).cloned().unwrap_or_else(|| {
                    let from = offset;
                    offset += chance.below(5) as u64;
                    cut(from, offset)
                });
                afloat.push((mb as usize, cuts(term, cut)));
                for _ in 0..chance.below(3) {
                    merge_one(&mut homes, &afloat, &mut chance);
                }
            }
            if chance.once_in(3) {
                // A home dies; its successor begins with what the store shows.
                let home = chance.below(2);
                home_terms[home] = home_terms[home].next();
                homes[home] = (Views::default(), Vec::new());
                homes[home].0.pinned(SOURCE, Term(term), &pins);
            }
            let both = homes[0].1.iter().zip(&homes[1].1);
            assert!(both.into_iter().all(|(a, b)| a == b), "seed {seed} term {term}: {homes:?}");
        }
    }
}

fn merge_one(homes: &mut [(Views, Vec<Cut>); 2], afloat: &[(usize, Cuts)], chance: &mut Chance) {
    let Some((mb, cuts)) = afloat.get(chance.below(afloat.len())) else { return };
    let (views, merged) = &mut homes[chance.below(2)];
    if merged.len() == *mb && views.judge(Mb(*mb as u64), cuts) == Standing::Stands {
        merged.push(cuts[&SOURCE].cut.clone());
    }
}

#[test]
fn a_fingerprint_is_of_the_cuts_and_not_of_who_ran_them() {
    let print = |cuts: &Cuts| fingerprints([(Mb(1), cuts)]);
    let one = cuts(1, cut(0, 3));
    assert_eq!(print(&one), print(&cuts(7, cut(0, 3))));
    assert_ne!(print(&one), print(&cuts(1, cut(0, 4))));
    let mut other_clock = cut(0, 3);
    other_clock.at_ms += 1;
    assert_ne!(print(&one), print(&cuts(1, other_clock)));
    assert_ne!(print(&one), fingerprints([(Mb(2), &one)]));
}
