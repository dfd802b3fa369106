//! What the loss of an executor costs: all TPC-H queries on a cluster of processes, calm, then with
//! an executor killed at half of the calm time.
//!
//! The bound it is held against: the total grows by no more than the work that was lost, and
//! [`GROWTH_MAX_MS`]. Calm totals and those with a loss are of plain queries whose rows are compared
//! with plain DataFusion's. What was run again is told by `EXPLAIN ANALYZE`, so there are further
//! passes of it, with a kill as well.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::record_batch::RecordBatch;
use dunlin_base::Env;

use crate::cli::LossArgs;
use crate::clock::{Stopwatch, millis};
use crate::cluster::{Cluster, Size};
use crate::compare;
use crate::engine::{Plain, Setup};
use crate::measure::{Times, timed};
use crate::report::Sheet;
use crate::suite::{Suite, SuiteName};

/// What may be added to the work that was lost: a lease that has to end, and what follows.
const GROWTH_MAX_MS: f64 = 3000.0;

/// One gateway, three executors of one slot, one shuffle worker.
const SIZE: Size = Size { gateways: 1, executors: 3, shuffle: 1 };

/// Seconds that a killed executor stays away.
const AWAY_SECONDS: u32 = 2;

/// All queries once.
struct Pass {
    total_ms: f64,
    queries_ms: Vec<f64>,
    /// The place of the query in whose run the executor was killed.
    killed_in: Option<usize>,
    /// Claims that were no use, and the time of the longest task of each one's stage.
    again: Again,
}

/// Tasks that had to be run again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Again {
    tasks: u64,
    /// At most: each counts as the longest task of its stage.
    work_ms: f64,
}

/// What a pass asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Rows,
    Analyze,
}

/// Runs it; the sheet tells whether the bound was kept.
pub async fn run(args: &LossArgs) -> Result<Sheet> {
    let setup = args.setup.resolve();
    let suite = Suite::open(SuiteName::Tpch, &args.data, args.scale, &args.queries)?;
    let plain = Plain::open(&suite.data, setup).await?;
    let mut expected = Vec::new();
    for (number, sql) in &suite.queries {
        expected.push(timed(&plain, *number, sql).await?.1);
    }
    let dunlin = args.dunlin.as_deref();
    let away = Some(AWAY_SECONDS);
    let cluster = Cluster::start_away(dunlin, &suite.data, SIZE, setup, away).await?;
    let bench = Bench { suite, expected, cluster };
    bench.pass(Ask::Rows, None).await?;
    let mut calm = Vec::new();
    for _ in 0..args.runs {
        calm.push(bench.pass(Ask::Rows, None).await?);
    }
    let totals = Times::of(calm.iter().map(|pass| pass.total_ms).collect());
    let totals = totals.context("at least one run")?;
    let half = Duration::from_secs_f64(totals.median_ms / 2e3);
    let mut sheet = sheet(args, setup, &totals);
    for run in 0..args.runs {
        for ask in [Ask::Rows, Ask::Analyze] {
            let victim = format!("executor {}", run as usize % SIZE.executors + 1);
            let pass = bench.pass(ask, Some((&victim, half))).await?;
            bench.row(&mut sheet, ask, &pass, &calm, totals.median_ms);
        }
    }
    Ok(sheet)
}

fn sheet(args: &LossArgs, setup: Setup, totals: &Times) -> Sheet {
    let mut sheet = Sheet::new("Loss of an executor", args.scale, setup);
    let Times { median_ms, min_ms, max_ms } = totals;
    sheet.says(format!(
        "1 gateway, 3 executors of one slot, 1 shuffle worker, etcd, each a process on this \
         machine, with leases of 2 s. All queries of TPC-H one after the other, {} passes in calm: \
         a total of {median_ms:.0} ms (median; from {min_ms:.0} to {max_ms:.0}).",
        args.runs
    ));
    sheet.says(format!(
        "Then passes in which an executor is killed by SIGKILL after half of that time and comes \
         back {AWAY_SECONDS} s later. Rows of plain passes are compared with plain DataFusion's; \
         passes of EXPLAIN ANALYZE tell which tasks were run again. Each of these counts as the \
         longest task of its stage; a plain pass is charged the longest of the pass after it. \
         The aim: growth without that work of at most {GROWTH_MAX_MS:.0} ms."
    ));
    sheet.columns(&[
        "pass",
        "total ms",
        "growth ms",
        "killed in query",
        "its ms",
        "its ms in calm",
        "tasks again",
        "their work ms",
        "growth without it ms",
    ]);
    sheet
}

struct Bench {
    suite: Suite,
    expected: Vec<Vec<RecordBatch>>,
    cluster: Cluster,
}

