//! What claims, commits and failures do to a segment record: functions from values to values.

use std::ops::Range;

use bytes::Bytes;
use dunlin_base::{Error, Kind, Result};
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::queue::{Body, Claim, Commit, FailedAttempt, Segment, body};
use prost::Message;

use crate::depot;
use crate::failure;
use crate::invariants::Owner;

/// Most slices of a stage: what keeps the records of its segments small.
pub(crate) const SLICES_MAX: u32 = 1 << 20;

/// Most segments of a stage.
pub(crate) const SEGMENTS_MAX: u32 = 256;

/// Failed attempts at a slice after which its query fails.
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// Failed attempts kept in one segment; beyond, its query fails.
const FAILURES_MAX: usize = 1000;

/// Failed attempts that keep their text.
const FAILURE_TEXTS_MAX: usize = 4;

/// Bytes of outputs inline in a segment; beyond, they are packed into a blob.
const INLINE_OUTPUTS_MAX: usize = 16 * 1024;

/// How many segments a stage of so many slices has.
pub(crate) fn count(slice_count: u32, segment_slices: u32) -> u32 {
    (slice_count / segment_slices.max(1)).clamp(1, SEGMENTS_MAX)
}

/// The slices of one segment; the segments of a stage cover it without gaps.
pub(crate) fn bounds(slice_count: u32, segment_count: u32, segment: u32) -> Range<u32> {
    let at =
        |k: u32| (u64::from(slice_count) * u64::from(k) / u64::from(segment_count.max(1))) as u32;
    at(segment)..at(segment + 1)
}

/// A segment that nobody has claimed from. It has no record: the first claim creates it.
pub(crate) fn first(slice_count: u32, segment_count: u32, segment: u32) -> Segment {
    let slices = bounds(slice_count, segment_count, segment);
    Segment {
        first_slice: slices.start,
        slice_count: slices.end - slices.start,
        ..Segment::default()
    }
}

pub(crate) fn slices_of(first: u32, count: u32) -> Range<u32> {
    first..first.saturating_add(count)
}

fn all(segment: &Segment) -> Range<u32> {
    slices_of(segment.first_slice, segment.slice_count)
}

fn overlap(a: &Range<u32>, b: &Range<u32>) -> bool {
    a.start < b.end && b.start < a.end
}

pub(crate) fn done(segment: &Segment) -> u32 {
    segment.commits.iter().map(|c| c.slice_count).sum()
}

pub(crate) fn is_complete(segment: &Segment) -> bool {
    done(segment) == segment.slice_count
}

/// The runs of slices that are neither committed nor held by a claim that counts, in order.
pub(crate) fn free_runs(segment: &Segment, is_void: impl Fn(&Claim) -> bool) -> Vec<Range<u32>> {
    let claims =
        segment.claims.iter().filter(|c| !is_void(c)).map(|c| (c.first_slice, c.slice_count));
    let commits = segment.commits.iter().map(|c| (c.first_slice, c.slice_count));
    let mut taken: Vec<(u32, u32)> = claims.chain(commits).collect();
    taken.sort_unstable();
    let mut runs = Vec::new();
    let mut next = segment.first_slice;
    for (first, count) in taken {
        if first > next {
            runs.push(next..first);
        }
        next = next.max(first.saturating_add(count));
    }
    let end = all(segment).end;
    if end > next {
        runs.push(next..end);
    }
    runs
}

/// What tells one claim from all others.
#[derive(Clone, Debug)]
pub(crate) struct Claimer {
    pub(crate) owner: Owner,
    pub(crate) lease: i64,
    pub(crate) token: u64,
    /// Of the stage, as the claimer knows it.
    pub(crate) epoch: u32,
}

/// The segment after `run` was claimed and void claims were dropped. The attempt is
/// `segment.next_attempt`.
pub(crate) fn claim(
    segment: &Segment,
    run: &Range<u32>,
    claimer: &Claimer,
    now_unix_ms: u64,
    is_void: impl Fn(&Claim) -> bool,
) -> Segment {
    let mut next = without(segment, is_void);
    next.claims.push(Claim {
        first_slice: run.start,
        slice_count: run.end - run.start,
        attempt: segment.next_attempt,
        executor: claimer.owner.executor.clone(),
        lease: claimer.lease,
        claimed_unix_ms: now_unix_ms,
        fence: claimer.owner.fence.0,
        token: claimer.token,
        epoch: claimer.epoch,
    });
    next.next_attempt += 1;
    next
}

/// The segment without its void claims.
pub(crate) fn without(segment: &Segment, is_void: impl Fn(&Claim) -> bool) -> Segment {
    let mut next = segment.clone();
    next.claims.retain(|claim| !is_void(claim));
    next
}

/// What remains of the claim with this token.
pub(crate) fn held(segment: &Segment, token: u64) -> Vec<Range<u32>> {
    let own = segment.claims.iter().filter(|c| c.token == token);
    own.map(|c| slices_of(c.first_slice, c.slice_count)).collect()
}

/// Takes `slices` out of the claim with this token.
fn release(segment: &mut Segment, token: u64, slices: &Range<u32>) {
    let claims = std::mem::take(&mut segment.claims);
    for claim in claims {
        let range = slices_of(claim.first_slice, claim.slice_count);
        if claim.token != token || !overlap(&range, slices) {
            segment.claims.push(claim);
            continue;
        }
        for rest in [range.start..slices.start, slices.end..range.end] {
            if rest.start < rest.end {
                segment.claims.push(Claim {
                    first_slice: rest.start,
                    slice_count: rest.end - rest.start,
                    ..claim.clone()
                });
            }
        }
    }
}

/// What a commit comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CommitStep {
    /// This is the segment after it.
    Next(Segment),
    /// It had happened before.
    Done,
    /// The slices are another attempt's.
    Lost,
}

