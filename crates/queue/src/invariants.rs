//! The rules that every write of a record keeps, as pure predicates over the record before and
//! after. `record::Batch` checks them before every write, with no way around it.
//!
//! | id | sentence |
//! |---|---|
//! | Q1 | A slice has at most one claim; attempts and fences of claims only grow. |
//! | Q2 | Slices are complete only by the output of the claim that held them; a stage is sealed only with exactly one output for each of its slices. |
//! | Q3 | A stage is claimable only while every input stage is sealed. |
//! | Q4 | A completed slice or stage never becomes claimable again, unless its output is recorded lost (a new epoch); an ended query stays as it ended. |
//! | Q5 | A segment is written only under the fence of a live card, for its own claims; other claims are dropped only with proof of death. |
//! | Q6 | What was decided stays: plans, decisions and the fixed parts of stages are written once, decisions are numbered without gaps. |

use std::collections::BTreeSet;
use std::ops::Range;

use dunlin_base::Revision;
use dunlin_proto::output::StageOutput;
use dunlin_proto::queue::{Claim, Commit, Phase, Query, Segment, Stage, StagePhase, body};
use prost::Message;

/// A rule that a write would have broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {what}")]
pub struct Violation {
    /// The invariant's id, such as `Q1`.
    pub id: &'static str,
    /// What is wrong.
    pub what: String,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The executor's id, as records write it.
    pub executor: String,
    /// Revision at which its card came into being.
    pub fence: Revision,
}

/// What a write is made under; the transaction compares all of it.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The executor whose card is compared.
    pub owner: Option<Owner>,
    /// Executors whose death is compared.
    pub dead: BTreeSet<String>,
    /// Stages that are sealed once the write has happened.
    pub sealed: BTreeSet<u32>,
    /// Stages that were sealed and are not any more.
    pub reopened: BTreeSet<u32>,
}

fn rule(id: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { id, what: what() }) }
}

/// Q6 for records that are created and then left alone.
pub fn written_once(exists: bool, what: &str) -> Result<(), Violation> {
    rule("Q6", !exists, || format!("a {what} is written again"))
}

/// The rules for a query's meta record.
pub fn query(old: Option<&Query>, new: &Query, context: &Context) -> Result<(), Violation> {
    if let Some(old) = old {
        let resumed = old.phase() == Phase::Done
            && new.phase() != Phase::Done
            && context.reopened.contains(&old.result_stage);
        let runs = matches!(old.phase(), Phase::Running | Phase::Queued);
        rule("Q4", runs || resumed || lost_for_good(old, new), || {
            format!("a query that is {:?} becomes {:?}", old.phase(), new.phase())
        })?;
        rule("Q6", new.decisions >= old.decisions, || {
            format!("decisions go from {} to {}", old.decisions, new.decisions)
        })?;
    }
    rule("Q2", new.phase() != Phase::Done || context.sealed.contains(&new.result_stage), || {
        format!("the query is done but its result stage {} is not sealed", new.result_stage)
    })
}

/// A done query fails only because its result is lost and must not be made again.
fn lost_for_good(old: &Query, new: &Query) -> bool {
    old.phase() == Phase::Done && new.phase() == Phase::Failed && new.failure.is_some()
}

/// The rules for a stage.
pub fn stage(old: Option<&Stage>, new: &Stage, context: &Context) -> Result<(), Violation> {
    let sealed = new.phase() == StagePhase::Sealed;
    let is_open = |stage: &Stage| stage.phase() == StagePhase::Open;
    if old.is_none() || (is_open(new) && !old.is_some_and(is_open)) {
        for input in &new.inputs {
            rule("Q3", context.sealed.contains(input), || {
                format!("it is opened before its input {input} is sealed")
            })?;
        }
    }
    if let Some(old) = old {
        rule("Q6", same_work(old, new), || "its fixed parts change".to_owned())?;
        rule("Q4", new.epoch >= old.epoch, || "its epoch falls".to_owned())?;
        let again = old.phase() == StagePhase::Sealed;
        rule("Q4", !again || lost_output(old, new), || {
            "it changes after it was sealed".to_owned()
        })?;
    }
    rule("Q2", !sealed || output_is_whole(new), || {
        "it is sealed without exactly one output for each slice".to_owned()
    })
}

fn same_work(old: &Stage, new: &Stage) -> bool {
    (&old.template, &old.slices, &old.inputs) == (&new.template, &new.slices, &new.inputs)
        && (old.slice_count, old.segment_count) == (new.slice_count, new.segment_count)
        && (old.determinate, old.light) == (new.determinate, new.light)
}

/// True if the new record says what of a sealed stage's output is lost.
fn lost_output(old: &Stage, new: &Stage) -> bool {
    let begun_anew = new.restarted == new.epoch;
    let kept_the_rest = new.determinate && new.lost.is_some() && new.output.is_some();
    new.phase() != StagePhase::Sealed && new.epoch > old.epoch && (begun_anew || kept_the_rest)
}

/// Checked before the output may move to a blob, so it is always inline here.
fn output_is_whole(stage: &Stage) -> bool {
    let Some(body::Kind::Inline(bytes)) = stage.output.as_ref().and_then(|o| o.kind.as_ref())
    else {
        return false;
    };
    StageOutput::decode(bytes.clone()).is_ok_and(|output| covers(&output, stage.slice_count))
}

