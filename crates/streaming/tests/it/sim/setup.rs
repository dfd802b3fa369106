//! What a seed draws: the job, its rows, how bad the network is, and what befalls whom when.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_fuzz::Chance;
use dunlin_streaming::cut::TickPolicy;
use dunlin_streaming::group::{Job, Stage};
use dunlin_streaming::id::{SplitId, StageNo};
use dunlin_streaming::time::WatermarkOptions;
use dunlin_streaming::tuner::TunerOptions;

use super::rows::{RowOptions, SplitRows};

/// A rule that is broken on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// New owners of source slots cut afresh, whatever was merged.
    NoPins,
    /// A home tells what it has merged, and goes on merging, until it reads the pins.
    NoPromise,
    /// Homes believe that every cut is of the latest owner.
    TermsOfCutsIgnored,
    /// A commit does not compare that no slot has changed hands.
    CommitUnfenced,
    /// Parts of any term count.
    PartsOfAnyTerm,
    /// A claim does not compare that the commit it begins after is the last one.
    ClaimUnfenced,
    /// A slot's record dies with its owner.
    TermsForgotten,
    /// Homes do not ask for what is missing.
    NoAsk,
    /// Homes wait for their first edge only.
    OneEdge,
    /// Whoever hands a slot on drops its ring.
    RingDropped,
    /// An owner runs on while its hand-over is on the way to the store.
    RunsWhileHandingOver,
    /// Frames are merged in the order of arrival.
    ArrivalOrder,
    /// Rows are late by the watermark that came with them.
    LateAfterwards,
    /// Cuts that are run again read the clock again.
    ClockReadAgain,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strike {
    Kill,
    Pause(u64),
    Add,
    Drain,
    /// It reaches its peers and not the store.
    CutOff(u64),
    /// A live owner is taken for dead.
    Usurp,
}

/// All that a seed determines beforehand.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) job: Job,
    pub(super) splits: BTreeMap<SplitId, SplitRows>,
    /// The source stage of each split, and when it is discovered.
    pub(super) discovered: Vec<(SplitId, StageNo, u64)>,
    pub(super) watermark: WatermarkOptions,
    pub(super) can_be_late: bool,
    pub(super) tick: TickPolicy,
    pub(super) start_ms: i64,
    pub(super) executors: usize,
    /// In thousandths.
    pub(super) dropped: usize,
    pub(super) doubled: usize,
    pub(super) delay_us: usize,
    /// Answers of the store that are lost, in thousandths.
    pub(super) answers_lost: usize,
    pub(super) strikes: Vec<(u64, Strike)>,
    pub(super) mutation: Option<Mutation>,
}

impl Setup {
    pub(super) fn draw(chance: &mut Chance, mutation: Option<Mutation>) -> Rc<Self> {
        let (job, sources) = draw_job(chance);
        let disorder = chance.below(30);
        let can_be_late = chance.once_in(2);
        let start_ms = [1_700_000_000_000, -40, -5_000][chance.below(3)];
        let rows = RowOptions {
            rows: 8 + chance.below(40),
            disorder_ms: disorder,
            far: chance.once_in(3),
            start_ms,
        };
        let splits: BTreeMap<SplitId, SplitRows> = (0..1 + chance.below(4))
            .map(|n| (SplitId(n as u32), SplitRows::make(&rows, chance)))
            .collect();
        let discovered = splits.keys().map(|split| {
            let later = can_be_late && chance.once_in(4);
            let at = if later { chance.below(80_000) as u64 } else { 0 };
            (*split, StageNo((split.0 as usize % sources) as u16), at)
        });
        let discovered = discovered.collect();
        let slack = if can_be_late { chance.below(disorder + 1) } else { disorder };
        Rc::new(Self {
            job,
            splits,
            discovered,
            watermark: WatermarkOptions {
                delay_ms: slack as i64,
                ahead_max_ms: 1_000,
                idle_after_ms: if can_be_late { 10 + chance.below(30) as u64 } else { 1 << 40 },
            },
            can_be_late,
            tick: TickPolicy {
                min_us: 1_000,
                max_us: 12_000,
                rows_max: 1 + chance.below(8) as u64,
            },
            start_ms,
            executors: 2 + chance.below(3),
            dropped: [0, 20, 80][chance.below(3)],
            doubled: [0, 50][chance.below(2)],
            delay_us: [300, 2_000, 10_000][chance.below(3)],
            answers_lost: [0, 50][chance.below(2)],
            strikes: draw_strikes(chance),
            mutation,
        })
    }

    pub(super) fn breaks(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}

fn draw_job(chance: &mut Chance) -> (Job, usize) {
    let sources = 1 + chance.below(2);
    let stage = |slots: usize, inputs: Vec<u16>| Stage {
        slots: slots as u16,
        inputs: inputs.into_iter().map(StageNo).collect(),
    };
    let mut stages: Vec<Stage> = (0..sources).map(|_| stage(1 + chance.below(2), vec![])).collect();
    stages.push(stage(1 + chance.below(3), (0..sources as u16).collect()));
    if !chance.once_in(4) {
        stages.push(stage(1 + chance.below(2), vec![sources as u16]));
    }
    let tuner = TunerOptions { most: 6, ..TunerOptions::default() };
    (Job::new(stages, tuner).expect("valid"), sources)
}

fn draw_strikes(chance: &mut Chance) -> Vec<(u64, Strike)> {
    let mut strikes: Vec<(u64, Strike)> = (0..chance.below(7))
        .map(|_| {
            let strike = match chance.below(12) {
                0..=2 => Strike::Kill,
                3..=5 => Strike::Pause(5_000 + chance.below(150_000) as u64),
                6 => Strike::Add,
                7 => Strike::Drain,
                8..=10 => Strike::CutOff(5_000 + chance.below(150_000) as u64),
                _ => Strike::Usurp,
            };
            (5_000 + chance.below(220_000) as u64, strike)
        })
        .collect();
    if chance.once_in(2) {
        // Two at once are what a single fault does not show.
        let at = 10_000 + chance.below(150_000) as u64;
        let long = 50_000 + chance.below(100_000) as u64;
        let first = if chance.once_in(2) { Strike::Pause(long) } else { Strike::CutOff(long) };
        strikes.push((at, first));
        strikes.push((at + chance.below(3_000) as u64, Strike::Kill));
    }
    strikes
}
