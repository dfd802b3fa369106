//! What claims, commits and failures do to a segment record.

use std::collections::BTreeSet;

use dunlin_base::Revision;

use super::*;

fn claimer(executor: &str, token: u64) -> Claimer {
    let owner = Owner { executor: executor.to_owned(), fence: Revision(7) };
    Claimer { owner, lease: 1, token, epoch: 0 }
}

/// Ranges as pairs, which compare and print well.
fn pairs(ranges: &[Range<u32>]) -> Vec<(u32, u32)> {
    ranges.iter().map(|range| (range.start, range.end)).collect()
}

fn nobody(_: &Claim) -> bool {
    false
}

fn output(slices: Range<u32>, attempt: u32) -> MapOutput {
    MapOutput {
        first_slice: slices.start,
        slice_count: slices.end - slices.start,
        attempt,
        ..MapOutput::default()
    }
}

fn committed(segment: &Segment, claimer: &Claimer, output: &MapOutput) -> Segment {
    match commit(segment, claimer, output) {
        CommitStep::Next(next) => next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_cover_a_stage_without_gaps() {
    assert_eq!([count(0, 64), count(127, 64), count(128, 64), count(1 << 20, 64)], [1, 1, 2, 256]);
    for slices in [1, 63, 129, 1000, 16_385, SLICES_MAX] {
        let segments = count(slices, 64);
        let mut next = 0;
        for k in 0..segments {
            let range = bounds(slices, segments, k);
            assert!(range.start == next && range.end > range.start, "{slices} {k}");
            next = range.end;
        }
        assert_eq!(next, slices);
    }
}

#[test]
fn free_runs_are_what_neither_claims_nor_commits_hold() {
    let a = claimer("a", 1);
    let segment = first(10, 1, 0);
    assert_eq!(pairs(&free_runs(&segment, nobody)), [(0, 10)]);
    let segment = claim(&segment, &(2..4), &a, 0, nobody);
    let segment = claim(&segment, &(6..8), &claimer("b", 2), 0, nobody);
    let segment = committed(&segment, &a, &output(3..4, 0));
    assert_eq!(free_runs(&segment, nobody), [0..2, 4..6, 8..10]);
    assert_eq!(free_runs(&segment, |c| c.executor == "b"), [0..2, 4..10]);
    assert_eq!(pairs(&held(&segment, 1)), [(2, 3)]);
}

#[test]
fn a_new_claim_takes_the_next_attempt_and_drops_void_ones() {
    let segment = claim(&first(4, 1, 0), &(0..4), &claimer("dead", 1), 0, nobody);
    let segment = claim(&segment, &(1..2), &claimer("b", 2), 5, |c| c.executor == "dead");
    assert_eq!(segment.next_attempt, 2);
    let claims: Vec<_> = segment.claims.iter().map(|c| (c.first_slice, c.attempt)).collect();
    assert_eq!(claims, [(1, 1)]);
}

#[test]
fn a_commit_in_the_middle_leaves_both_ends_claimed() {
    let a = claimer("a", 1);
    let segment = claim(&first(9, 1, 0), &(0..9), &a, 0, nobody);
    let segment = committed(&segment, &a, &output(3..5, 0));
    assert_eq!(held(&segment, 1), [0..3, 5..9]);
    assert_eq!(commit(&segment, &a, &output(3..5, 0)), CommitStep::Done);
    assert_eq!(commit(&segment, &a, &output(4..6, 0)), CommitStep::Lost, "half is done already");
    assert_eq!(commit(&segment, &claimer("b", 2), &output(0..1, 0)), CommitStep::Lost);
    let segment = committed(&segment, &a, &output(0..3, 0));
    let segment = committed(&segment, &a, &output(5..9, 0));
    assert!(is_complete(&segment) && segment.claims.is_empty());
}

#[test]
fn big_outputs_are_packed_and_none_is_lost() {
    let a = claimer("a", 1);
    let mut segment = claim(&first(60, 1, 0), &(0..60), &a, 0, nobody);
    for slice in 0..60 {
        let mut big = output(slice..slice + 1, 0);
        big.inline_blocks.push(vec![slice as u8; 1000].into());
        segment = committed(&segment, &a, &big);
        // What `record::Batch` does with packs is out of sight here: they stay inline.
        let inline: usize = segment.commits.iter().filter_map(inline_output).map(Bytes::len).sum();
        assert!(inline <= INLINE_OUTPUTS_MAX, "{inline} bytes are inline");
    }
    assert!(segment.packs.len() >= 3, "{} packs", segment.packs.len());
    let depot_free = |body: &Body| match &body.kind {
        Some(body::Kind::Inline(bytes)) => Ok(bytes.clone()),
        _ => Err(Error::bug("no blobs here")),
    };
    let all = outputs(&segment, depot_free).expect("all are inline");
    let slices: BTreeSet<u32> = all.iter().map(|m| m.first_slice).collect();
    assert_eq!((all.len(), slices.len()), (60, 60));
    strip_outputs(&mut segment);
    assert!(outputs(&segment, depot_free).expect("nothing").is_empty() && is_complete(&segment));
}

#[test]
fn giving_back_is_once_and_only_of_what_is_held() {
    let a = claimer("a", 1);
    let segment = claim(&first(9, 1, 0), &(2..8), &a, 0, nobody);
    let next = give_back(&segment, 1, &(5..8)).expect("it holds them");
    assert_eq!(pairs(&held(&next, 1)), [(2, 5)]);
    assert_eq!(give_back(&next, 1, &(5..8)), None);
    assert_eq!(give_back(&next, 2, &(2..5)), None);
}

fn failed(segment: &Segment, token: u64, attempt: u32, error: &Error) -> (Segment, Option<Error>) {
    match fail(segment, &claimer("a", token), attempt, error) {
        FailureStep::Next(next, fatal) => (next, fatal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_fourth_failure_of_a_slice_is_fatal_and_keeps_its_cause() {
    let error = Error::lost("a block is gone");
    let mut segment = first(9, 1, 0);
    for attempt in 0..4u32 {
        // Different ranges that share slice 4.
        let run = attempt..5;
        segment = claim(&segment, &run, &claimer("a", u64::from(attempt)), 0, nobody);
        let (next, fatal) = failed(&segment, u64::from(attempt), attempt, &error);
        segment = next;
        assert_eq!(fatal.is_some(), attempt == 3, "attempt {attempt}");
        if let Some(fatal) = fatal {
            assert_eq!(fatal.kind(), Kind::Lost);
            assert_eq!(fatal.message(), "slice 4 failed 4 times: a block is gone");
        }
        let again = fail(&segment, &claimer("a", u64::from(attempt)), attempt, &error);
        assert!(matches!(again, FailureStep::Done), "{again:?}");
    }
    let unknown = fail(&segment, &claimer("a", 99), 99, &error);
    assert!(matches!(unknown, FailureStep::Lost), "{unknown:?}");
}

#[test]
fn errors_of_the_query_itself_are_fatal_at_once() {
    for (error, fatal) in [
        (Error::invalid("division by zero"), true),
        (Error::exhausted("memory"), true),
        (Error::bug("?"), true),
        (Error::retry("later"), false),
        (Error::fenced("by others"), false),
    ] {
        let segment = claim(&first(1, 1, 0), &(0..1), &claimer("a", 1), 0, nobody);
        assert_eq!(failed(&segment, 1, 0, &error).1.is_some(), fatal, "{error}");
    }
}

#[test]
fn many_failures_keep_the_record_small() {
    let error = Error::lost("x".repeat(5000));
    let mut segment = first(4000, 1, 0);
    let mut fatal = None;
    for attempt in 0..FAILURES_MAX as u32 {
        segment = claim(&segment, &(attempt..attempt + 1), &claimer("a", 1), 0, nobody);
        (segment, fatal) = failed(&segment, 1, attempt, &error);
    }
    assert!(fatal.is_some(), "there is a limit");
    assert!(segment.encoded_len() < 40_000, "{} bytes", segment.encoded_len());
}
