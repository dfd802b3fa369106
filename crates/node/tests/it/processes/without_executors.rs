//! Queries whose executors die of them, and queries that nobody is there to run.

use std::time::Duration;

use dunlin_base::{Env, Kind, fail};

use super::lab::{Processes, Signal};
use crate::cluster::tpch;

#[test]
fn a_query_that_ends_its_executors_fails_with_their_names_and_does_not_go_on_killing() {
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "1"];
    // Each executor, and each that comes in its place, dies of the first slice that it takes.
    let points = [(fail::VARIABLE, "after-claim=exit@1")];
    let cluster = Processes::start_in(&tpch(), &options, &[], &points);
    let client = cluster.client();
    let error = cluster.rows(&client, "SELECT count(*) FROM lineitem").expect_err("nobody can");
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    let text = error.to_string();
    assert!(text.contains("slice 0 ended 3 executors"), "{text}");
    let fired = cluster.count("fail point after-claim: Exit");
    assert_eq!(fired, 3, "three die, and no more");
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn a_query_waits_for_executors_up_to_a_limit() {
    let options = ["--gateways", "1", "--executors", "1", "--shuffle", "1", "--no-restart"];
    let variables = [("DUNLIN_EXECUTOR_WAIT", "4s")];
    let cluster = Processes::start_in(&tpch(), &options, &[], &variables);
    let client = cluster.client();
    let sql = "SELECT count(*) FROM lineitem";
    cluster.rows(&client, sql).expect("there is one");
    cluster.signal("executor 1", Signal::KILL);
    let clock = Env::real(None);
    let start = clock.now();
    let error = cluster.rows(&client, sql).expect_err("there is none");
    let waited = clock.now() - start;
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    assert!(error.to_string().contains("no executor was alive for 4s"), "{error}");
    assert!((Duration::from_secs(4)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
    assert_eq!(cluster.count("no executor is alive: queries wait"), 1);
}
