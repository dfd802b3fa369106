//! The loop over cases: short in every test run, long when it is asked for.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::Chance;
use crate::mutate::mutant;

/// Seconds that each fuzzer runs for, instead of its short run.
const SECONDS: &str = "DUNLIN_FUZZ_SECONDS";

/// The seed of all cases.
const SEED: &str = "DUNLIN_FUZZ_SEED";

/// One case that is to be seen again, alone.
const CASE: &str = "DUNLIN_FUZZ_CASE";

/// Bytes of an input that a report shows.
const SHOWN: usize = 2048;

/// Gives mutants of the corpus to a check, which panics if one breaks a promise: `short` of them, or
/// as many as the seconds of `DUNLIN_FUZZ_SECONDS` allow. The panic comes back after a report that
/// says how to repeat the case.
pub fn fuzz(name: &str, corpus: &[Vec<u8>], short: u64, check: impl FnMut(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number(SEED).unwrap_or(1);
    let mut run = Run { name, corpus, seed, check };
    if let Some(case) = number(CASE) {
        return run.case(case);
    }
    let Some(seconds) = number(SECONDS) else { return (0..short).for_each(|case| run.case(case)) };
    let (began, limit) = (now(), Duration::from_secs(seconds));
    let mut cases = 0;
    while cases < short || began.elapsed() < limit {
        run.case(cases);
        cases += 1;
    }
    println!("{name}: {cases} cases of seed {seed}");
}

#[expect(clippy::disallowed_methods, reason = "a test binary has no world of its own")]
fn now() -> Instant {
    Instant::now()
}

struct Run<'a, F> {
    name: &'a str,
    corpus: &'a [Vec<u8>],
    seed: u64,
    check: F,
}

impl<F: FnMut(&[u8])> Run<'_, F> {
    fn case(&mut self, case: u64) {
        // Far apart, so that neighbours have nothing in common.
        let mut chance = Chance::new(self.seed ^ case.wrapping_mul(0xd134_2543_de82_ef95));
        let input = mutant(self.corpus, &mut chance);
        let checked = catch_unwind(AssertUnwindSafe(|| (self.check)(&input)));
        if let Err(panic) = checked {
            let (name, seed) = (self.name, self.seed);
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let shown = hex(&input[..input.len().min(SHOWN)]);
            eprintln!("{name}: {SEED}={seed} {CASE}={case}, {} bytes: {shown}", input.len());
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_the_same_each_time_and_find_what_is_there() {
        let corpus = [b"a valid input".to_vec(), vec![0; 40]];
        let inputs = || {
            let mut all = Vec::new();
            fuzz("example", &corpus, 2000, |bytes| all.push(bytes.to_vec()));
            all
        };
        let all = inputs();
        assert_eq!(all, inputs());
        let some = |what: &dyn Fn(&Vec<u8>) -> bool| all.iter().filter(|one| what(one)).count();
        assert!(some(&|one| corpus.contains(one)) > 50, "some are as they were");
        assert!(some(&|one| one.len() > 40) > 50 && some(&|one| one.len() < 13) > 50);
        assert!(some(&|one| one.windows(4).any(|four| four == [0xff; 4])) > 20);
    }

    #[test]
    fn a_check_that_fails_fails_the_run() {
        let failed = catch_unwind(|| {
            fuzz("example", &[b"input".to_vec()], 1000, |bytes| assert_ne!(bytes.len(), 4));
        });
        assert!(failed.is_err());
    }
}
