//! Each invariant, shown to refuse the record that breaks it.

use dunlin_proto::output::MapOutput;
use dunlin_proto::queue::{Body, FailedAttempt};

use super::*;

fn context(executor: &str, fence: i64) -> Context {
    let owner = Owner { executor: executor.to_owned(), fence: Revision(fence) };
    Context { owner: Some(owner), ..Context::default() }
}

fn a_claim(first: u32, count: u32, attempt: u32, executor: &str) -> Claim {
    Claim {
        first_slice: first,
        slice_count: count,
        attempt,
        executor: executor.to_owned(),
        fence: 5,
        token: u64::from(attempt),
        ..Claim::default()
    }
}

fn a_commit(first: u32, count: u32, attempt: u32) -> Commit {
    let executor = "a".to_owned();
    Commit {
        first_slice: first,
        slice_count: count,
        attempt,
        executor,
        fence: 5,
        ..Commit::default()
    }
}

/// Slices 0..8; attempt 0 of `a` holds 0..4, attempt 1 of `b` holds 4..6, attempt 2 did 6..8.
fn before() -> Segment {
    Segment {
        slice_count: 8,
        next_attempt: 3,
        claims: vec![a_claim(0, 4, 0, "a"), a_claim(4, 2, 1, "b")],
        commits: vec![a_commit(6, 2, 2)],
        ..Segment::default()
    }
}

fn broken_by(change: impl FnOnce(&mut Segment)) -> Option<&'static str> {
    let mut new = before();
    change(&mut new);
    segment(Some(&before()), &new, &context("a", 5)).err().map(|violation| violation.id)
}

#[test]
fn rightful_changes_of_a_segment_pass() {
    assert_eq!(broken_by(|_| {}), None);
    assert_eq!(broken_by(|s| s.claims[0].slice_count = 2), None, "gives back");
    let commit = |s: &mut Segment| {
        s.claims[0] = a_claim(2, 2, 0, "a");
        s.commits.push(a_commit(0, 2, 0));
    };
    assert_eq!(broken_by(commit), None, "commits a part");
    let claim_again = |s: &mut Segment| {
        s.claims.remove(0);
        s.failures.push(FailedAttempt::default());
        s.claims.push(a_claim(0, 1, 3, "a"));
        s.next_attempt = 4;
    };
    assert_eq!(broken_by(claim_again), None, "fails and claims again");
    let mut dead = context("a", 5);
    dead.dead.insert("b".to_owned());
    let mut without_b = before();
    without_b.claims.pop();
    assert_eq!(segment(Some(&before()), &without_b, &dead), Ok(()), "buries the dead");
}

#[test]
fn each_rule_of_a_segment_is_enforced() {
    let twice = |s: &mut Segment| s.claims.push(a_claim(3, 1, 3, "a"));
    assert_eq!(broken_by(twice), Some("Q1"), "a slice that is claimed");
    let done = |s: &mut Segment| s.claims.push(a_claim(6, 1, 3, "a"));
    assert_eq!(broken_by(done), Some("Q1"), "a slice that is done");
    let old_attempt = |s: &mut Segment| {
        s.claims[0] = a_claim(0, 1, 0, "a");
        s.claims.push(a_claim(1, 1, 2, "a"));
    };
    assert_eq!(broken_by(old_attempt), Some("Q1"), "an attempt that was used");
    let beyond = |s: &mut Segment| s.commits[0].slice_count = 9;
    assert_eq!(broken_by(beyond), Some("Q1"), "beyond the segment");
    assert_eq!(broken_by(|s| s.next_attempt = 2), Some("Q1"), "attempts fall");
    let unheld = |s: &mut Segment| {
        s.claims.pop();
        s.commits.push(a_commit(4, 2, 0));
    };
    assert_eq!(broken_by(unheld), Some("Q2"), "a commit of what another holds");
    assert_eq!(broken_by(|s| s.commits.clear()), Some("Q4"), "a commit undone");
    let other_winner = |s: &mut Segment| s.commits[0].attempt = 0;
    assert!(broken_by(other_winner).is_some(), "another winner");
    let evict = |s: &mut Segment| {
        s.claims.pop();
    };
    assert_eq!(broken_by(evict), Some("Q5"), "a live executor's claim dropped");
    assert_eq!(broken_by(|s| s.slice_count = 9), Some("Q6"), "other slices");
}

