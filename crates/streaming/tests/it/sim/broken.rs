//! The simulation notices: with one rule broken, some seed fails; the same seed with the rule in place does
//! not. Each test begins near a seed that shows it, and looks further if the build has other courses.

use super::runs::simulate;
use super::setup::Mutation;

/// Seeds that are tried.
const WITHIN: u64 = 400;

/// What is wrong with a seed when the rule is broken. An operator that finds its state impossible panics.
fn complaint(seed: u64, mutation: Mutation) -> Option<String> {
    let run = || simulate(seed, Some(mutation), false).complaints.first().cloned();
    let quiet = std::panic::AssertUnwindSafe(run);
    dunlin_fuzz::quietly(|| std::panic::catch_unwind(quiet))
        .unwrap_or_else(|_| Some("an operator panics".to_owned()))
}

fn notices(mutation: Mutation, from: u64) {
    let found = (from..from + WITHIN).find_map(|seed| Some((seed, complaint(seed, mutation)?)));
    let (seed, what) = found.unwrap_or_else(|| panic!("{mutation:?} is not noticed"));
    println!("{mutation:?}: seed {seed}: {what}");
    assert_eq!(simulate(seed, None, false).complaints, [""; 0], "with the rule in place");
}

#[test]
fn notices_that_a_new_owner_cuts_afresh_what_was_merged() {
    notices(Mutation::NoPins, 0);
}

#[test]
fn notices_that_a_home_breaks_its_promise() {
    notices(Mutation::NoPromise, 50);
}

#[test]
fn notices_that_cuts_of_former_owners_are_merged() {
    notices(Mutation::TermsOfCutsIgnored, 20);
}

#[test]
fn notices_that_a_commit_does_not_compare_the_slots() {
    notices(Mutation::CommitUnfenced, 10);
}

#[test]
fn notices_that_parts_of_any_term_count() {
    notices(Mutation::PartsOfAnyTerm, 10);
}

#[test]
fn notices_that_a_claim_begins_before_the_last_commit() {
    notices(Mutation::ClaimUnfenced, 0);
}

#[test]
fn notices_that_terms_die_with_their_owners() {
    notices(Mutation::TermsForgotten, 0);
}

#[test]
fn notices_that_nobody_asks_for_what_was_lost() {
    notices(Mutation::NoAsk, 0);
}

#[test]
fn notices_that_one_edge_is_waited_for() {
    notices(Mutation::OneEdge, 0);
}

#[test]
fn notices_that_a_ring_goes_with_its_slot() {
    notices(Mutation::RingDropped, 0);
}

#[test]
fn notices_that_an_owner_runs_on_while_it_hands_over() {
    notices(Mutation::RunsWhileHandingOver, 150);
}

#[test]
fn notices_that_frames_are_merged_as_they_come() {
    notices(Mutation::ArrivalOrder, 0);
}

#[test]
fn notices_that_rows_are_late_by_what_comes_with_them() {
    notices(Mutation::LateAfterwards, 0);
}

#[test]
fn notices_that_a_clock_is_read_again() {
    notices(Mutation::ClockReadAgain, 0);
}
