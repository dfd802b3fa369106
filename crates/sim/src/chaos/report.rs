//! What a run is to be told of: a table and a verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use dunlin_base::{Error, Result};

use super::plan::Strike;
use super::verdict::Verdict;
use crate::processes::Claims;

/// At most so many defects are shown; the first ones say most.
const SHOWN_MAX: usize = 20;

/// How often a fault was done.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    fired: usize,
    idle: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed of its strikes.
    pub seed: u64,
    /// Where the logs are.
    pub folder: PathBuf,
    /// What became of the queries.
    pub verdict: Verdict,
    /// What was left when the sweepers had had their time.
    pub left: Vec<String>,
    /// Strikes that should have fired and did not.
    pub missing: usize,
    /// How long it took.
    pub took: Duration,
    faults: BTreeMap<&'static str, Count>,
    queries: u64,
    slices: u64,
    claims: u64,
    claims_calm: f64,
}

impl Report {
    pub(super) fn of(seed: u64, folder: &Path) -> Self {
        Self { seed, folder: folder.to_owned(), ..Self::default() }
    }

    /// True if nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.verdict.defects.is_empty() && self.left.is_empty() && self.missing == 0
    }

    /// Writes what errors clients were told beside the logs.
    pub(super) fn write_answers(&self) -> Result<()> {
        let path = self.folder.join("errors.txt");
        let lines: String = self.verdict.told.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, lines).map_err(|e| {
            Error::exhausted(format!("cannot write {}: {e}", path.display())).with_source(e)
        })
    }

    /// How many strikes fired.
    pub fn fired(&self) -> usize {
        self.faults.values().map(|count| count.fired).sum()
    }

    /// Notes a strike.
    pub(super) fn struck(&mut self, strike: &Strike, outcome: Result<bool>) {
        let count = self.faults.entry(strike.fault.name).or_default();
        match outcome {
            Ok(true) => count.fired += 1,
            Ok(false) => count.idle += 1,
            Err(error) => {
                let (number, name) = (strike.number, strike.fault.name);
                self.verdict.defects.push(format!("strike {number}, {name}: {error}"));
            }
        }
    }

    /// Notes what became of the queries.
    pub(super) fn judged(&mut self, verdict: Verdict) {
        let of_strikes = std::mem::replace(&mut self.verdict, verdict).defects;
        self.verdict.defects.extend(of_strikes);
    }

    /// Compares the claims of all queries with what the same ones took in calm. A query that was
    /// run as often as another counts as often, so that the mix does not matter.
    pub(super) fn redone(
        &mut self,
        calm: &BTreeMap<String, Claims>,
        all: &BTreeMap<String, Claims>,
    ) {
        for (sql, claims) in all {
            let Some(calm) = calm.get(sql) else { continue };
            self.queries += claims.queries;
            self.slices += claims.slices;
            self.claims += claims.claims;
            self.claims_calm +=
                calm.claims as f64 / calm.queries.max(1) as f64 * claims.queries as f64;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(["fault", "fired", "had nothing to strike"]);
        for (name, count) in &self.faults {
            table.add_row([(*name).to_owned(), count.fired.to_string(), count.idle.to_string()]);
        }
        writeln!(f, "{table}\n")?;
        let verdict = &self.verdict;
        let errors: u64 = verdict.errors.values().sum();
        writeln!(f, "{} faults in {} s, seed {}", self.fired(), self.took.as_secs(), self.seed)?;
        writeln!(f, "{} queries with the right rows, {errors} with an error", verdict.right)?;
        for (kind, count) in &verdict.errors {
            writeln!(f, "  {count} of kind {kind}")?;
        }
        writeln!(f, "longest wait for an answer: {} ms", verdict.slowest.as_millis())?;
        writeln!(
            f,
            "{} queries in the history: {} slices, {} claims of slices, {:.0} in calm",
            self.queries, self.slices, self.claims, self.claims_calm
        )?;
        for defect in verdict.defects.iter().take(SHOWN_MAX) {
            writeln!(f, "DEFECT {defect}")?;
        }
        for left in &self.left {
            writeln!(f, "LEFT {left}")?;
        }
        if self.missing > 0 {
            writeln!(f, "MISSING {} faults that did not fire", self.missing)?;
        }
        match self.is_good() {
            true => write!(f, "good: no wrong rows, nothing hangs, nothing is left"),
            false => write!(
                f,
                "BAD: {} defects; look into the logs in {} for the time of the first",
                verdict.defects.len(),
                self.folder.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{find, plan};

    #[test]
    fn a_strike_that_found_a_defect_makes_the_run_bad() {
        let mut report = Report::of(1, Path::new("nowhere"));
        let strike = plan(1, 1, &[find("drain-executor").expect("a fault")]);
        report.struck(&strike[0], Ok(true));
        assert!(report.is_good());
        report.struck(&strike[0], Err(Error::bug("it ended with exit code 1")));
        report.judged(Verdict { right: 1, ..Verdict::default() });
        assert!(!report.is_good(), "{report}");
        assert_eq!(report.verdict.right, 1);
    }
}
