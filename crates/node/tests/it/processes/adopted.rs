//! Shuffle workers that are killed, with their folders, after their output was acknowledged as being
//! in the object store: another one adopts it, and nothing is made again.

use std::time::Duration;

use dunlin_base::{Env, fail};
use dunlin_corpus::{compare, tpch as corpus};

use super::lab::{Processes, Signal, figure};
use super::lost::REOPENED;
use crate::cluster::{LIMIT, Oracle};

/// What a worker logs when it serves what another one left.
const ADOPTED: &str = "adopted objects of a shuffle worker";

/// The value of a metric of a process.
fn value(cluster: &Processes, process: &str, name: &str) -> u64 {
    figure(&cluster.ready(process, 0), name)
}

fn until(what: &str, is: impl Fn() -> bool) {
    let clock = Env::real(None);
    let start = clock.now();
    while !is() {
        assert!(clock.now() < start + LIMIT, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_killed_workers_had_in_the_object_store_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let state = folder.path().join("state");
    let text = state.display().to_string();
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "3", "--no-restart"];
    let options = [&options[..], &["--state", &text]].concat();
    // Each claim waits a little: so the query has a middle.
    let variables = [
        (fail::VARIABLE, "after-claim=pause:150"),
        ("DUNLIN_SHUFFLE", "{tiers=[\"objects\"],sync-pushes=true}"),
    ];
    let each = ["--log-level", "info"];
    let cluster = Processes::start_in(&data, &options, &each, &variables);
    let workers = ["shuffle 1", "shuffle 2", "shuffle 3"];
    for name in workers {
        cluster.ready(name, 0);
    }
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let (_, sql) = corpus::QUERIES[20];
    let expected = plain.rows(sql).expect("an answer");
    let in_objects = "dunlin_shuffle_acks_total{level=\"object\"}";
    let kill = |name: &str| {
        cluster.signal(name, Signal::KILL);
        std::fs::remove_dir_all(state.join(name.replace(' ', "-"))).expect("its folder");
    };
    let mut left = workers.to_vec();
    let actual = cluster.rows_while(&client, sql, || {
        let first = left.remove(0);
        until("it holds something", || value(&cluster, first, in_objects) > 3);
        kill(first);
        // The one that adopts it goes next, with what it has of both.
        until("it is adopted", || cluster.count(ADOPTED) > 0);
        let done = "dunlin_shuffle_adoptions_total{outcome=\"done\"}";
        let heir = left.iter().position(|name| value(&cluster, name, done) > 0);
        kill(left.remove(heir.expect("one of them")));
    });
    if let Err(difference) = compare::same_rows(&expected, &actual.expect("an answer")) {
        panic!("{difference}");
    }
    assert_eq!(cluster.count(REOPENED), 0, "no slice of a sealed stage ran again");
    until("the last one has adopted both", || cluster.count(ADOPTED) > 1);
    let last = left.remove(0);
    assert!(value(&cluster, last, "dunlin_shuffle_adopted_blocks_total") > 0);
    assert_eq!(value(&cluster, last, "dunlin_shuffle_adoption_refusals_total"), 0);
    // What was adopted goes with its query.
    let objects = || {
        let inside = |path| std::fs::read_dir(path).into_iter().flatten().flatten();
        let folders = inside(state.join("blobs").join("shuffle"));
        folders.flat_map(|worker| inside(worker.path())).flat_map(|q| inside(q.path())).count()
    };
    until("no object is left", || objects() == 0);
    assert_eq!(cluster.end(), Some(0));
}
