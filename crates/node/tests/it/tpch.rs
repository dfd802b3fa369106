//! All 22 TPC-H queries, with 1, 3 and 8 partitions, one and four executors.

use dunlin_corpus::{compare, tpch as corpus};

use crate::cluster::{Cluster, Oracle, Shape, tpch};

fn check(shape: Shape) {
    let cluster = Cluster::start(&tpch(), shape);
    let plain = Oracle::open(&tpch());
    for (number, sql) in corpus::QUERIES {
        let expected = plain.rows(sql).expect("an answer");
        let actual = cluster.rows(sql).unwrap_or_else(|e| panic!("q{number} {shape:?}: {e}"));
        if let Err(difference) = compare::same_rows(&expected, &actual) {
            panic!("q{number} {shape:?}: {difference}");
        }
        let keys = corpus::order_by(number);
        if let Err(difference) = compare::same_order(&expected, &actual, keys) {
            panic!("q{number} {shape:?}: order: {difference}");
        }
    }
    cluster.assert_nothing_left();
}

#[test]
fn one_partition_one_executor() {
    check(Shape { partitions: 1, executors: 1, fine: true });
}

#[test]
fn three_partitions_one_executor() {
    check(Shape { partitions: 3, executors: 1, fine: true });
}

#[test]
fn eight_partitions_one_executor() {
    check(Shape { partitions: 8, executors: 1, fine: true });
}

#[test]
fn one_partition_four_executors() {
    check(Shape { partitions: 1, executors: 4, fine: true });
}

#[test]
fn three_partitions_four_executors() {
    check(Shape { partitions: 3, executors: 4, fine: true });
}

#[test]
fn eight_partitions_four_executors() {
    check(Shape { partitions: 8, executors: 4, fine: true });
}

#[test]
fn as_in_production() {
    check(Shape { partitions: 8, executors: 2, fine: false });
}