impl Bench {
    /// All queries; `kill` says whom to kill after which time. Ends when all processes are back.
    async fn pass(&self, ask: Ask, kill: Option<(&str, Duration)>) -> Result<Pass> {
        let env = Env::real(None);
        let watch = Stopwatch::start();
        let from = self.cluster.said();
        let killing = async {
            let Some((victim, after)) = kill else { return Ok(None) };
            env.sleep(after).await;
            self.cluster.kill(victim)?;
            anyhow::Ok(Some(millis(watch.elapsed())))
        };
        let asking = async {
            let mut pass = Pass {
                total_ms: 0.0,
                queries_ms: Vec::new(),
                killed_in: None,
                again: Again::default(),
            };
            for place in 0..self.expected.len() {
                let (ms, again) = self.query(ask, place).await?;
                pass.queries_ms.push(ms);
                pass.again.tasks += again.tasks;
                pass.again.work_ms += again.work_ms;
            }
            pass.total_ms = millis(watch.elapsed());
            anyhow::Ok(pass)
        };
        let (pass, killed) = tokio::join!(asking, killing);
        let mut pass = pass?;
        if let Some(at) = killed? {
            ensure!(at < pass.total_ms, "the queries had ended before the executor was killed");
            pass.killed_in = Some(running_at(&pass.queries_ms, at));
        }
        if let Some((victim, _)) = kill {
            self.cluster.ready(victim, from).await?;
        }
        Ok(pass)
    }

    async fn query(&self, ask: Ask, place: usize) -> Result<(f64, Again)> {
        let (number, sql) = &self.suite.queries[place];
        if ask == Ask::Rows {
            let (ms, rows) = timed(&self.cluster, *number, sql).await?;
            compare::same_rows(&self.expected[place], &rows)
                .with_context(|| format!("query {number} has other rows"))?;
            return Ok((ms, Again::default()));
        }
        let sql = format!("EXPLAIN ANALYZE {sql}");
        let (ms, told) = timed(&self.cluster, *number, &sql).await?;
        Ok((ms, run_again(&text(&told))))
    }

    fn row(&self, sheet: &mut Sheet, ask: Ask, pass: &Pass, calm: &[Pass], calm_ms: f64) {
        let name = if ask == Ask::Rows { "rows" } else { "EXPLAIN ANALYZE" };
        let growth = pass.total_ms - calm_ms;
        let place = pass.killed_in.unwrap_or_default();
        let of_calm = calm.iter().filter_map(|pass| pass.queries_ms.get(place).copied()).collect();
        let in_calm = Times::of(of_calm).map_or(f64::NAN, |times| times.median_ms);
        let mut cells = vec![
            name.to_owned(),
            format!("{:.0}", pass.total_ms),
            format!("{growth:.0}"),
            self.suite.queries.get(place).map_or(0, |(number, _)| *number).to_string(),
            format!("{:.0}", pass.queries_ms.get(place).copied().unwrap_or(f64::NAN)),
            format!("{in_calm:.0}"),
        ];
        cells.extend(match ask {
            Ask::Rows => ["", "", ""].map(str::to_owned),
            Ask::Analyze => [
                pass.again.tasks.to_string(),
                format!("{:.0}", pass.again.work_ms),
                format!("{:.0}", growth - pass.again.work_ms),
            ],
        });
        sheet.row(cells);
    }
}

/// Which query runs so long after the first began.
fn running_at(queries_ms: &[f64], at: f64) -> usize {
    let mut until = 0.0;
    let ends = queries_ms.iter().position(|ms| {
        until += ms;
        until > at
    });
    ends.unwrap_or(queries_ms.len().saturating_sub(1))
}

/// All text of a result.
fn text(rows: &[RecordBatch]) -> String {
    let mut text = String::new();
    for column in rows.iter().flat_map(RecordBatch::columns) {
        if let Some(lines) = column.as_string_opt::<i32>() {
            lines.iter().flatten().for_each(|line| {
                text.push_str(line);
                text.push('\n');
            });
        }
    }
    text
}

/// What a report of `EXPLAIN ANALYZE` says of tasks that had to be run again.
fn run_again(report: &str) -> Again {
    let mut again = Again::default();
    let mut useless = 0;
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |place: usize| words.get(place)?.parse::<f64>().ok();
        if let [_, "slices", "in", tasks, "tasks,", attempts, "attempts", ..] = words[..] {
            let (tasks, attempts) = (tasks.parse::<u64>(), attempts.parse::<u64>());
            useless = attempts.unwrap_or(0).saturating_sub(tasks.unwrap_or(0));
            again.tasks += useless;
        }
        // min / median / max: task time A / B / C ms; ...
        if line.trim_start().starts_with("min / median / max: task time") {
            again.work_ms += useless as f64 * number(11).unwrap_or(0.0);
            useless = 0;
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_beyond_the_tasks_count_as_the_longest_task_of_their_stage() {
        let report = "9 rows in 80 ms, 2 stages\n\n\
                      Stage 0\n  4 slices in 2 tasks, 2 attempts (0 failed), open 30 ms\n\
                      \x20 min / median / max: task time 1.0 / 2.0 / 3.0 ms; rows a slice 1 / 1 / 1\n\
                      Stage 1 from stages 0\n  4 slices in 2 tasks, 4 attempts (1 failed), open 9 ms\n\
                      \x20 min / median / max: task time 1.5 / 2.5 / 12.5 ms; rows a slice 1 / 1 / 1\n";
        assert_eq!(run_again(report), Again { tasks: 2, work_ms: 25.0 });
    }

    #[test]
    fn the_query_that_runs_at_a_time_is_found() {
        let ms = [10.0, 20.0, 30.0];
        assert_eq!([0.0, 9.0, 11.0, 59.0, 99.0].map(|at| running_at(&ms, at)), [0, 0, 1, 2, 2]);
    }
}
