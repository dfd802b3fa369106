//! TPC-H at scale 0.01.

use dunlin_corpus::{compare, oracle, tpch};

#[tokio::test(flavor = "multi_thread")]
async fn plain_datafusion_answers_all_22_the_same_whatever_the_partitions() {
    let dir = tpch::cached(super::data_root(), 0.01).expect("data");
    let one = oracle::open(&dir, 1).await.expect("a session");
    let three = oracle::open(&dir, 3).await.expect("a session");
    for (number, sql) in tpch::QUERIES {
        let expected = oracle::rows(&one, sql).await.expect("a TPC-H query runs");
        let actual = oracle::rows(&three, sql).await.expect("a TPC-H query runs");
        compare::same_rows(&expected, &actual).unwrap_or_else(|e| panic!("q{number}: {e}"));
        compare::same_order(&expected, &actual, tpch::order_by(number))
            .unwrap_or_else(|e| panic!("q{number}: {e}"));
    }
}

#[tokio::test]
async fn the_tables_have_the_specified_numbers_of_rows() {
    let dir = tpch::cached(super::data_root(), 0.01).expect("data");
    let context = oracle::open(&dir, 1).await.expect("a session");
    let expected = [1_500, 60_175, 25, 15_000, 2_000, 8_000, 5, 100];
    for (table, rows) in tpch::TABLES.into_iter().zip(expected) {
        let count = context.table(table).await.expect("a table").count().await.expect("a count");
        assert_eq!(count, rows, "{table}");
    }
}

#[test]
fn a_scale_that_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(tpch::generate(dir.path(), scale).is_err(), "{scale}");
    }
}
