//! Shuffle workers that are killed with what they hold.

use std::time::Duration;

use dunlin_base::Env;
use dunlin_corpus::{compare, tpch as corpus};

use super::lab::{Processes, Signal};
use crate::cluster::Oracle;

/// Kills in the middle of queries, at most; fewer if enough of them hit.
const KILLS_MAX: u32 = 20;

/// Losses of output that somebody still needed.
const LOSSES: usize = 3;

/// What a process logs when it has a stage opened again.
pub(super) const REOPENED: &str = "output of a sealed stage is lost";

#[test]
fn killed_shuffle_workers_cost_the_slices_that_made_their_data() {
    // Large enough for a query to have a middle.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "2"];
    let cluster = Processes::start(&data, &options);
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let sql = |number: usize| corpus::QUERIES[number - 1].1;
    let queries = [21, 18, 9].map(|number| (number, sql(number), plain.rows(sql(number))));
    let mut kills = 0;
    while kills < KILLS_MAX && cluster.count(REOPENED) < LOSSES {
        let (number, sql, expected) = &queries[kills as usize % queries.len()];
        let expected = expected.as_ref().expect("an answer");
        let clock = Env::real(None);
        cluster.rows(&client, sql).unwrap_or_else(|e| panic!("q{number}: {e}"));
        let whole = clock.now();
        let (victim, before) =
            (["shuffle 1", "shuffle 2"][kills as usize / 2 % 2], cluster.lines());
        let actual = cluster.rows_while(&client, sql, || {
            // A moment of the query's run, another one each time: not a wait for something.
            std::thread::sleep(whole.mul_f64(0.2 + 0.07 * f64::from(kills % 10)));
            cluster.signal(victim, Signal::KILL);
        });
        kills += 1;
        let actual = actual.unwrap_or_else(|e| panic!("q{number} without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(expected, &actual) {
            panic!("q{number} without {victim}: {difference}");
        }
        assert!(clock.now() < whole * 4 + Duration::from_secs(30), "q{number} took too long");
        cluster.ready(victim, before);
    }
    let losses = cluster.count(REOPENED);
    println!("{kills} shuffle workers killed, {losses} times a stage was opened again");
    assert!(losses >= LOSSES, "only {losses} of {kills} kills hit data that was needed");
    assert_eq!(cluster.end(), Some(0));
}

/// What a process logs when it goes on with the other copy.
const OTHER_COPY: &str = "reading the other copy of a shuffle";

#[test]
fn with_two_copies_a_killed_shuffle_worker_costs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "3"];
    let cluster = Processes::start_with(&data, &options, &["--log-level", "info"]);
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    cluster.rows(&client, "SET dunlin.shuffle_copies = 2").expect("a setting");
    let sql = |number: usize| corpus::QUERIES[number - 1].1;
    let queries = [21, 18, 9].map(|number| (number, sql(number), plain.rows(sql(number))));
    let (mut kills, mut hits) = (0, 0);
    while kills < KILLS_MAX && hits < LOSSES {
        let (number, sql, expected) = &queries[kills as usize % queries.len()];
        let expected = expected.as_ref().expect("an answer");
        let clock = Env::real(None);
        cluster.rows(&client, sql).unwrap_or_else(|e| panic!("q{number}: {e}"));
        let whole = clock.now();
        let victim = ["shuffle 1", "shuffle 2", "shuffle 3"][kills as usize % 3];
        let before = cluster.lines();
        let reads = cluster.count(OTHER_COPY);
        let actual = cluster.rows_while(&client, sql, || {
            // A moment of the query's run, another one each time: not a wait for something.
            std::thread::sleep(whole.mul_f64(0.2 + 0.07 * f64::from(kills % 10)));
            cluster.signal(victim, Signal::KILL);
        });
        kills += 1;
        let actual = actual.unwrap_or_else(|e| panic!("q{number} without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(expected, &actual) {
            panic!("q{number} without {victim}: {difference}");
        }
        hits += usize::from(cluster.count(OTHER_COPY) > reads);
        cluster.ready(victim, before);
    }
    println!("{kills} shuffle workers killed, the other copy was read after {hits} of them");
    assert_eq!(cluster.count(REOPENED), 0, "no slice of a sealed stage ran again");
    assert!(hits >= LOSSES, "only {hits} of {kills} kills hit data that was needed");
    assert_eq!(cluster.end(), Some(0));
}
