//! What became of queries, and whether it may be so.

use std::collections::BTreeMap;
use std::time::Duration;

use dunlin_base::Error;

/// As many errors are kept word for word.
const TOLD_MAX: usize = 1000;

/// What a client got.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The oracle's rows.
    Right,
    /// Other rows: how they differ.
    Wrong(String),
    /// An error, and whether rows had come before it.
    Failed(Error, bool),
    /// Nothing, for too long.
    Hung,
}

/// What became of all queries of a run.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Queries with the right rows.
    pub right: u64,
    /// Queries with an error that their run allows, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// What those errors said, the first ones.
    pub told: Vec<String>,
    /// The longest that a client waited for an answer of either sort.
    pub slowest: Duration,
    /// Everything that must not be.
    pub defects: Vec<String>,
}

impl Verdict {
    /// Judges an answer. `allowed`: whether the run allows this error, with rows before it or
    /// without.
    pub fn judge(
        &mut self,
        query: &str,
        outcome: Outcome,
        took: Duration,
        allowed: impl Fn(&Error, bool) -> bool,
    ) {
        self.slowest = self.slowest.max(took);
        match outcome {
            Outcome::Right => self.right += 1,
            Outcome::Wrong(how) => self.defects.push(format!("{query}: wrong rows: {how}")),
            Outcome::Hung => self.defects.push(format!("{query}: no answer after {took:?}")),
            Outcome::Failed(error, begun) if allowed(&error, begun) => {
                *self.errors.entry(error.kind().as_str()).or_default() += 1;
                if self.told.len() < TOLD_MAX {
                    self.told.push(format!("{query}: {}: {error}", error.kind()));
                }
            }
            Outcome::Failed(error, _) => {
                let kind = error.kind();
                self.defects.push(format!("{query}: an error of kind {kind}: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;

    #[test]
    fn only_right_rows_and_allowed_errors_are_no_defects() {
        let mut verdict = Verdict::default();
        let retry = |error: &Error, begun| error.kind() == Kind::Retry || begun;
        let mut judge = |outcome| verdict.judge("q", outcome, Duration::from_secs(1), retry);
        judge(Outcome::Right);
        judge(Outcome::Failed(Error::retry("later"), false));
        judge(Outcome::Failed(Error::lost("gone"), true));
        judge(Outcome::Failed(Error::lost("gone"), false));
        judge(Outcome::Wrong("a row is missing".to_owned()));
        judge(Outcome::Hung);
        assert_eq!((verdict.right, verdict.defects.len()), (1, 3), "{verdict:?}");
        assert_eq!(verdict.errors, BTreeMap::from([("lost", 1), ("retry", 1)]));
    }
}
