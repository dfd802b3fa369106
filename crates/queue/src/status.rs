//! What callers see of a query's state.

use dunlin_base::{Error, QueryId, Result, StageEpoch, StageId};
use dunlin_proto::output::{MapOutput, OperatorStats, StageOutput, TaskStats};
pub use dunlin_proto::queue::Phase;
use dunlin_proto::queue::{Segment, Stage, StagePhase};

use crate::depot;
use crate::failure;
use crate::queue::Queue;
use crate::records::{Purpose, Records};
use crate::segment;

/// How a query ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `Done`, `Failed` or `Cancelled`.
    pub phase: Phase,
    /// Why it failed or was cancelled, with kind, message and hint as the first process saw them.
    pub failure: Option<Error>,
    /// The stage that holds the result, if the query is done and its records still exist.
    pub result: Option<(StageId, StageEpoch, StageOutput)>,
    /// Rows of the result.
    pub rows: u64,
}

/// The smallest, middle and largest of a figure over the tasks of a stage: far apart means skew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Smallest.
    pub min: u64,
    /// Middle (the lower one of two).
    pub median: u64,
    /// Largest.
    pub max: u64,
}

/// A query and its stages at one revision.
#[derive(Clone, Debug)]
pub struct QueryStatus {
    /// The query.
    pub query: QueryId,
    /// Its phase.
    pub phase: Phase,
    /// Its SQL (the beginning of it, if long).
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, 0 before.
    pub ended_unix_ms: u64,
    /// Why it failed.
    pub failure: Option<Error>,
    /// Rows of the result, once done.
    pub rows: u64,
    /// How many decisions have been made.
    pub decisions: u32,
    /// The stages opened so far, by number.
    pub stages: Vec<StageStatus>,
}

/// A stage at one revision.
#[derive(Clone, Debug)]
pub struct StageStatus {
    /// The stage.
    pub stage: StageId,
    /// Its epoch.
    pub epoch: StageEpoch,
    /// True once its output is complete.
    pub sealed: bool,
    /// Stages it reads.
    pub inputs: Vec<StageId>,
    /// When it became claimable, in milliseconds since 1970.
    pub opened_unix_ms: u64,
    /// When it was sealed, 0 before.
    pub sealed_unix_ms: u64,
    /// Slices in all.
    pub slices_total: u32,
    /// Slices that are committed.
    pub slices_done: u32,
    /// Slices that are claimed and not committed.
    pub slices_running: u32,
    /// Attempts so far, with those that failed.
    pub attempts: u32,
    /// Attempts that failed.
    pub attempts_failed: u32,
    /// Committed tasks (each ran one or more slices).
    pub tasks: u32,
    /// Rows written by committed tasks.
    pub rows: u64,
    /// Bytes written by committed tasks.
    pub bytes: u64,
    /// Bytes read by committed tasks.
    pub bytes_in: u64,
    /// Bytes spilled by committed tasks.
    pub spilled_bytes: u64,
    /// Largest memory of one task.
    pub peak_memory_bytes: u64,
    /// Time of committed tasks.
    pub elapsed_us: Spread,
    /// Rows per slice of committed tasks.
    pub rows_per_slice: Spread,
    /// Bytes per slice of committed tasks.
    pub bytes_per_slice: Spread,
    /// The operators, summed over committed tasks.
    pub operators: Vec<OperatorStats>,
}

/// A query that has records: running, or ended and not yet removed.
#[derive(Clone, Debug)]
pub struct RunningQuery {
    /// The query.
    pub query: QueryId,
    /// Its phase.
    pub phase: Phase,
    /// The beginning of its SQL.
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// Process id of the gateway that accepted it, as text.
    pub gateway: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, 0 before.
    pub ended_unix_ms: u64,
    /// When its time is up, in milliseconds since 1970.
    pub deadline_unix_ms: Option<u64>,
    /// When a reader of its result last asked to keep it (see [`Queue::keep`]), 0 if none did.
    pub read_unix_ms: u64,
    /// The build whose processes can run it; empty: any.
    pub build: String,
}

/// A removed query.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The query.
    pub query: QueryId,
    /// How it ended.
    pub phase: Phase,
    /// Its SQL (the beginning of it, if long).
    pub sql: String,
    /// Who asked.
    pub user: String,
    /// When it was published, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ended, in milliseconds since 1970.
    pub ended_unix_ms: u64,
    /// Rows of its result.
    pub rows: u64,
    /// Why it failed.
    pub failure: Option<Error>,
    /// Stages that were opened.
    pub stages: u32,
    /// Slices of those.
    pub slices: u32,
    /// Attempts at them.
    pub attempts: u32,
}

impl Queue {
    /// The query's state, or `None` if it has no records (see [`Queue::history`]).
    pub async fn status(&self, query: QueryId) -> Result<Option<QueryStatus>> {
        let Some(records) = self.load(query, Purpose::Report).await? else { return Ok(None) };
        let meta = &records.meta.record;
        let mut stages = Vec::with_capacity(records.stages.len());
        for (number, stage) in &records.stages {
            stages.push(stage_status(&records, *number, &stage.record)?);
        }
        Ok(Some(QueryStatus {
            query,
            phase: meta.phase(),
            sql: meta.sql.clone(),
            user: meta.user.clone(),
            created_unix_ms: meta.created_unix_ms,
            ended_unix_ms: meta.ended_unix_ms,
            failure: meta.failure.as_ref().map(failure::to_error),
            rows: meta.rows,
            decisions: meta.decisions,
            stages,
        }))
    }
}

