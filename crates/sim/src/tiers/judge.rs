//! Whether what was found of a combination may be. Pure.

use dunlin_base::{ByteCount, Kind};

use super::held::Held;
use super::matrix::{Combination, Place, Sizes};
use super::run::{Answer, Found};
use crate::chaos::Outcome;

/// Everything that must not be, a line each.
pub fn judge(combination: &Combination, sizes: &Sizes, found: &Found) -> Vec<String> {
    let mut defects = found.left.clone();
    let may_refuse = combination.may_refuse();
    let answers = found.skew.iter().chain(&found.queries);
    defects.extend(answers.filter_map(|answer| wrong(answer, may_refuse)));
    let memory = combination.memory(sizes);
    for (what, held) in [("skew", &found.held_skew), ("TPC-H", &found.held_queries)] {
        if held.memory_of_one > memory {
            let (has, may) = (ByteCount(held.memory_of_one), ByteCount(memory));
            defects.push(format!("{what}: a worker held {has} in memory, its budget is {may}"));
        }
        if held.looks == 0 {
            defects.push(format!("{what}: nobody saw what the workers held"));
        }
    }
    for place in Place::ALL {
        defects.extend(misplaced(combination, place, &found.held_skew));
    }
    defects
}

/// An answer that may not be.
fn wrong(answer: &Answer, may_refuse: bool) -> Option<String> {
    let name = &answer.name;
    match &answer.outcome {
        Outcome::Right => None,
        Outcome::Failed(error, _) if may_refuse && error.kind() == Kind::Exhausted => None,
        Outcome::Failed(error, _) => Some(format!("{name}: {}: {error}", error.kind())),
        Outcome::Wrong(how) => Some(format!("{name}: wrong rows: {how}")),
        Outcome::Hung => Some(format!("{name}: no answer after {:?}", answer.took)),
    }
}

/// A place of the combination that got nothing, or one outside of it that got something. Memory is on
/// the way to every place.
fn misplaced(combination: &Combination, place: Place, held: &Held) -> Option<String> {
    let (name, through) = (place.as_str(), held.through(place));
    match combination.has(place) {
        true if through == 0 => Some(format!("skew: nothing was in {name}")),
        false if through > 0 && place != Place::Memory => {
            Some(format!("skew: {} in {name}", ByteCount(through)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dunlin_base::Error;

    use super::*;
    use crate::tiers::matrix;

    const SIZES: Sizes = Sizes { skew: 2 << 30, executor: 1, partitions: 1 };

    fn answer(outcome: Outcome) -> Answer {
        Answer { name: "skew".to_owned(), outcome, took: Duration::from_secs(1) }
    }

    fn found(outcome: Outcome, through: [u64; 3]) -> Found {
        let [memory, to_disks, to_objects] = through;
        let peaks = [memory, 0, 0];
        let held =
            Held { peaks, memory_of_one: memory, to_disks, to_objects, looks: 1, resident: 0 };
        let empty = Held { looks: 1, ..Held::default() };
        Found {
            skew: Some(answer(outcome)),
            queries: Vec::new(),
            held_skew: held,
            held_queries: empty,
            left: Vec::new(),
        }
    }

    #[test]
    fn places_that_got_nothing_and_memory_beyond_the_budget_are_defects() {
        let all = matrix(false);
        let three = all.iter().find(|c| c.places.len() == 3).expect("three places");
        let defects = |through| judge(three, &SIZES, &found(Outcome::Right, through)).len();
        assert_eq!(defects([100, 5, 5]), 0);
        assert_eq!(defects([three.memory(&SIZES) + 1, 5, 5]), 1, "above the budget");
        assert_eq!(defects([100, 0, 5]), 1, "nothing on disks");
        let disks = all.iter().find(|c| c.places == [Place::Disks]).expect("disks alone");
        assert_eq!(judge(disks, &SIZES, &found(Outcome::Right, [100, 5, 5])).len(), 1);
    }

    #[test]
    fn only_memory_that_is_too_small_may_refuse_and_only_so() {
        let exhausted = || Outcome::Failed(Error::exhausted("no memory"), false);
        let lost = Outcome::Failed(Error::lost("a block"), false);
        for combination in matrix(false) {
            let through = Place::ALL.map(|place| u64::from(combination.has(place)));
            let defects = judge(&combination, &SIZES, &found(exhausted(), through));
            assert_eq!(defects.is_empty(), combination.may_refuse(), "{defects:?}");
        }
        let memory = &matrix(false)[0];
        assert_eq!(judge(memory, &SIZES, &found(lost, [1, 0, 0])).len(), 1);
    }
}
