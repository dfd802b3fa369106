//! What is to be told of all combinations: a table, and what was wrong.

use std::fmt::{self, Write as _};

use dunlin_base::ByteCount;

use super::held::Held;
use super::judge::judge;
use super::matrix::{Combination, Place, Sizes};
use super::run::{Answer, Found};
use crate::chaos::Outcome;

/// Lines of one combination that are shown; the first ones say most.
const SHOWN_MAX: usize = 10;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    head: String,
    rows: Vec<String>,
    refused: Vec<String>,
    defects: Vec<String>,
}

impl Report {
    /// Without combinations so far.
    pub fn new(scale: f64, sizes: &Sizes) -> Self {
        let Sizes { skew, executor, partitions } = sizes;
        let (skew, executor) = (ByteCount(*skew), ByteCount(*executor));
        let head = format!(
            "TPC-H at scale {scale}; a shuffle of {skew}, half of it in one partition. 1 gateway, 2 \
             executors with {executor} for tasks each, 2 shuffle workers, etcd; {partitions} \
             partitions."
        );
        Self { head, ..Self::default() }
    }

    /// True if nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.defects.is_empty()
    }

    /// Adds a combination; its line of the table, and what was wrong.
    pub fn add(&mut self, combination: &Combination, sizes: &Sizes, found: &Found) -> String {
        let defects = judge(combination, sizes, found);
        let name = format!("{combination}, copies {}", combination.copies);
        let mut shown = String::new();
        for line in defects.iter().take(SHOWN_MAX) {
            let line = format!("{name}: {line}");
            let _ = write!(shown, "\n{line}");
            self.defects.push(line);
        }
        if combination.may_refuse() {
            let all = found.skew.iter().chain(&found.queries);
            self.refused.extend(all.filter_map(|answer| refusal(&name, answer)));
        }
        let memory = ByteCount(combination.memory(sizes));
        let mut cells = vec![combination.to_string(), combination.copies.to_string()];
        cells.push(memory.to_string());
        cells.push(found.skew.as_ref().map_or_else(String::new, of_one));
        cells.extend(bytes(&found.held_skew));
        cells.push(of_all(&found.queries));
        cells.extend(bytes(&found.held_queries));
        let resident = found.held_skew.resident.max(found.held_queries.resident);
        cells.push(ByteCount(resident).to_string());
        cells.push(if defects.is_empty() { "good" } else { "BAD" }.to_owned());
        let row = format!("| {} |", cells.join(" | "));
        self.rows.push(row.clone());
        row + &shown
    }

    /// Notes a combination that could not be tried.
    pub fn failed(&mut self, combination: &Combination, why: &dyn fmt::Display) {
        let copies = combination.copies;
        self.defects.push(format!("{combination}, copies {copies}: not run: {why}"));
    }
}

const COLUMNS: [&str; 13] = [
    "places",
    "copies",
    "memory of a worker",
    "skew",
    "most in memory",
    "to disks",
    "to objects",
    "TPC-H",
    "most in memory",
    "to disks",
    "to objects",
    "most resident",
    "verdict",
];

fn bytes(held: &Held) -> [String; 3] {
    Place::ALL.map(|place| ByteCount(held.through(place)).to_string())
}

fn of_one(answer: &Answer) -> String {
    let seconds = answer.took.as_secs_f64();
    match &answer.outcome {
        Outcome::Right => format!("{seconds:.1} s"),
        Outcome::Failed(error, _) => format!("{} after {seconds:.1} s", error.kind()),
        Outcome::Wrong(_) => format!("wrong after {seconds:.1} s"),
        Outcome::Hung => format!("none after {seconds:.1} s"),
    }
}

fn of_all(answers: &[Answer]) -> String {
    let seconds: f64 = answers.iter().map(|answer| answer.took.as_secs_f64()).sum();
    let right = answers.iter().filter(|a| matches!(a.outcome, Outcome::Right)).count();
    match answers.len() {
        0 => String::new(),
        all => format!("{right} of {all} in {seconds:.1} s"),
    }
}

fn refusal(name: &str, answer: &Answer) -> Option<String> {
    let Outcome::Failed(error, _) = &answer.outcome else { return None };
    Some(format!("{name}: {} after {:.1} s: {error}", answer.name, answer.took.as_secs_f64()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}\n\n| {} |\n|", self.head, COLUMNS.join(" | "));
        COLUMNS.iter().for_each(|_| text.push_str("---|"));
        let lists = [("What memory alone refused, as it may", &self.refused)];
        self.rows.iter().for_each(|row| {
            let _ = write!(text, "\n{row}");
        });
        for (title, lines) in lists.into_iter().chain([("What was wrong", &self.defects)]) {
            if !lines.is_empty() {
                let _ = write!(text, "\n\n{title}:\n");
                lines.iter().for_each(|line| {
                    let _ = write!(text, "\n- {line}");
                });
            }
        }
        let rows = self.rows.len();
        let verdict = if self.is_good() { "good" } else { "bad" };
        write!(f, "{text}\n\n{rows} combinations: {verdict}")
    }
}
