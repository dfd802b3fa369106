//! Many runs, each a function of its seed, and what they must have met together.

use dunlin_metadata::sim::Fired;
use dunlin_queue::checker::Checker;

use super::run;

/// How often outputs were lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) killed: u32,
    pub(super) resumed: u32,
    pub(super) reopened: u32,
    pub(super) poisoned: u32,
    pub(super) together: u32,
    pub(super) first: u32,
}

fn simulate(seed: u64) -> (Vec<String>, Checker, Fired, Tally) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(run(seed))
}

fn seeds(seeds: std::ops::Range<u64>) {
    let mut fired = Fired::default();
    let mut lost = Tally::default();
    for seed in seeds {
        let (complaints, checker, f, l) = simulate(seed);
        if !complaints.is_empty() {
            panic!("seed {seed}\n{}\n{}", checker.table(), complaints.join("\n"));
        }
        fired.refused += f.refused;
        fired.lost_acknowledgements += f.lost_acknowledgements;
        fired.late += f.late;
        fired.watch_dropped += f.watch_dropped;
        lost.killed += l.killed;
        lost.resumed += l.resumed;
        lost.reopened += l.reopened;
        lost.poisoned += l.poisoned;
        lost.together += l.together;
        lost.first += l.first;
    }
    let all = [fired.refused, fired.lost_acknowledgements, fired.late, fired.watch_dropped];
    assert!(all.iter().all(|fired| *fired > 100), "the faults did not fire: {fired:?}");
    let losses = [lost.killed, lost.resumed, lost.reopened];
    assert!(losses.iter().all(|lost| *lost > 20), "outputs were not lost: {lost:?}");
    assert!(lost.together > 100, "no commit claimed, too: {lost:?}");
    assert!(lost.first > 50, "no commit claimed from what it opened: {lost:?}");
    assert!((1..20).contains(&lost.poisoned), "too few or too many of 520 failed: {lost:?}");
}

/// Runs the seeds that the variable names (`17` or `0..5000`), else a share of the standard ones.
fn share(part: u64) {
    let standard = part * 520..(part + 1) * 520;
    let Ok(wish) = std::env::var("DUNLIN_QUEUE_SEEDS") else { return seeds(standard) };
    let (from, to) = wish.split_once("..").map_or((wish.as_str(), None), |(a, b)| (a, Some(b)));
    let from: u64 = from.parse().expect("a seed");
    match to {
        Some(to) => {
            let count = (to.parse::<u64>().expect("a seed") - from) / 4;
            seeds(from + part * count..from + (part + 1) * count);
        }
        None if part == 0 => {
            let (complaints, checker, ..) = simulate(from);
            println!("{}\n{}", checker.table(), complaints.join("\n"));
            assert!(complaints.is_empty());
        }
        None => {}
    }
}

#[test]
fn chaos_part_1() {
    share(0);
}

#[test]
fn chaos_part_2() {
    share(1);
}

#[test]
fn chaos_part_3() {
    share(2);
}

#[test]
fn chaos_part_4() {
    share(3);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    assert_eq!(simulate(11).1.table(), simulate(11).1.table());
}
