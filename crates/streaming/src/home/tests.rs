//! Homes under loss, duplication, disorder and owners of the past.

use dunlin_fuzz::Chance;

use super::*;
use crate::cut::{SourceCut, SplitRange};
use crate::id::SplitId;
use crate::time::Watermark;

const S: SlotId = SlotId::new(0, 0);
const T: SlotId = SlotId::new(1, 0);

type Message = std::result::Result<Frame<String>, Marker>;

fn cut(to: u64) -> Cut {
    Cut { at_ms: to, ranges: vec![SplitRange { split: SplitId(0), from: 0, to, ends: false }] }
}

/// Everything of one mb from one slot; the rows say who, when and what.
fn sent(from: SlotId, term: u64, mb: u64, frames: u32, to: u64) -> Vec<Message> {
    let body = |sequence: u32| format!("{from}@{term} {mb}:{sequence}");
    let frame = |sequence: u32| Frame {
        from,
        term: Term(term),
        mb: Mb(mb),
        sequence,
        rows: u64::from(sequence) + 1,
        checksum: checksum(body(sequence).as_bytes()),
        body: body(sequence),
    };
    let all: Vec<Frame<String>> = (0..frames).map(frame).collect();
    let marker = Marker {
        from,
        term: Term(term),
        mb: Mb(mb),
        frames,
        rows: all.iter().map(|frame| frame.rows).sum(),
        checksum: all.iter().fold(0, |sum, frame| sum.wrapping_add(frame.checksum)),
        watermark: Watermark(mb as i64),
        idle: false,
        cuts: Cuts::from([(from, SourceCut { term: Term(term), cut: cut(to) })]),
    };
    all.into_iter().map(Ok).chain([Err(marker)]).collect()
}

fn home(upstream: &[SlotId]) -> Home<String> {
    let mut views = Views::default();
    for source in upstream {
        views.pinned(*source, Term(1), &Pins { first: Mb(1), cuts: Vec::new() });
    }
    Home::new(upstream.to_vec(), Mb(1), BTreeMap::new(), views)
}

fn give(home: &mut Home<String>, message: &Message) -> Receipt {
    match message.clone() {
        Ok(frame) => home.frame(frame),
        Err(marker) => home.marker(marker),
    }
}

fn take(home: &mut Home<String>) -> Option<Sealed<String>> {
    home.take().expect("no bug")
}

#[test]
fn trap_15_doubled_and_reordered_frames_count_once_and_in_order() {
    for seed in 0..1500 {
        let mut chance = Chance::new(seed);
        let mbs = 1 + chance.below(4) as u64;
        let mut afloat = Vec::new();
        let mut expected = Vec::new();
        for mb in 1..=mbs {
            for from in [S, T] {
                let frames = chance.below(4) as u32;
                let all = sent(from, 1, mb, frames, mb);
                let bodies = all.iter().filter_map(|m| m.as_ref().ok().map(|f| f.body.clone()));
                expected.push((mb, from, bodies.collect::<Vec<_>>()));
                afloat.extend(all.iter().cloned().chain(all.iter().cloned()));
            }
        }
        let mut home = home(&[S, T]);
        let mut merged = Vec::new();
        while !afloat.is_empty() {
            let message = afloat.swap_remove(chance.below(afloat.len()));
            give(&mut home, &message);
            while let Some(sealed) = take(&mut home) {
                let inputs = sealed.inputs.into_iter();
                merged.extend(inputs.map(|input| (sealed.mb.0, input.from, input.bodies)));
            }
        }
        // Also trap 19: the order of merging is that of slots.
        assert_eq!(merged, expected, "seed {seed}");
    }
}

#[test]
fn trap_16_what_is_lost_is_asked_for_and_only_that() {
    for seed in 0..1500 {
        let mut chance = Chance::new(seed);
        let mut home = home(&[S, T]);
        let mut rounds = 0;
        while home.next() <= Mb(5) {
            for ask in home.ask(3) {
                assert!(ask.mb >= home.next() && ask.mb.0 < home.next().0 + 3, "seed {seed}");
                for message in sent(ask.from, 1, ask.mb.0, 2, ask.mb.0) {
                    if !chance.once_in(3) {
                        give(&mut home, &message);
                    }
                }
            }
            while take(&mut home).is_some() {}
            rounds += 1;
            assert!(rounds < 200, "seed {seed} hangs");
        }
    }
}

#[test]
fn trap_17_an_mb_waits_for_all_slots_on_all_edges() {
    let mut home = home(&[S, T]);
    for message in sent(S, 1, 1, 2, 9) {
        give(&mut home, &message);
    }
    assert_eq!(take(&mut home), None);
    assert_eq!(home.ask(1), [Ask { mb: Mb(1), from: T }]);
    assert_eq!(home.pokes(), [Ask { mb: Mb(1), from: T }]);
    for message in sent(T, 1, 1, 0, 9) {
        give(&mut home, &message);
    }
    assert_eq!(take(&mut home).map(|sealed| sealed.inputs.len()), Some(2));
    assert_eq!(home.pokes(), []);
}

