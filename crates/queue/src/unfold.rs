//! How a query goes on: from its records to the changes that are due. Pure: the same records give
//! the same changes in every process.
//!
//! One call seals every complete stage and then asks the decision function until it waits. All of
//! it goes into one transaction that compares and rewrites `meta`, so of two processes that do it
//! at once one wins and the other starts again from the winner's records. The rewrite is what
//! makes a waiting decision safe: nobody can seal a stage beside one who has just decided without
//! it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dunlin_base::{Error, Result, StageEpoch, StageId};
use dunlin_proto::decide::{Decide, OpenStage, Situation, Step};
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Decision, Deferred, DeferredStage, Phase, Stage, StagePhase};
use prost::Message;

use crate::changes::Changes;
use crate::depot;
use crate::failure;
use crate::keys;
use crate::records::Records;
use crate::segment;

/// Operations of one transaction that the queue fills; the rest is room for the caller's.
const OPS_MAX: usize = 100;

/// Operations that a step may need beside its stages: meta, live, plan, cancel and two prefixes.
const OPS_OVERHEAD: usize = 6;

/// Decisions after which a query is taken to be one that never ends.
const DECISIONS_MAX: u32 = 10_000;

struct Unfold<'a> {
    records: &'a Records,
    now_unix_ms: u64,
    segment_slices: u32,
    situation: Situation,
    changes: Changes,
}

/// The changes that are due now; `None` if there are none.
pub(crate) fn unfold(
    records: &Records,
    decide: &dyn Decide,
    now_unix_ms: u64,
    segment_slices: u32,
) -> Result<Option<Changes>> {
    if !records.is_running() {
        return Ok(None);
    }
    let mut decisions = Vec::with_capacity(records.decisions.len());
    for decision in records.decisions.values() {
        decisions.push(records.body(decision.body.as_ref())?);
    }
    let graph = records.body(records.plan.graph.as_ref())?;
    let situation = Situation { graph, decisions, sealed: records.sealed()? };
    let changes = Changes::of(records);
    let mut unfold = Unfold { records, now_unix_ms, segment_slices, situation, changes };
    unfold.run(decide)?;
    let changes = unfold.changes;
    let any = !changes.decisions.is_empty() || !changes.stages.is_empty();
    Ok((any || changes.ended.is_some()).then_some(changes))
}

/// The end of a running query that has passed its deadline, and no other step.
pub(crate) fn overdue(records: &Records, now_unix_ms: u64) -> Option<Changes> {
    let overdue = records.is_running() && is_overdue(records, now_unix_ms);
    overdue.then(|| Changes::failed(records, &past_deadline(), now_unix_ms))
}

fn is_overdue(records: &Records, now_unix_ms: u64) -> bool {
    let deadline = records.meta.record.deadline_unix_ms;
    deadline > 0 && now_unix_ms >= deadline
}

fn past_deadline() -> Error {
    Error::exhausted("the query passed its deadline")
        .with_hint("allow the query more time, or make it smaller")
}

/// What the decision function says. Its panic is the query's failure: it would be the same in every
/// process that asks, one after the other.
fn decided(decide: &dyn Decide, situation: &Situation) -> Result<Step> {
    let step = catch_unwind(AssertUnwindSafe(|| decide.decide(situation)));
    step.unwrap_or_else(|panic| {
        let text = dunlin_base::env::panic_text(panic.as_ref());
        Err(Error::bug(format!("the next stages could not be decided: {text}")))
    })
}

