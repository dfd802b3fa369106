//! All TPC-DS queries that DataFusion itself runs. Which it can not run is printed.

use std::path::PathBuf;
use std::sync::OnceLock;

use dunlin_corpus::{compare, tpcds as corpus};

use crate::cluster::{Cluster, Oracle, Shape, shared_folder};

fn data() -> PathBuf {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| corpus::cached(shared_folder(), 0.01).expect("data")).clone()
}

fn check(shape: Shape) {
    let queries = corpus::load_queries().expect("the query texts");
    let cluster = Cluster::start(&data(), shape);
    let plain = Oracle::open(&data());
    let (mut beyond, mut wrong) = (Vec::new(), Vec::new());
    for query in &queries {
        let sql = query.unlimited();
        let expected = match plain.rows(sql) {
            Ok(rows) => rows,
            Err(error) => {
                beyond.push(format!("q{}: {error}", query.number));
                continue;
            }
        };
        match cluster.rows(sql) {
            Ok(actual) => {
                if let Err(difference) = compare::same_rows(&expected, &actual) {
                    wrong.push(format!("q{}: {difference}", query.number));
                }
            }
            Err(error) => wrong.push(format!("q{}: {error}", query.number)),
        }
    }
    println!("DataFusion itself can not run {} of 99: {beyond:#?}", beyond.len());
    assert!(wrong.is_empty(), "{shape:?}: {} are wrong: {wrong:#?}", wrong.len());
    assert!(beyond.len() < 10, "the oracle runs most of them");
    cluster.assert_nothing_left();
}

#[test]
fn three_partitions_four_executors() {
    check(Shape { partitions: 3, executors: 4, fine: true });
}

#[test]
fn eight_partitions_one_executor() {
    check(Shape { partitions: 8, executors: 1, fine: true });
}

#[test]
fn one_partition_four_executors() {
    check(Shape { partitions: 1, executors: 4, fine: true });
}