#[test]
fn nobody_writes_for_another_or_without_a_fence() {
    let mut new = before();
    new.claims[0] = a_claim(2, 2, 0, "a");
    new.commits.push(a_commit(0, 2, 0));
    let id = |context: &Context| segment(Some(&before()), &new, context).err().map(|v| v.id);
    assert_eq!(id(&Context::default()), Some("Q5"), "no card compared");
    assert_eq!(id(&context("a", 6)), Some("Q5"), "another life of the executor");
    assert_eq!(id(&context("b", 7)), Some("Q5"), "another executor");
    let mut claimed = before();
    claimed.claims.push(a_claim(3, 1, 3, "c"));
    claimed.claims[0].slice_count = 3;
    claimed.next_attempt = 4;
    let id = segment(Some(&before()), &claimed, &context("a", 5)).err().map(|v| v.id);
    assert_eq!(id, Some("Q5"), "a claim for another executor");
}

fn a_stage(phase: StagePhase, slices: &[(u32, u32)]) -> Stage {
    let map = |&(first_slice, slice_count)| MapOutput {
        first_slice,
        slice_count,
        ..MapOutput::default()
    };
    let output = StageOutput { maps: slices.iter().map(map).collect() };
    let mut stage = Stage { slice_count: 4, inputs: vec![1], ..Stage::default() };
    stage.set_phase(phase);
    if phase == StagePhase::Sealed {
        let bytes = output.encode_to_vec().into();
        stage.output = Some(Body { kind: Some(body::Kind::Inline(bytes)), checksum: 0 });
    }
    stage
}

#[test]
fn a_stage_opens_after_its_inputs_and_seals_with_each_slice_once() {
    let open = a_stage(StagePhase::Open, &[]);
    let sealed = a_stage(StagePhase::Sealed, &[(0, 1), (1, 3)]);
    let mut context = Context::default();
    let id = |old: Option<&Stage>, new: &Stage, context: &Context| {
        stage(old, new, context).err().map(|violation| violation.id)
    };
    assert_eq!(id(None, &open, &context), Some("Q3"), "its input is not sealed");
    context.sealed.insert(1);
    assert_eq!(id(None, &open, &context), None);
    assert_eq!(id(Some(&open), &sealed, &context), None);
    for slices in [&[(0, 1)][..], &[(0, 2), (1, 3)], &[(1, 3), (0, 1)], &[(0, 4), (4, 1)], &[]] {
        let bad = a_stage(StagePhase::Sealed, slices);
        assert_eq!(id(Some(&open), &bad, &context), Some("Q2"), "{slices:?}");
    }
    assert_eq!(id(Some(&sealed), &open, &context), Some("Q4"), "opened again");
    let mut reopened = open.clone();
    reopened.epoch = 1;
    assert_eq!(id(Some(&sealed), &reopened, &context), Some("Q4"), "nothing says what is lost");
    reopened.restarted = 1;
    assert_eq!(id(Some(&sealed), &reopened, &context), None, "all its output is recorded lost");
    let mut waiting = a_stage(StagePhase::Waiting, &[]);
    context.sealed.clear();
    assert_eq!(id(Some(&waiting), &open, &context), Some("Q3"), "its input is still made again");
    waiting.epoch = 1;
    assert_eq!(id(Some(&open), &waiting, &context), None, "it waits for its input");
    let mut other = sealed.clone();
    other.slice_count = 5;
    assert_eq!(id(Some(&open), &other, &context), Some("Q6"), "other work");
}

#[test]
fn an_ended_query_stays_so_and_done_needs_a_result() {
    let of = |phase: Phase, decisions: u32| {
        let mut query = Query { decisions, result_stage: 3, ..Query::default() };
        query.set_phase(phase);
        query
    };
    let id = |old: Phase, new: Query, sealed: &[u32]| {
        let context = Context { sealed: sealed.iter().copied().collect(), ..Context::default() };
        query(Some(&of(old, 2)), &new, &context).err().map(|violation| violation.id)
    };
    assert_eq!(id(Phase::Running, of(Phase::Done, 2), &[3]), None);
    assert_eq!(id(Phase::Running, of(Phase::Done, 2), &[2]), Some("Q2"));
    assert_eq!(id(Phase::Running, of(Phase::Running, 1), &[]), Some("Q6"));
    for ended in [Phase::Done, Phase::Failed, Phase::Cancelled] {
        assert_eq!(id(ended, of(Phase::Running, 2), &[3]), Some("Q4"));
    }
    assert!(written_once(true, "decision").is_err() && written_once(false, "decision").is_ok());
}
