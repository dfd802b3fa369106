//! The operators of the simulated job: a source, a windowed count by key, and a total over keys. State and
//! output are functions of the cuts; digests depend on the order of merging, so that another order is seen.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_streaming::cut::Cut;
use dunlin_streaming::group::Job;
use dunlin_streaming::home::Input;
use dunlin_streaming::id::{SlotId, SplitId, StageNo};
use dunlin_streaming::time::{
    Counts, Merger, SourceClock, SplitTiming, Timing, Watermark, WatermarkOptions, Windows, timing,
};

use super::rows::{Body, Fate, Row, SplitRows, WINDOW_MS, shard};

/// Rows of a frame at most.
const FRAME_ROWS: usize = 3;

/// What a window has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) sum: u64,
    pub(super) digest: u64,
}

/// A row of the job's answer: key (0 for totals), window, tally.
pub(super) type Answer = (u64, i64, Tally);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceState {
    pub(super) offsets: BTreeMap<SplitId, u64>,
    pub(super) ended: BTreeMap<SplitId, bool>,
    clock: SourceClock,
    pub(super) at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyedState {
    pub(super) open: BTreeMap<(u64, i64), Tally>,
    merger: Merger,
    /// Rows that were late in a stage that must not have any.
    pub(super) late_totals: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Source(SourceState),
    Keyed(KeyedState),
}

/// What one mb of a slot sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) to: BTreeMap<SlotId, Vec<Body>>,
    pub(super) watermark: Watermark,
    pub(super) idle: bool,
}

/// What one mb of a slot did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) output: Output,
    pub(super) counts: Counts,
    pub(super) answers: Vec<Answer>,
}

impl State {
    pub(super) fn new(job: &Job, slot: SlotId, options: WatermarkOptions) -> Self {
        if job.is_source(slot) {
            return Self::Source(SourceState {
                offsets: BTreeMap::new(),
                ended: BTreeMap::new(),
                clock: SourceClock::new(options),
                at_ms: 0,
            });
        }
        let (open, merger) = (BTreeMap::new(), Merger::default());
        Self::Keyed(KeyedState { open, merger, late_totals: 0 })
    }
}

impl SourceState {
    /// Runs a cut: the same rows and the same words on time, whoever runs it and when.
    pub(super) fn run(
        &mut self,
        job: &Job,
        slot: SlotId,
        cut: &Cut,
        splits: &BTreeMap<SplitId, SplitRows>,
    ) -> Ran {
        self.clock.begin(cut.at_ms);
        self.at_ms = cut.at_ms;
        let mut counts = Counts::default();
        let mut sent = Vec::new();
        for range in &cut.ranges {
            self.clock.split(range.split);
            let offset = self.offsets.entry(range.split).or_default();
            assert_eq!(*offset, range.from, "slot {slot} goes on elsewhere than it stopped");
            *offset = range.to;
            for (row, fate) in &splits[&range.split].rows[range.from as usize..range.to as usize] {
                counts.read += 1;
                if *fate == Fate::Dead {
                    counts.dead += 1;
                    continue;
                }
                if self.clock.row(range.split, row.time) == SplitTiming::Ahead {
                    counts.ahead += 1;
                }
                match fate {
                    Fate::Filtered => counts.filtered += 1,
                    _ => sent.push(*row),
                }
            }
            self.ended.insert(range.split, range.ends);
            if range.ends {
                self.clock.end(range.split);
            }
        }
        let (watermark, idle) = self.clock.say();
        let to = partition(job, slot, sent, |row| shard(row.key));
        Ran { output: Output { to, watermark, idle }, counts, answers: Vec::new() }
    }
}

impl KeyedState {
    /// A broken rule: what came beside the rows decides whether they are late.
    pub(super) fn see_watermarks(&mut self, inputs: &[Input<Body>]) {
        self.merger.merge(inputs.iter().map(|input| (input.watermark, input.idle)));
    }

    /// Merges a sealed mb: rows by the watermark at its start, then the watermark, then what has ended.
    pub(super) fn merge(&mut self, job: &Job, slot: SlotId, inputs: &[Input<Body>]) -> Ran {
        let windows = Windows::tumbling(WINDOW_MS, 0).expect("valid");
        let first = reads_sources(job, slot);
        let at_start = self.merger.now();
        let mut counts = Counts::default();
        for row in inputs.iter().flat_map(|input| &input.bodies).flat_map(|body| body.iter()) {
            let window = windows.of(row.time).expect("in range")[0];
            if timing(window.end, at_start, 0) == Timing::Late {
                counts.late += u64::from(first);
                self.late_totals += u64::from(!first);
                continue;
            }
            counts.used += u64::from(first);
            let key = if first { row.key } else { 0 };
            self.open.entry((key, window.start)).or_default().add(row, first);
        }
        let watermark = self.merger.merge(inputs.iter().map(|input| (input.watermark, input.idle)));
        let ended = |(_, start): &(u64, i64)| start + WINDOW_MS <= watermark.0;
        let fired: Vec<(u64, i64)> = self.open.keys().filter(|key| ended(key)).copied().collect();
        let fired: Vec<Answer> = fired
            .into_iter()
            .filter_map(|key| Some((key.0, key.1, self.open.remove(&key)?)))
            .collect();
        let last = job.downstream(slot).is_empty();
        let rows = fired.iter().map(|(_, window, tally)| Row {
            key: tally.rows,
            time: *window,
            value: tally.sum,
        });
        let rows = if last { Vec::new() } else { rows.collect() };
        let to = partition(job, slot, rows, |row| shard(row.time as u64));
        let output = Output { to, watermark, idle: false };
        Ran { output, counts, answers: if last { fired } else { Vec::new() } }
    }
}

impl Tally {
    fn add(&mut self, row: &Row, first: bool) {
        self.rows += if first { 1 } else { row.key };
        self.sum += row.value;
        self.digest = self.digest.wrapping_mul(31).wrapping_add(row.value + 7 * row.key);
    }
}

/// True if the slot's stage reads sources.
pub(super) fn reads_sources(job: &Job, slot: SlotId) -> bool {
    job.upstream(slot).iter().all(|from| job.is_source(*from))
}

fn partition(
    job: &Job,
    slot: SlotId,
    rows: Vec<Row>,
    shard: impl Fn(&Row) -> u16,
) -> BTreeMap<SlotId, Vec<Body>> {
    let receivers = job.downstream(slot);
    let stage = receivers.first().map(|to| to.stage);
    let mut by_slot: BTreeMap<SlotId, Vec<Row>> =
        receivers.into_iter().map(|to| (to, Vec::new())).collect();
    for row in rows {
        let to = job.slot_of(stage.unwrap_or(StageNo(0)), shard(&row));
        by_slot.entry(to).or_default().push(row);
    }
    let frames = |rows: Vec<Row>| rows.chunks(FRAME_ROWS).map(|c| Rc::new(c.to_vec())).collect();
    by_slot.into_iter().map(|(to, rows)| (to, frames(rows))).collect()
}
