//! Plans that are used again, and above all those that must not be.

use std::time::{Duration, SystemTime};

use super::super::reuse::PLANS_MAX;
use super::*;

/// Whether the second plan of a text is the first one.
async fn kept(lab: &Lab, sql: &str) -> bool {
    let first = lab.query(sql).await;
    let second = lab.query(sql).await;
    Arc::ptr_eq(&first.physical, &second.physical)
}

async fn lab() -> Lab {
    let lab = Lab::new();
    let file = lab.parquet("t.parquet", "n", numbers(&[1, 2, 3]));
    lab.plan(&table("t", "PARQUET", &file)).await.expect("a table");
    lab
}

#[tokio::test]
async fn the_same_text_is_planned_once_and_its_graph_goes_with_it() {
    let lab = lab().await;
    let first = lab.query("SELECT sum(n) FROM t").await;
    first.graph.set(Bytes::from_static(b"cut")).expect("the first to cut");
    let second = lab.query("SELECT sum(n) FROM t").await;
    assert!(Arc::ptr_eq(&first.physical, &second.physical));
    assert_eq!(second.graph.get().map(AsRef::as_ref), Some(b"cut".as_ref()));
    assert_eq!(second.tables, first.tables);
    assert_eq!(lab.rows("SELECT sum(n) FROM t").await.expect("rows"), ["6"]);
    let other = lab.query("SELECT sum( n) FROM t").await;
    assert!(!Arc::ptr_eq(&first.physical, &other.physical), "another text");
}

#[tokio::test]
async fn what_is_said_about_now_is_said_anew() {
    let lab = lab().await;
    for sql in [
        "SELECT now(), n FROM t",
        "SELECT n FROM t WHERE current_date > DATE '2020-01-01'",
        "SELECT n, random() FROM t",
        "SELECT n FROM t WHERE n IN (SELECT CAST(extract(year FROM now()) AS BIGINT))",
        "SELECT * FROM generate_series(1, 3)",
    ] {
        assert!(!kept(&lab, sql).await, "{sql}");
    }
    lab.plan("CREATE VIEW today AS SELECT now() AS at, n FROM t").await.expect("a view");
    lab.plan("CREATE VIEW plain AS SELECT n FROM t").await.expect("a view");
    assert!(!kept(&lab, "SELECT * FROM today").await);
    assert!(kept(&lab, "SELECT * FROM plain").await);
    assert!(kept(&lab, "SELECT count(*) FROM t WHERE n IN (SELECT max(n) FROM t)").await);
}

#[tokio::test]
async fn other_files_are_another_plan() {
    let lab = lab().await;
    let sql = "SELECT sum(n) FROM t";
    assert_eq!(lab.rows(sql).await.expect("rows"), ["6"]);
    let file = lab.parquet("t.parquet", "n", numbers(&[4, 5, 6]));
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let open = std::fs::File::options().write(true).open(&file).expect("the file");
    open.set_modified(later).expect("a later time");
    assert_eq!(lab.rows(sql).await.expect("rows"), ["15"]);

    let folder = lab.path("many");
    lab.parquet("many/1.parquet", "n", numbers(&[1]));
    lab.plan(&table("many", "PARQUET", &folder)).await.expect("a table");
    let sql = "SELECT count(n) AS c FROM many WHERE n > 0";
    assert_eq!(lab.rows(sql).await.expect("rows"), ["1"]);
    let second = lab.parquet("many/2.parquet", "n", numbers(&[2]));
    assert_eq!(lab.rows(sql).await.expect("rows"), ["2"]);
    std::fs::remove_file(second).expect("removed");
    assert_eq!(lab.rows(sql).await.expect("rows"), ["1"]);
    std::fs::remove_dir_all(&folder).expect("removed");
    let (error, _) = lab.error(sql).await;
    assert!(error.contains("many"), "{error}");
}

#[tokio::test]
async fn other_settings_or_another_catalog_are_another_plan() {
    let lab = lab().await;
    let sql = "SELECT sum(n) FROM t";
    let first = lab.query(sql).await;
    lab.plan("SET dunlin.partitions = 3").await.expect("set");
    let second = lab.query(sql).await;
    assert!(!Arc::ptr_eq(&first.physical, &second.physical));
    assert_eq!(second.settings.partitions, 3);
    let other = lab.parquet("other.parquet", "n", numbers(&[10]));
    lab.plan("DROP TABLE t").await.expect("dropped");
    assert!(lab.plan(sql).await.is_err(), "the table is gone");
    lab.plan(&table("t", "PARQUET", &other)).await.expect("a table");
    assert_eq!(lab.rows(sql).await.expect("rows"), ["10"]);
}

#[tokio::test]
async fn nothing_is_kept_after_a_failure_or_against_the_setting() {
    let lab = lab().await;
    let sql = "SELECT sum(n) FROM t";
    let first = lab.query(sql).await;
    lab.session.forget(sql);
    let second = lab.query(sql).await;
    assert!(!Arc::ptr_eq(&first.physical, &second.physical));
    lab.plan("SET dunlin.plan_cache = false").await.expect("set");
    assert!(!kept(&lab, sql).await);
    let (error, _) = lab.error("SET dunlin.plan_cache = 'perhaps'").await;
    assert!(error.contains("neither true nor false"), "{error}");
}

#[tokio::test]
async fn only_so_many_plans_are_kept() {
    let lab = lab().await;
    let sql = |n: usize| format!("SELECT n FROM t WHERE n = {n}");
    let first = lab.query(&sql(0)).await;
    for n in 1..=PLANS_MAX {
        lab.query(&sql(n)).await;
    }
    assert!(!Arc::ptr_eq(&first.physical, &lab.query(&sql(0)).await.physical));
    assert!(kept(&lab, &sql(PLANS_MAX)).await);
}
