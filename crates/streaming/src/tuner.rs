//! How many micro-batches the next group has: as few as keep coordination cheap. Called by whoever
//! writes a group record; the state is in the record.
//!
//! Multiplicative increase, additive decrease: too much coordination costs now, too large a group only
//! makes the job slower to adapt.

/// The tuner's limits. Shares are in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunerOptions {
    /// Above this share of coordination the group doubles.
    pub above_ppm: u32,
    /// Below it for [`TunerOptions::patience`] groups, the group shrinks.
    pub below_ppm: u32,
    /// How many groups in a row.
    pub patience: u32,
    /// Weight of the newest group in the average.
    pub newest_ppm: u32,
    /// Smallest group, in mbs.
    pub least: u32,
    /// Largest group, in mbs.
    pub most: u32,
    /// A group lasts no longer than this: it bounds replay, adaptation and the delay of commits.
    pub adapt_max_us: u64,
}

impl Default for TunerOptions {
    fn default() -> Self {
        Self {
            above_ppm: 50_000,
            below_ppm: 10_000,
            patience: 3,
            newest_ppm: 300_000,
            least: 1,
            most: 4096,
            adapt_max_us: 1_000_000,
        }
    }
}

/// What was measured of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupMetrics {
    /// Time that slots waited for coordination and nothing overlapped, in microseconds.
    pub coordination_us: u64,
    /// Time that they worked.
    pub busy_us: u64,
    /// From one mb to the next, on average.
    pub tick_us: u64,
    /// From the end of the group to its commit.
    pub commit_us: u64,
}

/// What the tuner knows. The first group has two mbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunerState {
    /// Mbs of the group.
    pub size: u32,
    /// Average share of coordination at this size; none yet at a new size.
    pub average_ppm: Option<u32>,
    /// Groups in a row below the band.
    pub below: u32,
}

impl Default for TunerState {
    fn default() -> Self {
        Self { size: 2, average_ppm: None, below: 0 }
    }
}

/// Why the size is what it is. To be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was measured, or the share is inside the band.
    Keep,
    /// Too much coordination.
    Grow,
    /// Little coordination for a while.
    Shrink,
    /// As long as a group may last. If `overloaded`, commits are too slow for that: an alarm.
    Longest {
        /// Commits take more than half of the longest group.
        overloaded: bool,
    },
    /// As short as commits allow.
    Shortest,
}

/// The size of the next group. A group without any measured time changes nothing.
pub fn tune(
    before: TunerState,
    measured: &GroupMetrics,
    options: &TunerOptions,
) -> (TunerState, Reason) {
    let total = measured.coordination_us.saturating_add(measured.busy_us);
    if total == 0 {
        return (before, Reason::Keep);
    }
    let share = (u128::from(measured.coordination_us) * 1_000_000 / u128::from(total)) as u32;
    let average = smoothed(before.average_ppm, share, options.newest_ppm);
    let below = if average < options.below_ppm { before.below + 1 } else { 0 };
    let (wish, reason) = if average > options.above_ppm {
        (before.size.saturating_mul(2), Reason::Grow)
    } else if below >= options.patience {
        (before.size.saturating_sub((before.size / 16).max(1)), Reason::Shrink)
    } else {
        (before.size, Reason::Keep)
    };
    let wish = wish.clamp(options.least.max(1), options.most.max(1));
    let (size, reason) = clamp(wish, reason, measured, options);
    // An average over groups of other sizes would have it go on where it should stop.
    let moved = size != before.size;
    let state = TunerState {
        size,
        average_ppm: (!moved).then_some(average),
        below: if moved { 0 } else { below.min(options.patience) },
    };
    (state, reason)
}

fn smoothed(before: Option<u32>, newest: u32, weight_ppm: u32) -> u32 {
    let Some(before) = before else { return newest };
    let weight = u64::from(weight_ppm.min(1_000_000));
    let sum = u64::from(newest) * weight + u64::from(before) * (1_000_000 - weight);
    (sum / 1_000_000) as u32
}

/// The time limits. The longest group wins over the shortest: a job that cannot commit fast enough must
/// not become one that cannot adapt, too.
fn clamp(
    wish: u32,
    reason: Reason,
    measured: &GroupMetrics,
    options: &TunerOptions,
) -> (u32, Reason) {
    let tick = measured.tick_us.max(1);
    let mbs = |time: u64| u32::try_from(time / tick).unwrap_or(u32::MAX);
    let longest = mbs(options.adapt_max_us).max(options.least).max(1);
    let shortest = mbs(measured.commit_us.saturating_mul(2)).min(options.most);
    let overloaded = shortest > longest;
    if overloaded || wish > longest {
        (longest, Reason::Longest { overloaded })
    } else if wish < shortest {
        (shortest, Reason::Shortest)
    } else {
        (wish, reason)
    }
}

