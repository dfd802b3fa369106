//! Shuffle workers that are told to end in the middle of queries, and come back with their data.

use dunlin_base::Env;
use dunlin_corpus::{compare, tpch as corpus};

use super::lab::{Processes, Signal};
use crate::cluster::Oracle;

/// Restarts in the middle of queries. Each worker is away longer each time: the supervisor doubles
/// its wait, and all of them have to stay below the lease.
const RESTARTS: usize = 4;

/// Restarts that met data.
const HITS: usize = 2;

/// What a process logs when it has a stage opened again.
const REOPENED: &str = "output of a sealed stage is lost";

/// What a worker logs when it found the data of the process before it.
const TOOK_OVER: &str = "took over shuffle data of a former process";

#[test]
fn restarted_shuffle_workers_cost_nothing_that_was_made() {
    // Large enough for a query to have a middle.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let options = ["--gateways", "1", "--executors", "2", "--shuffle", "2"];
    let each = ["--lease-ttl", "15s", "--log-level", "info"];
    let cluster = Processes::start_with(&data, &options, &each);
    let (client, plain) = (cluster.client(), Oracle::open(&data));
    let sql = |number: usize| corpus::QUERIES[number - 1].1;
    let queries = [21, 18, 9].map(|number| (number, sql(number), plain.rows(sql(number))));
    for restart in 0..RESTARTS {
        let (number, sql, expected) = &queries[restart % queries.len()];
        let expected = expected.as_ref().expect("an answer");
        let clock = Env::real(None);
        cluster.rows(&client, sql).unwrap_or_else(|e| panic!("q{number}: {e}"));
        let whole = clock.now();
        let (victim, before) = (["shuffle 1", "shuffle 2"][restart % 2], cluster.lines());
        let actual = cluster.rows_while(&client, sql, || {
            // A moment of the query's run, another one each time: not a wait for something.
            std::thread::sleep(whole.mul_f64(0.2 + 0.1 * restart as f64));
            cluster.signal(victim, Signal::TERM);
        });
        let actual = actual.unwrap_or_else(|e| panic!("q{number} without {victim}: {e}"));
        if let Err(difference) = compare::same_rows(expected, &actual) {
            panic!("q{number} without {victim}: {difference}");
        }
        cluster.ready(victim, before);
    }
    let hits = cluster.count(TOOK_OVER);
    println!("{RESTARTS} shuffle workers restarted, {hits} of them with data");
    assert_eq!(cluster.count(REOPENED), 0, "no slice of a sealed stage ran again");
    assert!(hits >= HITS, "only {hits} of {RESTARTS} restarts met data");
    assert_eq!(cluster.end(), Some(0));
}
