//! All TPC-DS queries that DataFusion itself runs. Which it can not run is printed.

use std::path::PathBuf;
use std::sync::OnceLock;

use arrow::record_batch::RecordBatch;
use dunlin_corpus::{compare, tpcds as corpus};

use crate::cluster::{Cluster, Oracle, Shape, shared_folder};

fn data() -> PathBuf {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| corpus::cached(shared_folder(), 0.01).expect("data")).clone()
}

/// What plain DataFusion says to a query, by its number. Each is asked once, for all shapes.
type Answer = Result<Vec<RecordBatch>, String>;
static PLAIN: [OnceLock<Answer>; 99] = [const { OnceLock::new() }; 99];

/// All queries with one executor, then with four: the second time with the plans of the first.
fn check(partitions: usize) {
    let cluster = Cluster::start(&data(), Shape { partitions, executors: 1, fine: true });
    check_all(&cluster, &format!("{partitions} partitions, one executor"));
    for _ in 1..4 {
        cluster.engine.block_on(cluster.engine.add_executor()).expect("one more");
    }
    check_all(&cluster, &format!("{partitions} partitions, four executors"));
    cluster.assert_nothing_left();
}

fn check_all(cluster: &Cluster, shape: &str) {
    let queries = corpus::load_queries().expect("the query texts");
    let plain = Oracle::open(&data());
    let (mut beyond, mut wrong) = (Vec::new(), Vec::new());
    for query in &queries {
        let (sql, number) = (query.unlimited(), query.number);
        let expected = PLAIN[usize::from(number) - 1]
            .get_or_init(|| plain.rows(sql).map_err(|error| error.to_string()));
        let expected = match expected {
            Ok(rows) => rows,
            Err(error) => {
                beyond.push(format!("q{number}: {error}"));
                continue;
            }
        };
        match cluster.rows(sql) {
            Ok(actual) => {
                if let Err(difference) = compare::same_rows(expected, &actual) {
                    wrong.push(format!("q{number}: {difference}"));
                }
            }
            Err(error) => wrong.push(format!("q{number}: {error}")),
        }
    }
    println!("DataFusion itself can not run {} of 99: {beyond:#?}", beyond.len());
    assert!(wrong.is_empty(), "{shape}: {} are wrong: {wrong:#?}", wrong.len());
    assert!(beyond.len() < 10, "the oracle runs most of them");
}

#[test]
fn one_partition_with_one_and_four_executors() {
    check(1);
}

#[test]
fn three_partitions_with_one_and_four_executors() {
    check(3);
}

#[test]
fn eight_partitions_with_one_and_four_executors() {
    check(8);
}
