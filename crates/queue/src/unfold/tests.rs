//! How a query goes on: sealing, deciding, opening, ending.

use bytes::Bytes;
use dunlin_base::{Kind, QueryId};
use dunlin_proto::queue::{Commit, Plan, Query, Segment};

use super::*;
use crate::record::{Batch, Stored};

/// Answers by a function.
struct By<F>(F);

impl<F: Fn(&Situation) -> Result<Step> + Send + Sync> Decide for By<F> {
    fn decide(&self, situation: &Situation) -> Result<Step> {
        self.0(situation)
    }
}

fn open(stage: u32, slice_count: u32, inputs: &[u32]) -> OpenStage {
    OpenStage {
        stage: StageId(stage),
        template: Bytes::from_static(b"t"),
        slices: Bytes::new(),
        slice_count,
        inputs: inputs.iter().map(|input| StageId(*input)).collect(),
        determinate: true,
        light: false,
    }
}

fn step(open: Vec<OpenStage>) -> Result<Step> {
    Ok(Step { body: Some(Bytes::from_static(b"b")), open, finished: None })
}

fn running() -> Records {
    let mut meta = Query::default();
    meta.set_phase(Phase::Running);
    Records::new(QueryId::from_u128(1), meta, Plan::default())
}

/// The records after the changes have happened.
fn after(mut records: Records, changes: &Changes) -> Records {
    let at = Some(dunlin_base::Revision(1));
    records.meta = Stored { record: changes.meta.clone(), modified: at };
    records.decisions.extend(changes.decisions.clone());
    for (number, stage) in &changes.stages {
        records.stages.insert(*number, Stored { record: stage.clone(), modified: at });
    }
    records
}

fn complete(records: &mut Records, stage: u32) {
    let slice_count = records.stages[&stage].record.slice_count;
    let output = dunlin_proto::output::MapOutput { slice_count, ..Default::default() };
    let commit = Commit {
        slice_count,
        output: depot::inline(output.encode_to_vec().into()),
        ..Commit::default()
    };
    let segment = Segment { slice_count, commits: vec![commit], ..Segment::default() };
    let stored = Stored { record: segment, modified: Some(dunlin_base::Revision(1)) };
    records.segments.insert((stage, 0), stored);
}

fn failure_of(decide: impl Fn(&Situation) -> Result<Step> + Send + Sync) -> Error {
    let changes = unfold(&running(), &By(decide), 0, 64).expect("readable").expect("changes");
    assert_eq!(changes.ended, Some(Phase::Failed));
    changes.failure().expect("a failed query has a cause")
}

#[test]
fn empty_stages_are_passed_through_in_one_go() {
    let decide = By(|s: &Situation| match s.sealed.len() as u32 {
        0 => step(vec![open(0, 0, &[])]),
        n @ 1..5 => step(vec![open(n, 0, &[n - 1])]),
        n => Ok(Step { finished: Some(StageId(n - 1)), ..Step::default() }),
    });
    let changes = unfold(&running(), &decide, 9, 64).expect("readable").expect("changes");
    assert_eq!((changes.ended, changes.sealed, changes.decided()), (Some(Phase::Done), 5, 5));
    assert!(changes.ready.is_empty() && !changes.stop);
}

#[test]
fn a_decision_that_opens_too_much_goes_on_where_it_stopped() {
    let decide = By(|s: &Situation| match s.decisions.len() {
        0 => step((0..150).map(|stage| open(stage, 1, &[])).collect()),
        _ => Ok(Step::default()),
    });
    let mut records = running();
    let mut rounds = 0;
    while let Some(changes) = unfold(&records, &decide, 9, 64).expect("readable") {
        rounds += 1;
        let mut batch = Batch::new(records.query);
        changes.clone().write(&records, &mut batch).expect("no invariant breaks");
        assert!(batch.ops() <= OPS_MAX, "{} operations", batch.ops());
        records = after(records, &changes);
    }
    assert_eq!((rounds, records.stages.len(), records.meta.record.decisions), (4, 150, 1));
    assert_eq!(records.decisions[&0].opened.len(), 150);
}

