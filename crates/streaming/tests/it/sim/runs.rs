//! Many seeds, and what they must have met together; and rules broken on purpose.

use super::judge;
use super::setup::Mutation;
use super::world::{Tally, World};

/// Seeds of each of the four standard shares.
const SHARE: u64 = 500;

pub(super) fn simulate(seed: u64, mutation: Option<Mutation>, trace: bool) -> World {
    let mut world = World::new(seed, mutation, trace);
    world.run();
    if world.complaints.is_empty() {
        judge::after_end(&mut world);
    }
    world
}

fn add(all: &mut Tally, one: &Tally) {
    all.events += one.events;
    all.commits += one.commits;
    all.kills += one.kills;
    all.zombies += one.zombies;
    all.pinned += one.pinned;
    all.handed_over += one.handed_over;
    all.fenced += one.fenced;
    all.past += one.past;
    all.late += one.late;
    all.ahead += one.ahead;
    all.asked += one.asked;
    all.usurped += one.usurped;
    all.whole += one.whole;
}

fn seeds(seeds: std::ops::Range<u64>) -> Tally {
    let mut all = Tally::default();
    for seed in seeds {
        let world = simulate(seed, None, false);
        assert!(
            world.complaints.is_empty(),
            "seed {seed} (DUNLIN_STREAMING_SEEDS={seed} shows its course): {}\n{:?}",
            world.complaints.join("\n"),
            world.setup.strikes
        );
        add(&mut all, &world.tally);
    }
    all
}

/// The seeds that the variable names, else a share of the standard ones.
fn share(part: u64) {
    let standard = part * SHARE..(part + 1) * SHARE;
    let Ok(wish) = std::env::var("DUNLIN_STREAMING_SEEDS") else {
        let all = seeds(standard);
        let met =
            [all.kills, all.zombies, all.pinned, all.handed_over, all.fenced, all.late, all.ahead];
        assert!(met.iter().all(|met| *met > 50), "the faults did not strike: {all:?}");
        assert!(all.whole > SHARE / 4 && all.usurped > 10, "{all:?}");
        return;
    };
    let (from, to) = wish.split_once("..").map_or((wish.as_str(), None), |(a, b)| (a, Some(b)));
    let from: u64 = from.parse().expect("a seed");
    if let Some(to) = to {
        let count = (to.parse::<u64>().expect("a seed") - from) / 4;
        let (mut failed, mut all) = (Vec::new(), Tally::default());
        for seed in from + part * count..from + (part + 1) * count {
            let world = simulate(seed, None, false);
            failed.extend(world.complaints.first().map(|what| format!("{seed}: {what}")));
            add(&mut all, &world.tally);
        }
        println!("{all:?}");
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    } else if part == 0 {
        let world = simulate(from, None, true);
        println!("{}", world.trace.unwrap_or_default().join("\n"));
        assert!(world.complaints.is_empty(), "{}", world.complaints.join("\n"));
    }
}

#[test]
fn trap_13_14_15_16_28_what_is_committed_is_what_one_process_would_have_made_part_1() {
    share(0);
}

#[test]
fn trap_13_14_15_16_28_what_is_committed_is_what_one_process_would_have_made_part_2() {
    share(1);
}

#[test]
fn trap_13_14_15_16_28_what_is_committed_is_what_one_process_would_have_made_part_3() {
    share(2);
}

#[test]
fn trap_13_14_15_16_28_what_is_committed_is_what_one_process_would_have_made_part_4() {
    share(3);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for seed in 0..3 {
        assert_eq!(simulate(seed, None, true).trace, simulate(seed, None, true).trace);
    }
}