fn stage_status(records: &Records, number: u32, stage: &Stage) -> Result<StageStatus> {
    let sealed = stage.phase() == StagePhase::Sealed;
    let output = if sealed {
        depot::decode(records.body(stage.output.as_ref())?, "the output of a stage")?
    } else {
        records.committed(number)?
    };
    let segments: Vec<&Segment> = records.segments_of(number).collect();
    let claimed = |s: &&Segment| s.claims.iter().map(|c| c.slice_count).sum::<u32>();
    let sum = |figure: fn(&TaskStats) -> u64| stats(&output).map(figure).sum();
    Ok(StageStatus {
        stage: StageId(number),
        epoch: StageEpoch(stage.epoch),
        sealed,
        inputs: stage.inputs.iter().map(|input| StageId(*input)).collect(),
        opened_unix_ms: stage.opened_unix_ms,
        sealed_unix_ms: stage.sealed_unix_ms,
        slices_total: stage.slice_count,
        slices_done: segments.iter().map(|s| segment::done(s)).sum(),
        slices_running: segments.iter().map(claimed).sum(),
        attempts: segments.iter().map(|s| s.next_attempt).sum(),
        attempts_failed: segments.iter().map(|s| s.failures.len() as u32).sum(),
        tasks: output.maps.len() as u32,
        rows: output.maps.iter().map(rows_of).sum(),
        bytes: output.maps.iter().map(bytes_of).sum(),
        bytes_in: sum(|s| s.bytes_in),
        spilled_bytes: sum(|s| s.spilled_bytes),
        peak_memory_bytes: stats(&output).map(|s| s.peak_memory_bytes).max().unwrap_or(0),
        elapsed_us: spread(stats(&output).map(|s| s.elapsed_us).collect()),
        rows_per_slice: spread(output.maps.iter().map(|m| per_slice(m, rows_of(m))).collect()),
        bytes_per_slice: spread(output.maps.iter().map(|m| per_slice(m, bytes_of(m))).collect()),
        operators: operators(&output),
    })
}

fn stats(output: &StageOutput) -> impl Iterator<Item = &TaskStats> {
    output.maps.iter().filter_map(|map| map.stats.as_ref())
}

/// Rows that a task wrote: by its own count, else by that of its partitions.
pub(crate) fn rows_of(map: &MapOutput) -> u64 {
    let counted = map.stats.as_ref().map(|stats| stats.rows_out);
    counted.unwrap_or_else(|| map.partitions.iter().map(|p| p.rows).sum())
}

fn bytes_of(map: &MapOutput) -> u64 {
    let counted = map.stats.as_ref().map(|stats| stats.bytes_out);
    counted.unwrap_or_else(|| map.partitions.iter().map(|p| p.bytes).sum())
}

fn per_slice(map: &MapOutput, figure: u64) -> u64 {
    figure / u64::from(map.slice_count.max(1))
}

fn spread(mut figures: Vec<u64>) -> Spread {
    figures.sort_unstable();
    let (Some(min), Some(max)) = (figures.first(), figures.last()) else {
        return Spread::default();
    };
    Spread { min: *min, median: figures[(figures.len() - 1) / 2], max: *max }
}

/// Sums the operators by their place in the plan: all tasks of a stage run the same one.
fn operators(output: &StageOutput) -> Vec<OperatorStats> {
    let mut sums: Vec<OperatorStats> = Vec::new();
    for stats in stats(output) {
        for (place, operator) in stats.operators.iter().enumerate() {
            let Some(sum) = sums.get_mut(place) else {
                sums.push(operator.clone());
                continue;
            };
            if sum.name == operator.name {
                sum.rows_out += operator.rows_out;
                sum.elapsed_compute_us += operator.elapsed_compute_us;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, rows: u64) -> MapOutput {
        let operator =
            OperatorStats { name: name.to_owned(), rows_out: rows, ..OperatorStats::default() };
        let stats = TaskStats { rows_out: rows, operators: vec![operator], ..TaskStats::default() };
        MapOutput { slice_count: 2, stats: Some(stats), ..MapOutput::default() }
    }

    #[test]
    fn a_spread_is_the_ends_and_the_middle() {
        assert_eq!(spread(vec![9, 1, 5, 7]), Spread { min: 1, median: 5, max: 9 });
        assert_eq!(spread(vec![4]), Spread { min: 4, median: 4, max: 4 });
        assert_eq!(spread(vec![]), Spread::default());
    }

    #[test]
    fn operators_are_summed_over_tasks_by_place_and_name() {
        let output = StageOutput { maps: vec![task("scan", 3), task("scan", 4), task("other", 9)] };
        let sums: Vec<_> = operators(&output).into_iter().map(|o| (o.name, o.rows_out)).collect();
        assert_eq!(sums, [("scan".to_owned(), 7)]);
    }
}
