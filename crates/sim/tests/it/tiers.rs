//! Some combinations of places for shuffled data, small. `dunlin-chaos tiers` runs all, at any size.

use std::ffi::OsString;
use std::sync::PoisonError;
use std::time::Duration;

use dunlin_base::Env;
use dunlin_sim::tiers::{Asked, Budget, Options, Report, Sizes, matrix, run};
use tokio::runtime::Runtime;

use crate::{ONE, logs};

const SIZES: Sizes = Sizes { skew: 80 << 20, executor: 512 << 20, partitions: 4 };

/// A join with shuffles, a large aggregate.
const QUERIES: [u8; 2] = [5, 18];

/// All places together, where each is too small for what comes, and memory by itself with enough.
#[test]
fn places_that_are_too_small_pass_data_on_and_memory_that_suffices_keeps_them() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program: Vec<OsString> = vec![env!("CARGO_BIN_EXE_dunlin-chaos").into(), "dunlin".into()];
    let answer_max = Duration::from_secs(120);
    let options = Options { program, sizes: SIZES, answer_max, moto: None };
    let runtime = Runtime::new().expect("a runtime");
    let env = Env::real(Some(runtime.handle().clone()));
    let data = folder.path().join("data");
    let asked = runtime.block_on(Asked::make(&data, 0.01, SIZES.skew, &QUERIES));
    let asked = asked.expect("data and their answers");
    let chosen = matrix(false).into_iter().filter(|combination| {
        combination.places.len() == 3
            || combination.places.len() == 1 && combination.budget == Budget::Enough
    });
    let mut tried = 0;
    for combination in chosen {
        let place = folder.path().join(format!("cluster-{tried}"));
        let found = runtime.block_on(run(&env, &options, &asked, &combination, &place));
        let found =
            found.unwrap_or_else(|error| panic!("{combination}: {error}\n{}", logs(&place)));
        let mut report = Report::new(0.01, &SIZES);
        report.add(&combination, &SIZES, &found);
        assert!(report.is_good(), "{report}\n{}", logs(&place));
        tried += 1;
    }
    assert_eq!(tried, 4, "all places, and memory: with one copy and with two");
}
