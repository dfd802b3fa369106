//! Shuffle workers that are killed in the middle of queries and come back with what they had
//! acknowledged as synced, and one that comes while a query runs.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use dunlin_base::{Env, fail};
use dunlin_corpus::{compare, tpch as corpus};

use super::lab::{Processes, Serve, Signal, figure};
use super::lost::REOPENED;
use crate::cluster::{LIMIT, Oracle};

/// Each worker is away longer each time: the supervisor doubles its wait, and all of them have to stay
/// below the lease.
const KILLS: usize = 4;

/// What a worker logs when it found the data of the process before it.
const TOOK_OVER: &str = "took over shuffle data of a former process";

/// Each claim waits a little: so a query has a middle.
const PAUSES: (&str, &str) = (fail::VARIABLE, "after-claim=pause:150");

fn until(what: &str, is: impl Fn() -> bool) {
    let clock = Env::real(None);
    let start = clock.now();
    while !is() {
        assert!(clock.now() < start + LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn killed_workers_whose_pushes_are_synced_come_back_with_what_they_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "2"];
    let each = ["--lease-ttl", "15s", "--log-level", "info"];
    let variables = [PAUSES, ("DUNLIN_SHUFFLE", "{sync-pushes=true}")];
    let cluster = Processes::start_in(&data, &options, &each, &variables);
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let (_, sql) = corpus::QUERIES[20];
    let expected = plain.rows(sql).expect("an answer");
    let victims = ["shuffle 1", "shuffle 2"];
    let mut ready = victims.map(|name| cluster.ready(name, 0));
    let synced = "dunlin_shuffle_acks_total{level=\"twice\"}";
    for kill in 0..KILLS {
        let (victim, said) = (victims[kill % 2], &ready[kill % 2]);
        let (before, acked) = (cluster.lines(), figure(said, synced));
        let actual = cluster.rows_while(&client, sql, || {
            until("it holds something of the query", || figure(said, synced) > acked + 3);
            cluster.signal(victim, Signal::KILL);
        });
        let actual = actual.unwrap_or_else(|e| panic!("without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &actual) {
            panic!("without {victim}: {difference}");
        }
        ready[kill % 2] = cluster.ready(victim, before);
    }
    let with_nothing = cluster.count(&format!("{TOOK_OVER} blocks=0 "));
    assert_eq!((cluster.count(TOOK_OVER), with_nothing), (KILLS, 0), "what was synced is there");
    assert_eq!(cluster.count(REOPENED), 0, "no slice of a sealed stage ran again");
    assert_eq!(cluster.end(), Some(0));
}

#[test]
fn a_worker_that_comes_while_a_query_runs_takes_later_pushes_and_breaks_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let [state, scratch] =
        ["state", "scratch"].map(|name| folder.path().join(name).display().to_string());
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "1", "--state", &state];
    let each = ["--log-level", "info"];
    let cluster = Processes::start_in(&data, &options, &each, &[PAUSES]);
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let (_, sql) = corpus::QUERIES[20];
    let expected = plain.rows(sql).expect("an answer");
    let check = |rows: Vec<RecordBatch>| {
        if let Err(difference) = compare::same_rows(&expected, &rows) {
            panic!("{difference}");
        }
    };
    let first = cluster.ready("shuffle 1", 0);
    let blobs = format!("{state}/blobs");
    let place = ["--metadata", cluster.store(), "--blobs", &blobs, "--scratch", &scratch];
    let what = ["--roles", "shuffle", "--admin-port", "0", "--threads", "1", "--lease-ttl", "2s"];
    let stored = "dunlin_shuffle_acks_total{level=\"memory\"}";
    let mut second = None;
    let rows = cluster.rows_while(&client, sql, || {
        until("the query has pushed", || figure(&first, stored) > 0);
        second = Some(Serve::start(&[&place[..], &what].concat()));
    });
    check(rows.expect("an answer"));
    let second = second.expect("it was started");
    let within = figure(&second.ready, stored);
    println!("the worker that came took {within} pushes of the query that ran");
    check(cluster.rows(&client, sql).expect("an answer"));
    assert!(figure(&second.ready, stored) > 0, "it has its share of the next query");
    assert_eq!(cluster.count(REOPENED), 0, "no slice of a sealed stage ran again");
    assert_eq!(cluster.end(), Some(0));
}