impl Unfold<'_> {
    fn run(&mut self, decide: &dyn Decide) -> Result<()> {
        if is_overdue(self.records, self.now_unix_ms) {
            self.end_failed(&past_deadline());
            return Ok(());
        }
        self.seal_complete()?;
        self.wake_waiting();
        if self.is_made_again() {
            return Ok(());
        }
        self.open_deferred()?;
        while !self.changes.more && self.changes.ended.is_none() {
            // Their order tells nothing, so the decision function does not see any.
            self.situation.sealed.sort_by_key(|(stage, _)| *stage);
            match decided(decide, &self.situation).and_then(|step| self.checked(step)) {
                Ok(step) if step.body.is_none() && step.finished.is_none() => return Ok(()),
                Ok(step) => self.take(step)?,
                Err(error) => self.end_failed(&error),
            }
        }
        Ok(())
    }

    fn seal_complete(&mut self) -> Result<()> {
        for (&number, stage) in &self.records.stages {
            let sealed = stage.record.phase() == StagePhase::Sealed;
            if sealed || !self.records.is_complete(number) {
                continue;
            }
            if !self.has_room() {
                self.changes.more = true;
                break;
            }
            let output = self.records.committed(number)?;
            self.seal(number, stage.record.clone(), output);
        }
        Ok(())
    }

    /// Stages whose inputs are whole again go on.
    fn wake_waiting(&mut self) {
        for (&number, stored) in &self.records.stages {
            let stage = &stored.record;
            let waits = stage.phase() == StagePhase::Waiting;
            let whole = stage.inputs.iter().all(|input| self.is_sealed(StageId(*input)));
            if !waits || !whole || self.changes.stages.contains_key(&number) {
                continue;
            }
            if !self.has_room() {
                self.changes.more = true;
                return;
            }
            let mut stage = stage.clone();
            stage.set_phase(StagePhase::Open);
            self.changes.note_inputs(self.records, &mut stage);
            self.changes.ready.insert(number);
            self.changes.stages.insert(number, stage);
        }
    }

    /// True while a stage that was sealed is not any more. The decision function does not see
    /// that: for it, sealed stages only ever grow.
    fn is_made_again(&self) -> bool {
        self.records.stages.iter().any(|(number, stored)| {
            let stage = self.changes.stages.get(number).unwrap_or(&stored.record);
            stage.sealed_unix_ms > 0 && stage.phase() != StagePhase::Sealed
        })
    }

    fn seal(&mut self, number: u32, mut stage: Stage, output: StageOutput) {
        stage.set_phase(StagePhase::Sealed);
        stage.sealed_unix_ms = self.now_unix_ms;
        stage.output = depot::inline(output.encode_to_vec().into());
        stage.lost = None;
        let epoch = StageEpoch(stage.epoch);
        self.changes.stages.insert(number, stage);
        self.changes.sealed += 1;
        self.changes.outputs.push((StageId(number), epoch, output.clone()));
        self.situation.sealed.push((StageId(number), output));
    }

    /// Opens the stages of the last decision that did not fit its transaction.
    fn open_deferred(&mut self) -> Result<()> {
        let Some(last) = self.records.decisions.values().next_back() else { return Ok(()) };
        let bytes = self.records.body(last.deferred.as_ref())?;
        let deferred: Deferred = depot::decode(bytes, "the deferred stages of a decision")?;
        for stage in deferred.stages {
            if self.records.stages.contains_key(&stage.stage) {
                continue;
            }
            if !self.has_room() {
                self.changes.more = true;
                return Ok(());
            }
            self.open(OpenStage {
                stage: StageId(stage.stage),
                template: stage.template,
                slices: stage.slices,
                slice_count: stage.slice_count,
                inputs: stage.inputs.into_iter().map(StageId).collect(),
                determinate: stage.determinate,
                light: stage.light,
            });
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let used = self.changes.decisions.len() + 2 * self.changes.stages.len();
        used + OPS_OVERHEAD + 2 <= OPS_MAX
    }

    fn is_sealed(&self, stage: StageId) -> bool {
        self.situation.sealed.iter().any(|(sealed, _)| *sealed == stage)
    }

    fn stage_exists(&self, stage: StageId) -> bool {
        self.records.stages.contains_key(&stage.0) || self.changes.stages.contains_key(&stage.0)
    }

    fn any_open(&self) -> bool {
        let is_open = |stage: &Stage| stage.phase() != StagePhase::Sealed;
        self.changes.stages.values().any(is_open)
            || self.records.stages.iter().any(|(number, stage)| {
                is_open(&stage.record) && !self.changes.stages.contains_key(number)
            })
    }

    /// Refuses steps that would leave the query stuck or contradictory.
    fn checked(&self, step: Step) -> Result<Step> {
        let bad = |what: String| Err(Error::bug(format!("the decision function {what}")));
        let mut opened = BTreeSet::new();
        for stage in &step.open {
            if !opened.insert(stage.stage) || self.stage_exists(stage.stage) {
                return bad(format!("opens stage {} twice", stage.stage));
            }
            if let Some(input) = stage.inputs.iter().find(|input| !self.is_sealed(**input)) {
                return bad(format!("opens stage {} before its input {input}", stage.stage));
            }
            if stage.stage.0 > keys::STAGE_MAX || stage.slice_count > segment::SLICES_MAX {
                let (stage, slices) = (stage.stage, stage.slice_count);
                return Err(Error::exhausted(format!("stage {stage} has {slices} slices"))
                    .with_hint("make slices larger"));
            }
        }
        if self.changes.meta.decisions >= DECISIONS_MAX && step.body.is_some() {
            return bad(format!("does not end after {DECISIONS_MAX} decisions"));
        }
        if step.body.is_none() && !step.open.is_empty() {
            return bad("opens stages without a decision".to_owned());
        }
        if let Some(stage) = step.finished.filter(|stage| !self.is_sealed(*stage)) {
            return bad(format!("gives stage {stage} as the result before it is sealed"));
        }
        if step.body.is_none() && step.finished.is_none() && !self.any_open() {
            return bad("waits though no stage is open".to_owned());
        }
        Ok(step)
    }

    fn take(&mut self, step: Step) -> Result<()> {
        if let Some(body) = step.body {
            if !self.has_room() {
                self.changes.more = true;
                return Ok(());
            }
            let number = self.changes.meta.decisions;
            self.changes.meta.decisions += 1;
            let opened = step.open.iter().map(|open| open.stage.0).collect();
            self.situation.decisions.push(body.clone());
            self.changes.decisions.insert(
                number,
                Decision { number, body: depot::inline(body), opened, deferred: None },
            );
            let mut deferred = Vec::new();
            for open in step.open {
                if self.has_room() { self.open(open) } else { deferred.push(open) }
            }
            if !deferred.is_empty() {
                self.defer(number, deferred);
                return Ok(());
            }
        }
        if let Some(stage) = step.finished {
            self.changes.meta.result_stage = stage.0;
            self.changes.meta.rows = self.rows_of(stage);
            self.end(Phase::Done);
        }
        Ok(())
    }

    fn rows_of(&self, stage: StageId) -> u64 {
        let output = self.situation.sealed.iter().find(|(sealed, _)| *sealed == stage);
        let maps = output.map_or(&[][..], |(_, output)| &output.maps);
        maps.iter().map(crate::status::rows_of).sum()
    }

    fn defer(&mut self, number: u32, stages: Vec<OpenStage>) {
        let stages = stages
            .into_iter()
            .map(|open| DeferredStage {
                stage: open.stage.0,
                template: open.template,
                slices: open.slices,
                slice_count: open.slice_count,
                inputs: open.inputs.into_iter().map(|input| input.0).collect(),
                determinate: open.determinate,
                light: open.light,
            })
            .collect();
        if let Some(decision) = self.changes.decisions.get_mut(&number) {
            decision.deferred = depot::inline(Deferred { stages }.encode_to_vec().into());
        }
        self.changes.more = true;
    }

    fn open(&mut self, open: OpenStage) {
        let mut stage = Stage {
            epoch: 0,
            template: depot::inline(open.template),
            slices: depot::inline(open.slices),
            slice_count: open.slice_count,
            segment_count: segment::count(open.slice_count, self.segment_slices),
            inputs: open.inputs.into_iter().map(|input| input.0).collect(),
            opened_unix_ms: self.now_unix_ms,
            weight: 1,
            deadline_unix_ms: self.changes.meta.deadline_unix_ms,
            determinate: open.determinate,
            light: open.light,
            build: self.changes.meta.build.clone(),
            user: self.changes.meta.user.clone(),
            ..Stage::default()
        };
        self.changes.note_inputs(self.records, &mut stage);
        self.changes.opened += 1;
        if open.slice_count == 0 {
            self.seal(open.stage.0, stage, StageOutput::default());
            return;
        }
        stage.set_phase(StagePhase::Open);
        self.changes.ready.insert(open.stage.0);
        self.changes.stages.insert(open.stage.0, stage);
    }

    fn end_failed(&mut self, error: &Error) {
        self.changes.meta.failure = Some(failure::to_record(error));
        self.end(Phase::Failed);
    }

    fn end(&mut self, phase: Phase) {
        self.changes.meta.set_phase(phase);
        self.changes.meta.ended_unix_ms = self.now_unix_ms;
        self.changes.ended = Some(phase);
        self.changes.more = false;
        self.changes.stop = phase != Phase::Done || self.any_open();
    }
}

#[cfg(test)]
mod tests;
