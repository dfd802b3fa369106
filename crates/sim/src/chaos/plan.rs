//! From a seed to strikes: pure, so that a run that failed can be planned again.
//!
//! What the machine does in between is its own: the same seed gives the same faults in the same
//! order, not the same moments in the life of a query.

use std::time::Duration;

use dunlin_base::Env;

use super::faults::Fault;

/// The longest wait before the next strike.
const PAUSE_MS: u64 = 1200;

/// One fault at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// Its place in the run.
    pub number: usize,
    /// What is done.
    pub fault: &'static Fault,
    /// To which of those it can be done to, modulo their number.
    pub target: usize,
    /// How long the one before has struck when it does.
    pub after: Duration,
    /// For how long.
    pub time: Duration,
    /// What else is to be drawn, such as at which passage a fail point fails.
    pub chance: u64,
}

/// `count` strikes with these faults. Each fault comes as often as the others, in an order that the
/// seed says.
pub fn plan(seed: u64, count: usize, faults: &[&'static Fault]) -> Vec<Strike> {
    let chance = Env::seeded(seed);
    let mut bag: Vec<&'static Fault> = Vec::new();
    let strike = |number| {
        if bag.is_empty() {
            bag.extend(faults);
        }
        let fault = bag.swap_remove(chance.random_below(bag.len() as u64) as usize);
        let (from, to) = fault.ms;
        let ms = u64::from(from) + chance.random_below(u64::from(to - from));
        Strike {
            number,
            fault,
            target: chance.random_below(1 << 16) as usize,
            after: Duration::from_millis(chance.random_below(PAUSE_MS)),
            time: Duration::from_millis(ms),
            chance: chance.random(),
        }
    };
    if faults.is_empty() { Vec::new() } else { (1..=count).map(strike).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::chaos::FAULTS;

    #[test]
    fn a_seed_says_everything() {
        let all: Vec<&Fault> = FAULTS.iter().collect();
        let told = |seed| format!("{:?}", plan(seed, 50, &all));
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }

    #[test]
    fn every_fault_comes_as_often_as_the_others() {
        let all: Vec<&Fault> = FAULTS.iter().collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for strike in plan(1, FAULTS.len() * 3, &all) {
            *counts.entry(strike.fault.name).or_default() += 1;
            let (from, to) = strike.fault.ms;
            assert!((u128::from(from)..u128::from(to)).contains(&strike.time.as_millis()));
        }
        assert_eq!(counts.len(), FAULTS.len());
        assert!(counts.values().all(|count| *count == 3), "{counts:?}");
        assert!(plan(1, 5, &[]).is_empty());
    }
}
