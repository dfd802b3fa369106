//! The rows of sources: each a function of (seed, split, offset), so that any reader can read them again.

use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_fuzz::Chance;
use dunlin_streaming::group::vshard_of;

/// Length of the windows that are counted, in milliseconds.
pub(super) const WINDOW_MS: i64 = 40;

/// Something that flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) key: u64,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    pub(super) value: u64,
}

/// A bunch of rows on its way.
pub(super) type Body = Rc<Vec<Row>>;

/// What a source does with a row before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Filtered,
    Dead,
}

/// One split: what it holds and when.
#[derive(Clone, Debug)]
pub(super) struct SplitRows {
    pub(super) rows: Vec<(Row, Fate)>,
    /// When each is there to be read, in microseconds of the simulation.
    pub(super) there_us: Vec<u64>,
}

/// How rows are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowOptions {
    pub(super) rows: usize,
    /// How much rows are out of order, in milliseconds.
    pub(super) disorder_ms: usize,
    pub(super) far: bool,
    /// The wall clock at the beginning.
    pub(super) start_ms: i64,
}

impl SplitRows {
    pub(super) fn make(options: &RowOptions, chance: &mut Chance) -> Self {
        let (mut rows, mut there_us) = (Vec::new(), Vec::new());
        let mut at_us = 0u64;
        for _ in 0..options.rows {
            at_us += chance.below(5_000) as u64;
            let behind = chance.below(options.disorder_ms + 1) as i64;
            let far = options.far && chance.once_in(40);
            let ahead = if far { 86_400_000 } else { 0 };
            let time = options.start_ms + (at_us / 1000) as i64 - behind + ahead;
            let row = Row { key: chance.below(6) as u64, time, value: 1 + chance.below(9) as u64 };
            let fate = match chance.below(12) {
                0 => Fate::Filtered,
                1 => Fate::Dead,
                _ => Fate::Sent,
            };
            rows.push((row, fate));
            there_us.push(at_us);
        }
        Self { rows, there_us }
    }

    /// Offsets below this can be read.
    pub(super) fn there(&self, now_us: u64) -> u64 {
        self.there_us.partition_point(|at| *at <= now_us) as u64
    }
}

/// The answer of a batch query: rows and sum of values by (key, window).
pub(super) fn batch<'a>(
    splits: impl IntoIterator<Item = &'a SplitRows>,
) -> BTreeMap<(u64, i64), (u64, u64)> {
    let mut answer = BTreeMap::new();
    for (row, fate) in splits.into_iter().flat_map(|split| &split.rows) {
        if *fate == Fate::Sent {
            let window = row.time.div_euclid(WINDOW_MS) * WINDOW_MS;
            let entry: &mut (u64, u64) = answer.entry((row.key, window)).or_default();
            *entry = (entry.0 + 1, entry.1 + row.value);
        }
    }
    answer
}

pub(super) fn shard(number: u64) -> u16 {
    vshard_of(&number.to_le_bytes())
}

/// A checksum that sees every field.
pub(super) fn sum_of(rows: &[Row]) -> u64 {
    rows.iter().fold(rows.len() as u64, |sum, row| {
        let mixed = row.key ^ (row.time as u64).rotate_left(20) ^ row.value.rotate_left(50);
        sum.wrapping_add(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    })
}
