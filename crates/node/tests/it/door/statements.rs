//! Statements through the door: rows, changes, sessions, errors.

use dunlin_base::Kind;
use dunlin_corpus::compare;

use super::lab::{Doors, all, count, failure, rows, ticket};

#[test]
fn rows_are_those_that_the_engine_gives() {
    let doors = Doors::open();
    for sql in [
        "select * from nation order by n_nationkey",
        "select l_returnflag, sum(l_quantity) q, count(*) c, max(l_shipdate) d from lineitem group by 1",
        "select 1 as one, cast(null as bigint) as none, true as yes, 'ä' as letter",
        "select n_name from nation where n_nationkey < 0",
    ] {
        let expected = doors.cluster.rows(sql).expect("rows");
        let actual = doors.run(async { all(&doors.client("ann").await, sql).await });
        let actual = actual.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(count(&expected), count(&actual), "{sql}");
        compare::same_rows(&expected, &actual).unwrap_or_else(|d| panic!("{sql}: {d}"));
    }
    doors.assert_nothing_left();
}

#[test]
fn statements_without_a_query_are_answered_too() {
    let doors = Doors::open();
    doors.run(async {
        let client = doors.client("ann").await;
        assert_eq!(count(&all(&client, "create schema lab").await.expect("DDL")), 0);
        all(&client, "create view lab.v as select 1 as x").await.expect("DDL");
        assert_eq!(count(&all(&client, "select * from lab.v").await.expect("rows")), 1);
        assert_eq!(count(&all(&client, "show schemas").await.expect("rows")), 2);
        let plan = all(&client, "explain select * from lab.v").await.expect("a plan");
        assert_eq!(plan[0].schema().field(0).name(), "plan");
        let plan = all(&client, "explain analyze select count(*) from nation").await;
        assert!(count(&plan.expect("a plan")) > 2);
        let tables = "select * from information_schema.tables where table_schema = 'lab'";
        assert_eq!(count(&all(&client, tables).await.expect("rows")), 1);
    });
    doors.assert_nothing_left();
}

#[test]
fn writes_say_how_many_rows_they_wrote() {
    let doors = Doors::open();
    let out = tempfile::tempdir().expect("a folder");
    doors.run(async {
        let client = doors.client("ann").await;
        let create = "create table lots as select * from lineitem where l_linenumber = 1";
        let created = all(&client, create).await.expect("a table");
        assert_eq!(crate::writes::written(&created), 15_000);
        // As JDBC and ADBC send updates.
        let mut plain = doors.plain(0, "ann").await;
        let insert = "insert into lots select * from lineitem where l_linenumber = 7";
        let inserted = plain.execute_update(insert.to_owned(), None).await.expect("rows");
        let copy = format!("copy lots to '{}/lots/' stored as parquet", out.path().display());
        let copied = plain.execute_update(copy, None).await.expect("rows");
        assert_eq!(copied, 15_000 + inserted);
        let counted = all(&client, "select * from lots").await.expect("rows");
        assert_eq!(count(&counted) as i64, copied);
    });
    doors.assert_nothing_left();
}

#[test]
fn a_session_goes_along_to_another_gateway() {
    let doors = Doors::open();
    doors.run(async {
        let client = doors.client("ann").await;
        all(&client, "set dunlin.partitions = 3").await.expect("set");
        let show =
            "select value from information_schema.df_settings where name = 'dunlin.partitions'";
        let value = |rows: &[arrow::record_batch::RecordBatch]| {
            arrow::util::display::array_value_to_string(rows[0].column(0), 0).expect("a value")
        };
        assert_eq!(value(&all(&client, show).await.expect("rows")), "3");
        let before = client.address();
        doors.doors[0].kill();
        assert_eq!(value(&all(&client, show).await.expect("rows")), "3");
        assert_ne!(client.address(), before, "it went to the other gateway");
        let another = doors.client("ann").await;
        assert_ne!(value(&all(&another, show).await.expect("rows")), "3", "sessions are apart");
        all(&client, "reset dunlin.partitions").await.expect("reset");
        assert_ne!(value(&all(&client, show).await.expect("rows")), "3");
    });
}

#[test]
fn set_is_refused_where_it_would_be_forgotten() {
    let doors = Doors::open();
    doors.run(async {
        let mut plain = doors.plain(0, "ann").await;
        let error = plain.execute("set dunlin.partitions = 3".to_owned(), None).await;
        let error = error.expect_err("this client has no cookies").to_string();
        assert!(error.contains("would lose what SET changes"), "{error}");
        assert!(error.contains("with_cookie_middleware"), "the hint is in the message: {error}");
    });
}

#[test]
fn errors_keep_kind_place_and_hint() {
    let doors = Doors::open();
    doors.run(async {
        let client = doors.client("ann").await;
        let error = failure(&client, "select *\nfrom natoin").await;
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(
            error.message().starts_with("unknown table 'natoin' (line 2, column 6)"),
            "{error}"
        );
        assert!(error.message().contains("^^^^^^"), "the excerpt: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("nation")), "{:?}", error.hint());
        let error = failure(&client, "select * fron nation").await;
        assert!(error.message().contains("line 1, column"), "{error}");
        let error = failure(&client, "select 1/(n_nationkey - n_nationkey) from nation").await;
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.message().to_lowercase().contains("division by zero"), "{error}");
        let error = failure(&client, "select 1; select 2").await;
        assert_eq!(error.message(), "there are several statements in the text");
        let error = failure(&client, "  ").await;
        assert_eq!(error.message(), "there is no statement in the text");
    });
    doors.assert_nothing_left();
}

#[test]
fn another_client_reads_what_one_gateway_started_from_the_other() {
    let doors = Doors::open();
    doors.run(async {
        let mut one = doors.plain(0, "ann").await;
        let mut other = doors.plain(1, "ann").await;
        let info = one.execute("select * from orders".to_owned(), None).await.expect("started");
        let schema = info.clone().try_decode_schema().expect("a schema");
        assert!(!schema.to_string().contains("View"), "plain types only: {schema}");
        let batches = rows(&mut other, ticket(&info)).await.expect("rows");
        assert_eq!(count(&batches), 15_000);
        assert_eq!(batches[0].schema().fields(), schema.fields());
        let error = rows(&mut one, ticket(&info)).await.expect_err("it was read and removed");
        assert!(error.contains("run the query again"), "{error}");
    });
    doors.assert_nothing_left();
}