/// True if the outputs, in their order, hold each slice below `slice_count` exactly once.
pub fn covers(output: &StageOutput, slice_count: u32) -> bool {
    let end = output.maps.iter().try_fold(0u32, |next, map| {
        (map.first_slice == next && map.slice_count > 0)
            .then(|| next.checked_add(map.slice_count))
            .flatten()
    });
    end == Some(slice_count)
}

/// The rules for a segment. Without an old record it was in its first state: nothing claimed.
pub fn segment(old: Option<&Segment>, new: &Segment, context: &Context) -> Result<(), Violation> {
    let first = Segment {
        first_slice: new.first_slice,
        slice_count: new.slice_count,
        ..Segment::default()
    };
    let old = old.unwrap_or(&first);
    let Some(owner) = &context.owner else {
        return rule("Q5", false, || "a segment is written by nobody".to_owned());
    };
    rule("Q6", (old.first_slice, old.slice_count) == (new.first_slice, new.slice_count), || {
        "its slices change".to_owned()
    })?;
    rule("Q1", new.next_attempt >= old.next_attempt, || "its attempts fall".to_owned())?;
    no_slice_twice(new)?;
    for claim in &new.claims {
        claim_is_rightful(old, new, claim, owner)?;
    }
    for commit in &new.commits {
        commit_is_rightful(old, commit, owner)?;
    }
    for commit in &old.commits {
        let kept = new.commits.iter().any(|c| same_commit(c, commit));
        rule("Q4", kept, || format!("the commit of attempt {} is gone", commit.attempt))?;
    }
    for claim in &old.claims {
        claim_goes_rightly(new, claim, owner, context)?;
    }
    Ok(())
}

fn no_slice_twice(segment: &Segment) -> Result<(), Violation> {
    let claims = segment.claims.iter().map(|c| (c.first_slice, c.slice_count));
    let commits = segment.commits.iter().map(|c| (c.first_slice, c.slice_count));
    let mut ranges: Vec<(u32, u32)> = claims.chain(commits).collect();
    ranges.sort_unstable();
    let mut next = segment.first_slice;
    for (first, count) in ranges {
        rule("Q1", first >= next && count > 0, || format!("slice {first} is held twice"))?;
        next = first.saturating_add(count);
    }
    let end = segment.first_slice.saturating_add(segment.slice_count);
    rule("Q1", next <= end, || "a claim reaches beyond the segment".to_owned())
}

fn claim_is_rightful(
    old: &Segment,
    new: &Segment,
    claim: &Claim,
    owner: &Owner,
) -> Result<(), Violation> {
    let (first, count) = (claim.first_slice, claim.slice_count);
    if old.claims.iter().any(|c| same_claim(c, claim) && within(first, count, &slices(c))) {
        return Ok(());
    }
    let fresh = claim.attempt >= old.next_attempt && claim.attempt < new.next_attempt;
    rule("Q1", fresh, || format!("a claim uses attempt {} again", claim.attempt))?;
    rule("Q5", (&claim.executor, claim.fence) == (&owner.executor, owner.fence.0), || {
        "a claim is made for another executor".to_owned()
    })
}

fn commit_is_rightful(old: &Segment, commit: &Commit, owner: &Owner) -> Result<(), Violation> {
    if old.commits.iter().any(|c| same_commit(c, commit)) {
        return Ok(());
    }
    let held = old.claims.iter().any(|c| {
        (c.attempt, c.fence) == (commit.attempt, commit.fence)
            && within(commit.first_slice, commit.slice_count, &slices(c))
    });
    rule("Q2", held, || format!("attempt {} commits what it does not hold", commit.attempt))?;
    // A card is alone in its transaction, so its fence names the executor.
    rule("Q5", commit.fence == owner.fence.0, || "a commit is made for another executor".to_owned())
}

/// A claim is given up by its executor, or by anybody once that executor is dead.
fn claim_goes_rightly(
    new: &Segment,
    claim: &Claim,
    owner: &Owner,
    context: &Context,
) -> Result<(), Violation> {
    let kept: u32 = new.claims.iter().filter(|c| same_claim(c, claim)).map(|c| c.slice_count).sum();
    let rightly = kept >= claim.slice_count
        || claim.executor == owner.executor
        || context.dead.contains(&claim.executor);
    rule("Q5", rightly, || format!("the claim of live executor {} is dropped", claim.executor))
}

fn same_claim(a: &Claim, b: &Claim) -> bool {
    (a.attempt, a.token, a.fence, &a.executor) == (b.attempt, b.token, b.fence, &b.executor)
}

fn same_commit(a: &Commit, b: &Commit) -> bool {
    (a.first_slice, a.slice_count, a.attempt, a.fence)
        == (b.first_slice, b.slice_count, b.attempt, b.fence)
}

fn slices(claim: &Claim) -> Range<u32> {
    claim.first_slice..claim.first_slice.saturating_add(claim.slice_count)
}

fn within(first: u32, count: u32, range: &Range<u32>) -> bool {
    first >= range.start && first.saturating_add(count) <= range.end
}

#[cfg(test)]
mod tests;
