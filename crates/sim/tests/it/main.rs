//! A bounded set of faults on real processes: each once, one after the other, over a few queries;
//! and of simulated clusters. `./dev chaos` is the long one.

mod simulated;
mod tiers;

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dunlin_base::{Env, Error};
use dunlin_sim::chaos::{Expected, Options, find, needs, run};
use dunlin_sim::processes::Shape;
use tokio::runtime::Runtime;

/// A join with shuffles, a large aggregate, a subquery.
const QUERIES: [u8; 3] = [5, 9, 18];

/// One cluster at a time: two on two cores would only wait for each other.
pub(crate) static ONE: Mutex<()> = Mutex::new(());

/// Each of these faults fires once, and nothing is wrong.
fn survives(names: &[&str]) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(&folder.path().join("data"), 0.01).expect("data");
    let program: Vec<OsString> = vec![env!("CARGO_BIN_EXE_dunlin-chaos").into(), "dunlin".into()];
    let faults: Result<Vec<_>, Error> = names.iter().map(|name| find(name)).collect();
    let faults = faults.expect("names of faults");
    let needs = needs(faults.iter().copied());
    let options = Options {
        program,
        data,
        folder: folder.path().join("cluster"),
        shape: Shape { members: 1, gateways: 2, executors: 2, shuffles: 2, needs },
        faults,
        strikes: names.len(),
        seed: 1,
        clients: 2,
        copies: 1,
        at_once: 1,
        time_max: Duration::from_secs(120),
    };
    let runtime = Runtime::new().expect("a runtime");
    let env = Env::real(Some(runtime.handle().clone()));
    let report = runtime.block_on(async {
        let expected = Expected::compute(&options.data, &QUERIES).await?;
        run(&env, &options, Arc::new(expected), &|_: &str| {}).await
    });
    let report = report.unwrap_or_else(|error| panic!("{error}\n{}", logs(&options.folder)));
    assert!(report.is_good(), "{report}\n{}", logs(&options.folder));
}

/// The ends of all logs: the folder goes with the test.
fn logs(folder: &Path) -> String {
    let mut text = String::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            text.push_str(&format!("== {}\n{}\n", path.display(), last.join("\n")));
        }
    }
    text
}

#[test]
fn processes_that_are_killed_cost_nothing_that_is_not_told() {
    survives(&[
        "kill-executor",
        "kill-gateway",
        "kill-shuffle",
        "in-result",
        "client-goes",
        "drain-executor",
        "drain-gateway",
    ]);
}

#[test]
fn processes_that_stood_still_past_their_lease_change_nothing() {
    survives(&["pause-executor", "pause-gateway", "executor-without-store", "before-seal"]);
}

#[test]
fn bad_connections_give_right_rows_or_an_error() {
    survives(&["cut-shuffle", "break-shuffle", "flip-shuffle", "cut-door", "break-door"]);
}

#[test]
fn a_store_that_goes_and_forgets_loses_nothing() {
    survives(&["kill-etcd", "pause-etcd", "compact-etcd", "compact-under-gateway"]);
}

#[test]
fn an_object_store_that_serves_badly_gives_right_rows_or_an_error() {
    survives(&["store-503", "store-mute", "store-slow", "store-cut-body"]);
}
