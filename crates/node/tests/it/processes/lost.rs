//! Shuffle workers that are killed with what they hold.

use std::time::Duration;

use dunlin_corpus::{compare, tpch as corpus};

use super::lab::Processes;
use crate::cluster::{Oracle, tpch};

/// Kills in the middle of queries, at most; fewer if enough of them hit.
const KILLS_MAX: usize = 24;

/// Losses of output that somebody still needed.
const LOSSES: usize = 3;

/// What a process logs when it has a stage opened again.
const REOPENED: &str = "output of a sealed stage is lost";

#[test]
fn killed_shuffle_workers_cost_the_slices_that_made_their_data() {
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "2"];
    let cluster = Processes::start(&tpch(), &options);
    let (client, plain) = (cluster.client(), Oracle::open(&tpch()));
    let mut kills = 0;
    // Queries of many stages, killed at different times.
    for number in [21, 18, 9, 5, 8, 7, 2, 20].into_iter().cycle().take(KILLS_MAX) {
        if cluster.count(REOPENED) >= LOSSES {
            break;
        }
        let (_, sql) = corpus::QUERIES[number - 1];
        let expected = plain.rows(sql).expect("an answer");
        let victim = ["shuffle 1", "shuffle 2"][kills % 2];
        let before = cluster.lines();
        let actual = cluster.rows_while(&client, sql, || {
            // A moment, drawn from the whole run of a query: not a wait for something.
            std::thread::sleep(Duration::from_millis(150 + 90 * (kills as u64 % 7)));
            cluster.signal(victim, "-KILL");
        });
        kills += 1;
        let actual = actual.unwrap_or_else(|e| panic!("q{number} without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &actual) {
            panic!("q{number} without {victim}: {difference}");
        }
        cluster.ready(victim, before);
    }
    let losses = cluster.count(REOPENED);
    assert!(losses >= LOSSES, "only {losses} of {kills} kills hit data that was needed");
    println!("{kills} shuffle workers killed, {losses} times a stage was opened again");
    assert_eq!(cluster.end(), Some(0));
}