#[test]
fn trap_15_frames_of_two_terms_are_never_put_together() {
    let mut home = home(&[S]);
    let (old, new) = (sent(S, 1, 1, 2, 9), sent(S, 2, 1, 2, 9));
    let pins = Pins { first: Mb(1), cuts: vec![cut(9)] };
    home.heard(S, Term(2), Some(&pins)).expect("nothing was merged");
    give(&mut home, &old[0]);
    give(&mut home, &old[2]);
    give(&mut home, &new[1]);
    assert_eq!(take(&mut home), None);
    give(&mut home, &new[2]);
    assert_eq!(take(&mut home), None);
    give(&mut home, &new[0]);
    assert_eq!(give(&mut home, &old[1]), Receipt::OldTerm);
    let sealed = take(&mut home).expect("sealed");
    assert_eq!(sealed.inputs[0].bodies, ["0.0@2 1:0", "0.0@2 1:1"]);
    assert_eq!(give(&mut home, &old[1]), Receipt::Late);
}

#[test]
fn trap_14_what_a_former_owner_cut_waits_for_the_pins_and_then_stands_or_is_dropped() {
    for conforms in [true, false] {
        let mut home = home(&[S]);
        assert_eq!(home.promise(S, Term(2)), Some(vec![]));
        assert_eq!(home.promise(S, Term(1)), None);
        for message in sent(S, 1, 1, 1, 9) {
            give(&mut home, &message);
        }
        assert_eq!((take(&mut home), home.waits_for_pins()), (None, Some(S)));
        let pins = Pins { first: Mb(1), cuts: vec![cut(if conforms { 9 } else { 8 })] };
        home.heard(S, Term(2), Some(&pins)).expect("nothing was merged");
        assert_eq!(take(&mut home).is_some(), conforms);
        let missing = Ask { mb: Mb(if conforms { 2 } else { 1 }), from: S };
        assert_eq!(home.ask(9), [missing]);
    }
}

#[test]
fn trap_28_a_home_tells_what_it_merged_and_forgets_it_with_the_commit() {
    let mut home = home(&[S]);
    for mb in 1..=3 {
        sent(S, 1, mb, 1, mb * 10).iter().for_each(|message| {
            give(&mut home, message);
        });
    }
    assert!(take(&mut home).is_some() && take(&mut home).is_some());
    let merged = home.promise(S, Term(2)).expect("not fenced");
    assert_eq!(merged, [(Mb(1), cut(10)), (Mb(2), cut(20))], "the third is here, and not merged");
    assert_eq!(take(&mut home), None, "a promise");
    home.committed(Mb(1));
    assert_eq!(home.merged_of(S), [(Mb(2), cut(20))]);
}

#[test]
fn trap_14_a_home_of_the_past_finds_out_before_it_goes_on() {
    let mut home = home(&[S]);
    sent(S, 1, 1, 1, 10).iter().for_each(|message| {
        give(&mut home, message);
    });
    assert!(take(&mut home).is_some());
    // The successor asked this slot's new owner, which has merged nothing, and cut anew.
    sent(S, 2, 2, 1, 20).iter().for_each(|message| {
        give(&mut home, message);
    });
    assert_eq!((take(&mut home), home.waits_for_pins()), (None, Some(S)));
    let pins = Pins { first: Mb(1), cuts: vec![] };
    let error = home.heard(S, Term(2), Some(&pins)).expect_err("of the past");
    assert_eq!(error.kind(), dunlin_base::Kind::Fenced);
}

#[test]
fn slots_that_disagree_about_a_cut_are_a_bug() {
    let mut home = home(&[S, T]);
    let mut marker = sent(T, 1, 1, 0, 9).remove(0).expect_err("a marker");
    marker.cuts.insert(S, SourceCut { term: Term(1), cut: cut(8) });
    home.marker(marker);
    sent(S, 1, 1, 0, 9).iter().for_each(|message| {
        give(&mut home, message);
    });
    assert_eq!(home.take().expect_err("T5").kind(), dunlin_base::Kind::Bug);
}

#[test]
fn what_is_too_far_strange_or_damaged_is_not_merged() {
    let mut home = home(&[S]);
    assert_eq!(give(&mut home, &sent(T, 1, 1, 0, 9)[0]), Receipt::Stranger);
    assert_eq!(give(&mut home, &sent(S, 1, 2 + MBS_AHEAD_MAX, 0, 9)[0]), Receipt::Early);
    let mut all = sent(S, 1, 1, 1, 9);
    if let Ok(frame) = &mut all[0] {
        frame.checksum ^= 1;
    }
    all.iter().for_each(|message| {
        give(&mut home, message);
    });
    assert_eq!(take(&mut home), None);
    assert_eq!(home.ask(1).len(), 1);
    let again: Vec<Receipt> = sent(S, 1, 1, 1, 9).iter().map(|m| give(&mut home, m)).collect();
    assert_eq!(again, [Receipt::Kept, Receipt::Kept], "what was damaged is not in the way");
    assert!(take(&mut home).is_some());
}