#[test]
fn a_stage_is_sealed_before_the_decision_function_is_asked() {
    let decide = By(|s: &Situation| match (s.decisions.len(), s.sealed.len()) {
        (0, _) => step(vec![open(0, 3, &[]), open(1, 3, &[])]),
        (_, 2) => Ok(Step { finished: Some(StageId(1)), ..Step::default() }),
        _ => Ok(Step::default()),
    });
    let first = unfold(&running(), &decide, 0, 64).expect("readable").expect("changes");
    let mut records = after(running(), &first);
    assert!(unfold(&records, &decide, 0, 64).expect("readable").is_none(), "nothing is due");
    complete(&mut records, 0);
    let second = unfold(&records, &decide, 0, 64).expect("readable").expect("changes");
    assert!(second.seals(StageId(0)) && second.ended.is_none());
    let mut records = after(records, &second);
    complete(&mut records, 1);
    let last = unfold(&records, &decide, 0, 64).expect("readable").expect("changes");
    assert_eq!((last.ended, last.stop), (Some(Phase::Done), false));
}

#[test]
fn an_early_end_stops_stages_that_are_still_open() {
    let decide = By(|s: &Situation| match s.sealed.len() {
        0 => step(vec![open(0, 0, &[]), open(1, 3, &[])]),
        _ => Ok(Step { finished: Some(StageId(0)), ..Step::default() }),
    });
    let changes = unfold(&running(), &decide, 0, 64).expect("readable").expect("changes");
    assert_eq!((changes.ended, changes.stop), (Some(Phase::Done), true));
}

#[test]
fn the_deadline_ends_a_query_even_if_its_stages_are_complete() {
    let mut records = running();
    records.meta.record.deadline_unix_ms = 100;
    let decide = By(|s: &Situation| match s.decisions.len() {
        0 => step(vec![open(0, 1, &[])]),
        _ => Ok(Step::default()),
    });
    let changes = unfold(&records, &decide, 99, 64).expect("readable").expect("changes");
    assert_eq!(changes.ended, None);
    let changes = unfold(&records, &decide, 100, 64).expect("readable").expect("changes");
    let error = changes.failure().expect("it failed");
    assert_eq!((changes.ended, error.kind()), (Some(Phase::Failed), Kind::Exhausted));
    assert!(error.message().contains("deadline"), "{error}");
}

#[test]
fn contradictions_of_the_decision_function_fail_the_query() {
    let twice = failure_of(|_| step(vec![open(0, 1, &[]), open(0, 1, &[])]));
    let early = failure_of(|_| step(vec![open(1, 1, &[0])]));
    let result = failure_of(|_| Ok(Step { finished: Some(StageId(9)), ..Step::default() }));
    let stuck = failure_of(|_| Ok(Step::default()));
    let silent = failure_of(|_| Ok(Step { open: vec![open(0, 1, &[])], ..Step::default() }));
    for error in [twice, early, result, stuck, silent] {
        assert_eq!(error.kind(), Kind::Bug, "{error}");
    }
    let large = failure_of(|_| step(vec![open(0, segment::SLICES_MAX + 1, &[])]));
    assert_eq!(large.kind(), Kind::Exhausted);
    let foreign = failure_of(|_| Err(Error::invalid("a plan of another build")));
    assert_eq!(foreign.kind(), Kind::Invalid);
}

#[test]
fn endless_decisions_come_in_bounded_pieces_and_are_noticed() {
    let decide = By(|_: &Situation| step(Vec::new()));
    let mut records = running();
    let stage = Stage { phase: 1, slice_count: 1, ..Stage::default() };
    records.stages.insert(0, Stored::absent(stage));
    let changes = unfold(&records, &decide, 0, 64).expect("readable").expect("changes");
    assert!(changes.more && changes.decided() <= OPS_MAX as u32);
    records.meta.record.decisions = DECISIONS_MAX;
    let changes = unfold(&records, &decide, 0, 64).expect("readable").expect("changes");
    assert_eq!(changes.failure().map(|error| error.kind()), Some(Kind::Bug));
}

#[test]
fn a_panic_of_the_decision_function_fails_the_query() {
    let error = failure_of(|_| panic!("no such plan"));
    assert_eq!(error.kind(), Kind::Bug);
    assert!(error.message().contains("no such plan"), "{error}");
}