/// The segment after the commit of `output` under the claim.
pub(crate) fn commit(segment: &Segment, claimer: &Claimer, output: &MapOutput) -> CommitStep {
    let slices = slices_of(output.first_slice, output.slice_count);
    let mine = |c: &Commit| {
        (c.first_slice, c.slice_count, c.attempt, c.fence)
            == (output.first_slice, output.slice_count, output.attempt, claimer.owner.fence.0)
    };
    if segment.commits.iter().any(mine) {
        return CommitStep::Done;
    }
    let holds = held(segment, claimer.token)
        .iter()
        .any(|own| own.start <= slices.start && slices.end <= own.end);
    if !holds {
        return CommitStep::Lost;
    }
    let mut next = segment.clone();
    release(&mut next, claimer.token, &slices);
    next.commits.push(Commit {
        first_slice: output.first_slice,
        slice_count: output.slice_count,
        attempt: output.attempt,
        executor: claimer.owner.executor.clone(),
        output: depot::inline(output.encode_to_vec().into()),
        fence: claimer.owner.fence.0,
        epoch: claimer.epoch,
    });
    pack(&mut next);
    CommitStep::Next(next)
}

fn inline_output(commit: &Commit) -> Option<&Bytes> {
    match commit.output.as_ref()?.kind.as_ref()? {
        body::Kind::Inline(bytes) => Some(bytes),
        body::Kind::Blob(_) => None,
    }
}

/// Moves the outputs of all commits into one pack when they have grown too big together.
fn pack(segment: &mut Segment) {
    let bytes: usize = segment.commits.iter().filter_map(inline_output).map(Bytes::len).sum();
    if bytes <= INLINE_OUTPUTS_MAX {
        return;
    }
    let outputs = segment.commits.iter().filter_map(inline_output);
    let maps = outputs.filter_map(|bytes| MapOutput::decode(bytes.clone()).ok()).collect();
    segment.packs.extend(depot::inline(StageOutput { maps }.encode_to_vec().into()));
    for commit in &mut segment.commits {
        commit.output = None;
        commit.executor.clear();
    }
}

/// Drops the outputs: they are in the sealed stage.
pub(crate) fn strip_outputs(segment: &mut Segment) {
    segment.packs.clear();
    for commit in &mut segment.commits {
        commit.output = None;
    }
}

/// The outputs of the segment's commits, in no order; `load` gives the bytes of packs.
pub(crate) fn outputs(
    segment: &Segment,
    load: impl Fn(&Body) -> Result<Bytes>,
) -> Result<Vec<MapOutput>> {
    let mut outputs = Vec::with_capacity(segment.commits.len());
    for body in &segment.packs {
        outputs.extend(depot::decode::<StageOutput>(load(body)?, "a pack of outputs")?.maps);
    }
    for bytes in segment.commits.iter().filter_map(inline_output) {
        outputs.push(depot::decode(bytes.clone(), "a commit's output")?);
    }
    Ok(outputs)
}

/// The segment after `slices` of the claim were given back; `None` if it held none of them.
pub(crate) fn give_back(segment: &Segment, token: u64, slices: &Range<u32>) -> Option<Segment> {
    if !held(segment, token).iter().any(|own| overlap(own, slices)) {
        return None;
    }
    let mut next = segment.clone();
    release(&mut next, token, slices);
    Some(next)
}

/// What a failure comes to.
#[derive(Clone, Debug)]
pub(crate) enum FailureStep {
    /// The segment after it, and the error that the query fails with if it must.
    Next(Segment, Option<Error>),
    /// It had been counted before.
    Done,
    /// The claim is not held any more.
    Lost,
}

/// The segment after the claim was given back for `error`.
pub(crate) fn fail(
    segment: &Segment,
    claimer: &Claimer,
    attempt: u32,
    error: &Error,
) -> FailureStep {
    let own = held(segment, claimer.token);
    if own.is_empty() {
        let counted = segment.failures.iter().any(|f| f.attempt == attempt);
        return if counted { FailureStep::Done } else { FailureStep::Lost };
    }
    let mut next = segment.clone();
    for slices in own {
        release(&mut next, claimer.token, &slices);
        next.failures.push(FailedAttempt {
            first_slice: slices.start,
            slice_count: slices.end - slices.start,
            attempt,
            executor: claimer.owner.executor.clone(),
            failure: Some(failure::to_record(error)),
            died: false,
        });
    }
    // Keeps the record small however often its slices fail.
    let texts = next.failures.iter_mut().rev().filter(|failure| !failure.died);
    for old in texts.skip(FAILURE_TEXTS_MAX) {
        old.failure = None;
        old.executor.clear();
    }
    let fatal = fatal(&next, error);
    FailureStep::Next(next, fatal)
}

/// The error that the query fails with after its newest failure, if it must. Deaths of executors
/// count by rules of their own.
fn fatal(segment: &Segment, error: &Error) -> Option<Error> {
    if matches!(error.kind(), Kind::Invalid | Kind::Exhausted | Kind::Bug) {
        return Some(error.clone());
    }
    let worst = segment.failures.last().map(|f| slices_of(f.first_slice, f.slice_count))?;
    let failures_of = |slice: u32| {
        segment
            .failures
            .iter()
            .filter(|f| !f.died && slices_of(f.first_slice, f.slice_count).contains(&slice))
            .count()
    };
    let (slice, failures) =
        worst.map(|slice| (slice, failures_of(slice))).max_by_key(|(_, n)| *n)?;
    let over = failures >= ATTEMPTS_MAX || segment.failures.len() >= FAILURES_MAX;
    over.then(|| error.clone().context(format!("slice {slice} failed {failures} times")))
}

#[cfg(test)]
mod tests;
