//! Some seeds of simulated clusters. `dunlin-chaos --simulated` runs thousands.

use std::sync::Arc;

use dunlin_sim::world::{Oracle, Outcome, Tally, simulate};
use tokio::runtime::Builder;

const SEEDS: u64 = 20;

/// What is asked of each world once more when nothing goes wrong any more.
const IN_THE_END: u64 = 6;

fn oracle() -> Arc<Oracle> {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    Arc::new(runtime.block_on(Oracle::compute()).expect("plain DataFusion answers"))
}

fn run(seed: u64, oracle: &Arc<Oracle>) -> Outcome {
    let outcome = simulate(seed, oracle).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let wrong = outcome.complaints.join("\n");
    assert!(wrong.is_empty(), "seed {seed}\n{}\n{wrong}", outcome.tail(100).join("\n"));
    outcome
}

#[test]
fn clusters_of_many_seeds_give_right_rows_and_leave_nothing() {
    let oracle = oracle();
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        tally += run(seed, &oracle).tally;
    }
    // Whatever can be done was done, or the test tests less than it says.
    for (what, count) in tally.all() {
        assert!(count > 0, "{what}: never");
    }
    let answered = tally.asked - tally.left + SEEDS * IN_THE_END;
    assert_eq!(tally.answered, answered, "{tally:?}");
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let oracle = oracle();
    for seed in 100..104 {
        let (first, second) = (run(seed, &oracle), run(seed, &oracle));
        assert_eq!(second.differs(&first), None, "seed {seed}");
    }
    let other = run(104, &oracle).fingerprint;
    assert_ne!(run(100, &oracle).fingerprint, other, "a trace says what happened");
}