#[cfg(test)]
mod tests {
    use dunlin_fuzz::Chance;

    use super::*;

    /// A job whose groups cost `fixed` and whose mbs take `mb`, in microseconds, give or take `noise`
    /// per cent.
    fn run(fixed: u64, mb: u64, noise: usize, groups: usize, seed: u64) -> Vec<(u32, u32)> {
        let mut chance = Chance::new(seed);
        let mut state = TunerState::default();
        let mut course = Vec::new();
        for _ in 0..groups {
            let size = state.size;
            let mut about =
                |time: u64| time * (100 - noise as u64 + chance.below(2 * noise + 1) as u64) / 100;
            let measured = GroupMetrics {
                coordination_us: about(fixed),
                busy_us: about(mb * u64::from(size)),
                tick_us: mb,
                commit_us: fixed / 2,
            };
            let true_share = fixed * 1_000_000 / (fixed + mb * u64::from(size));
            course.push((size, true_share as u32));
            state = tune(state, &measured, &TunerOptions::default()).0;
        }
        course
    }

    #[test]
    fn speed_line_7_from_two_into_the_band_within_eight_groups_and_it_stays() {
        let options = TunerOptions::default();
        for (fixed, mb) in
            [(4_000, 1_000), (2_000, 2_000), (5_000, 1_000), (800, 300), (900, 10_000)]
        {
            for seed in 0..200 {
                let noise = if seed == 0 { 0 } else { 10 };
                let course = run(fixed, mb, noise, 200, seed);
                let inside = |share: u32| {
                    // The band, and what the noise may make of its ends.
                    let slack = 1 + noise as u32 / 3;
                    share <= options.above_ppm * (10 + slack) / 10
                        && share >= options.below_ppm * 10 / (10 + slack)
                };
                let entered = course.iter().position(|(_, share)| inside(*share));
                assert!(entered.is_some_and(|group| group < 8), "{fixed}/{mb}: {course:?}");
                let settled = course[8].0;
                for (size, share) in &course[8..] {
                    assert!(inside(*share), "{fixed}/{mb} seed {seed}: left with {share}");
                    assert!(*size <= settled * 2, "{fixed}/{mb} seed {seed}: {course:?}");
                }
            }
        }
    }

    #[test]
    fn trap_25_a_group_never_lasts_longer_than_the_limit_however_great_the_load() {
        let options = TunerOptions::default();
        for seed in 0..2000 {
            let mut chance = Chance::new(seed);
            let mut state = TunerState::default();
            for _ in 0..60 {
                let measured = GroupMetrics {
                    coordination_us: chance.below(2_000_000) as u64,
                    busy_us: chance.below(3_000_000) as u64,
                    tick_us: 1 + chance.below(400_000) as u64,
                    commit_us: chance.below(3_000_000) as u64,
                };
                let (next, reason) = tune(state, &measured, &options);
                let lasts = u64::from(next.size) * measured.tick_us;
                assert!(lasts <= options.adapt_max_us || next.size == 1, "seed {seed} {next:?}");
                let too_slow = measured.commit_us * 2 > options.adapt_max_us + measured.tick_us;
                if too_slow && next.size > 1 && reason == (Reason::Longest { overloaded: false }) {
                    panic!("seed {seed}: slow commits were not said");
                }
                state = next;
            }
        }
    }

    #[test]
    fn it_shrinks_by_steps_when_coordination_becomes_cheap() {
        let mut state = TunerState { size: 320, average_ppm: None, below: 0 };
        let mut sizes = vec![];
        for _ in 0..12 {
            let cheap =
                GroupMetrics { coordination_us: 1, busy_us: 1000, tick_us: 1, commit_us: 1 };
            state = tune(state, &cheap, &TunerOptions::default()).0;
            sizes.push(state.size);
        }
        assert_eq!(sizes, [320, 320, 300, 300, 300, 282, 282, 282, 265, 265, 265, 249]);
    }

    #[test]
    fn a_group_without_measurements_changes_nothing() {
        let state = TunerState { size: 9, average_ppm: Some(7), below: 2 };
        let tuned = tune(state, &GroupMetrics::default(), &TunerOptions::default());
        assert_eq!(tuned, (state, Reason::Keep));
    }
}
