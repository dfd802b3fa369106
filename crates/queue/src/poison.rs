//! Slices that end the executors which run them: a plan that overflows the stack, a task that takes
//! all memory, a library that aborts. No error comes back from such a slice; only the deaths of its
//! executors tell.
//!
//! A claim that is dropped because its executor died leaves a failure marked `died`. A slice with
//! one death is claimed by itself from then on. With [`SUSPECT`] deaths it runs alone: on an
//! executor that runs nothing else meanwhile. If that one dies as well, the query fails. So a bad
//! slice costs three executors, and a good one that was beside it is cleared by running.

use std::ops::Range;

use dunlin_base::Error;
use dunlin_proto::queue::{Claim, FailedAttempt, Segment};

use crate::segment::slices_of;

/// Deaths after which a slice runs alone.
const SUSPECT: usize = 2;

/// Deaths after which its query fails. The last ones were of executors that ran it alone.
const DEATHS_MAX: usize = 3;

/// What of a segment's free slices may be claimed, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Free {
    /// Runs to claim from.
    pub(crate) runs: Vec<Range<u32>>,
    /// Slices that run alone.
    pub(crate) suspects: Vec<u32>,
}

fn deaths(segment: &Segment, slice: u32) -> usize {
    let died = segment.failures.iter().filter(|failure| failure.died);
    died.filter(|f| slices_of(f.first_slice, f.slice_count).contains(&slice)).count()
}

/// True if the slice is to run alone.
pub(crate) fn is_suspect(segment: &Segment, slice: u32) -> bool {
    deaths(segment, slice) >= SUSPECT
}

/// The segment with a failure for each claim whose executor died. The claims themselves stay.
pub(crate) fn bury(segment: &Segment, died: impl Fn(&Claim) -> bool) -> Segment {
    let mut next = segment.clone();
    for claim in segment.claims.iter().filter(|claim| died(claim)) {
        next.failures.push(FailedAttempt {
            first_slice: claim.first_slice,
            slice_count: claim.slice_count,
            attempt: claim.attempt,
            executor: claim.executor.clone(),
            failure: None,
            died: true,
        });
    }
    next
}

/// Sorts free runs by how they may be claimed.
pub(crate) fn sort(segment: &Segment, runs: Vec<Range<u32>>) -> Free {
    if !segment.failures.iter().any(|failure| failure.died) {
        return Free { runs, suspects: Vec::new() };
    }
    let mut free = Free::default();
    for slice in runs.into_iter().flatten() {
        match (deaths(segment, slice), free.runs.last_mut()) {
            (SUSPECT.., _) => free.suspects.push(slice),
            (0, Some(run)) if run.end == slice && deaths(segment, run.start) == 0 => run.end += 1,
            _ => free.runs.push(slice..slice + 1),
        }
    }
    free
}

/// The error that the query fails with if one of the segment's slices has ended too many
/// executors.
pub(crate) fn verdict(segment: &Segment) -> Option<Error> {
    let last = segment.failures.iter().filter(|failure| failure.died);
    let mut suspects = last.flat_map(|f| slices_of(f.first_slice, f.slice_count));
    let slice = suspects.find(|slice| deaths(segment, *slice) >= DEATHS_MAX)?;
    let named = segment.failures.iter().filter(|failure| {
        let covers = slices_of(failure.first_slice, failure.slice_count).contains(&slice);
        failure.died && covers
    });
    let named: Vec<&str> = named.map(|failure| failure.executor.as_str()).collect();
    let message = format!(
        "slice {slice} ended {DEATHS_MAX} executors, the last one while it ran alone: {}",
        named.join(", ")
    );
    let hint = "their last log lines tell why; one that the system ended for want of memory needs \
                more of it, or fewer slots";
    Some(Error::exhausted(message).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(slices: Range<u32>, executor: &str) -> Claim {
        Claim {
            first_slice: slices.start,
            slice_count: slices.end - slices.start,
            executor: executor.to_owned(),
            ..Claim::default()
        }
    }

    fn one(run: Range<u32>) -> Vec<Range<u32>> {
        std::iter::once(run).collect()
    }

    /// Slices 0..8 after these claims ended with the deaths of their executors.
    fn after(claims: &[(Range<u32>, &str)]) -> Segment {
        let first = Segment { slice_count: 8, ..Segment::default() };
        claims.iter().fold(first, |segment, (slices, executor)| {
            let claims = vec![claim(slices.clone(), executor)];
            let mut buried = bury(&Segment { claims, ..segment }, |_| true);
            buried.claims.clear();
            buried
        })
    }

    #[test]
    fn nothing_is_split_where_nobody_died() {
        let free = sort(&after(&[]), one(0..8));
        assert_eq!(free, Free { runs: one(0..8), suspects: vec![] });
        let alive = Segment { claims: vec![claim(0..8, "a")], ..Segment::default() };
        assert_eq!(bury(&alive, |_| false), alive);
    }

    #[test]
    fn a_death_has_its_slices_claimed_one_by_one_and_two_alone() {
        let once = after(&[(2..5, "a")]);
        let free = sort(&once, one(0..8));
        assert_eq!(free, Free { runs: vec![0..2, 2..3, 3..4, 4..5, 5..8], suspects: vec![] });
        let twice = after(&[(2..5, "a"), (3..4, "b")]);
        let free = sort(&twice, one(1..8));
        assert_eq!(free.suspects, [3]);
        assert_eq!(free.runs, [1..2, 2..3, 4..5, 5..8]);
        assert!(verdict(&twice).is_none());
    }

    #[test]
    fn the_third_death_fails_the_query_and_names_who_died() {
        let segment = after(&[(2..5, "a"), (3..4, "b"), (6..7, "d"), (3..4, "c")]);
        let error = verdict(&segment).expect("three died of slice 3");
        assert_eq!(error.kind(), dunlin_base::Kind::Exhausted);
        let text = error.to_string();
        assert!(text.contains("slice 3") && text.contains("a, b, c"), "{text}");
    }
}
