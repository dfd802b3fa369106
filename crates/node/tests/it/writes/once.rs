//! The same write sent again happens once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use dunlin_base::{ByteCount, Kind};
use dunlin_gateway::{Reply, Rows, Session};
use dunlin_metadata::{Op, Txn};
use dunlin_node::Engine;
use dunlin_proto::write::WriteId;
use futures::TryStreamExt;
use prost::Message;

use super::flaky::{Flaky, write_records};
use super::{Lab, written};
use crate::cluster::{Cluster, Shape, tpch};

const SHAPE: Shape = Shape { partitions: 3, executors: 2, fine: true };
const INSERT: &str = "INSERT INTO t SELECT n_nationkey FROM nation";

fn lab() -> Lab {
    let lab = Lab::new(SHAPE);
    lab.run("CREATE TABLE t AS SELECT n_nationkey FROM nation WHERE false");
    lab
}

#[test]
fn with_an_id_it_is_once_and_without_it_is_twice() {
    let lab = lab();
    for id in ["a", "a", "b", "b", "a"] {
        lab.run(&format!("SET dunlin.write_id = '{id}'"));
        assert_eq!(lab.written(INSERT), 25);
    }
    assert_eq!(lab.count("t"), 50);
    lab.run("RESET dunlin.write_id");
    assert_eq!((lab.written(INSERT), lab.written(INSERT)), (25, 25));
    assert_eq!(lab.count("t"), 100);
    lab.assert_clean();
}

#[test]
fn every_kind_of_write_takes_an_id() {
    let lab = lab();
    for (id, sql) in [
        ("copy", "COPY nation TO 'OUT/n/' STORED AS JSON"),
        ("file", "COPY nation TO 'OUT/n.csv'"),
        ("table", "CREATE TABLE n AS SELECT * FROM nation"),
    ] {
        lab.run(&format!("SET dunlin.write_id = '{id}'"));
        assert_eq!((lab.written(sql), lab.written(sql)), (25, 25), "{sql}");
    }
    assert_eq!(lab.count("n"), 25);
}

#[test]
fn an_id_is_one_statements() {
    let lab = lab();
    lab.run("SET dunlin.write_id = 'a'");
    assert_eq!(lab.written(INSERT), 25);
    let other = format!("{INSERT} WHERE n_nationkey > 3");
    let error = lab.rows(&other).expect_err("another statement");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(error.message(), "the write id was used by another statement");
    // Another user's ids are others.
    let session = lab.cluster.engine.session("somebody else").expect("a session");
    lab.cluster.engine.block_on(async {
        session.sql("SET dunlin.write_id = 'a'").await.expect("set");
        let Reply::Rows(rows) = session.sql(&other).await.expect("a write") else { panic!("rows") };
        let rows: Vec<_> = rows.batches.try_collect().await.expect("rows");
        assert_eq!(written(&rows), 21);
    });
    assert_eq!(lab.count("t"), 46);
}

#[test]
fn an_id_is_one_default_schemas() {
    let lab = lab();
    lab.run("CREATE SCHEMA lab");
    lab.run("CREATE TABLE lab.t AS SELECT n_nationkey FROM public.nation WHERE false");
    let insert = "INSERT INTO t SELECT n_nationkey FROM public.nation";
    lab.run("SET dunlin.write_id = 'a'");
    assert_eq!(lab.written(insert), 25);
    lab.run("SET datafusion.catalog.default_schema = 'lab'");
    let error = lab.rows(insert).expect_err("another table");
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.message(),
        "the write id was used by this statement with 'public' as default schema"
    );
    lab.run("SET dunlin.write_id = 'b'");
    assert_eq!(lab.written(insert), 25);
    lab.run("RESET datafusion.catalog.default_schema");
    lab.run("SET dunlin.write_id = 'a'");
    assert_eq!(lab.written(insert), 25);
    assert_eq!((lab.count("public.t"), lab.count("lab.t")), (25, 25));
}

#[test]
fn an_id_outlives_its_write_by_a_day_however_long_that_takes() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    let lab = Lab::over(cluster);
    lab.run("CREATE TABLE t AS SELECT n_nationkey FROM nation WHERE false");
    let (engine, session) = (&lab.cluster.engine, &lab.cluster.session);
    engine.block_on(async {
        session.sql("SET dunlin.write_id = 'a'").await.expect("set");
        let write = begun(session, INSERT).await;
        // It began long ago.
        let ids = engine.store().range("wr/k/").await.expect("a range").entries;
        let [id] = ids.as_slice() else { panic!("one id: {ids:?}") };
        let mut record = WriteId::decode(id.value.clone()).expect("an id");
        record.unix_ms = 1;
        put(engine, &id.key, record.encode_to_vec().into()).await;
        let gateway = engine.gateway().expect("a gateway");
        gateway.sweep().await.expect("a sweep");
        let again = begun(session, INSERT).await;
        for write in [write, again] {
            let rows = write.batches.try_collect::<Vec<_>>().await.expect("written");
            assert_eq!(written(&rows), 25);
        }
        gateway.sweep().await.expect("a sweep");
    });
    assert_eq!(lab.written(INSERT), 25);
    assert_eq!(lab.count("t"), 25);
}

#[test]
fn a_second_try_joins_the_first_or_replaces_it() {
    let lab = lab();
    let (engine, session) = (&lab.cluster.engine, &lab.cluster.session);
    engine.block_on(async {
        session.sql("SET dunlin.write_id = 'a'").await.expect("set");
        let Reply::Rows(first) = session.sql(INSERT).await.expect("a write") else {
            panic!("rows")
        };
        let Reply::Rows(second) = session.sql(INSERT).await.expect("a write") else {
            panic!("rows")
        };
        assert_eq!(first.query, second.query, "it is the same write");
        let both = futures::future::try_join(
            first.batches.try_collect::<Vec<_>>(),
            second.batches.try_collect::<Vec<_>>(),
        );
        let (first, second) = both.await.expect("both are told");
        assert_eq!((written(&first), written(&second)), (25, 25));
        session.sql("SET dunlin.write_id = 'b'").await.expect("set");
        drop(session.sql(INSERT).await.expect("a write"));
        engine.gateway().expect("a gateway").settle().await;
    });
    // The dropped one was cancelled or, if it was done by then, is found.
    assert_eq!(lab.written(INSERT), 25);
    assert_eq!(lab.count("t"), 50);
    lab.assert_clean();
}

#[test]
fn a_try_that_fails_takes_nothing_from_the_first() {
    let lab = lab();
    let (engine, session) = (&lab.cluster.engine, &lab.cluster.session);
    engine.block_on(async {
        session.sql("SET dunlin.write_id = 'a'").await.expect("set");
        let (first, second) = (begun(session, INSERT).await, begun(session, INSERT).await);
        let query = first.query.expect("a write has a query");
        engine.queue().wait_ended(query).await.expect("an end");
        // The second cannot read the record, for a moment.
        let key = format!("wr/q/{query}");
        let record = engine.store().get(&key).await.expect("read").expect("a record").value;
        put(engine, &key, "none".into()).await;
        let error = second.batches.try_collect::<Vec<_>>().await.expect_err("no record");
        assert_eq!(error.kind(), Kind::Lost, "{error}");
        engine.gateway().expect("a gateway").settle().await;
        put(engine, &key, record).await;
        let rows = first.batches.try_collect::<Vec<_>>().await.expect("the first goes on");
        assert_eq!(written(&rows), 25);
    });
    assert_eq!(lab.count("t"), 25);
    lab.assert_clean();
}

async fn put(engine: &Engine, key: &str, value: Bytes) {
    let ops = vec![Op::Put(key.to_owned(), value, None)];
    engine.store().txn(Txn { ops, ..Txn::default() }).await.expect("written");
}

#[test]
fn readers_see_whole_writes() {
    let cluster = Cluster::with(&tpch(), SHAPE, |options| {
        options.settings.batch_size = 4;
        options.settings.write_file_bytes = ByteCount(1);
    });
    let lab = Lab::over(cluster);
    lab.run("CREATE TABLE t AS SELECT n_nationkey FROM nation");
    assert!(
        lab.written("COPY nation TO 'OUT/n/' STORED AS PARQUET") == 25 && lab.files().len() > 4
    );
    let (done, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let writing = async {
        for _ in 0..8 {
            lab.cluster.rows_async(INSERT).await.expect("a write");
        }
        done.store(true, Ordering::SeqCst);
    };
    let reading = async {
        while !done.load(Ordering::SeqCst) {
            let rows = lab.cluster.rows_async("SELECT * FROM t").await.expect("rows");
            let rows: usize = rows.iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(rows % 25, 0, "{rows} rows: a part of a write");
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    lab.cluster.engine.block_on(futures::future::join(writing, reading));
    assert!(reads.load(Ordering::SeqCst) > 1);
    assert_eq!(lab.count("t"), 225);
}

#[test]
fn two_tables_of_one_name_do_not_both_become_it() {
    let lab = lab();
    let session = &lab.cluster.session;
    lab.cluster.engine.block_on(async {
        let create = |n: u32| format!("CREATE TABLE race AS SELECT {n} AS x FROM nation");
        let Reply::Rows(first) = session.sql(&create(1)).await.expect("a write") else {
            panic!("rows")
        };
        let second = session.sql(&create(2)).await.expect("nothing is there yet");
        let Reply::Rows(second) = second else { panic!("rows") };
        let rows: Vec<_> = second.batches.try_collect().await.expect("it is the first to be done");
        assert_eq!(written(&rows), 25);
        let late = first.batches.try_collect::<Vec<_>>().await.expect_err("the name is taken");
        assert_eq!(late.message(), "table 'public.race' already exists");
    });
    assert_eq!(lab.count("race WHERE x = 2"), 25);
}

#[test]
fn a_table_whose_schema_was_dropped_meanwhile_is_not_made() {
    let lab = Lab::new(SHAPE);
    let cluster = &lab.cluster;
    cluster.engine.block_on(async {
        cluster.rows_async("CREATE SCHEMA lab").await.expect("a schema");
        let sql = lab
            .sql("CREATE TABLE lab.t WITH (location = 'OUT/t') AS SELECT n_nationkey FROM nation");
        let write = begun(&cluster.session, &sql).await;
        cluster.rows_async("DROP SCHEMA lab").await.expect("it is empty");
        let error = write.batches.try_collect::<Vec<_>>().await.expect_err("no schema");
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Invalid, "there is no schema 'lab' any more")
        );
        cluster.rows_async("CREATE SCHEMA lab").await.expect("another schema");
        let error = cluster.rows_async("SELECT * FROM lab.t").await.expect_err("an empty one");
        assert!(error.message().contains("unknown table"), "{error}");
    });
    assert_eq!(lab.files(), [lab.path("").display().to_string().trim_end_matches('/')]);
}

async fn begun(session: &Session, sql: &str) -> Rows {
    match session.sql(sql).await.expect("a write starts") {
        Reply::Rows(rows) => rows,
        Reply::Done(what) => panic!("no write: {what}"),
    }
}

#[test]
fn a_table_whose_name_was_taken_takes_its_own_files_back_and_no_others() {
    let cluster = Cluster::with(&tpch(), SHAPE, |options| {
        options.settings.batch_size = 4;
        options.settings.write_file_bytes = ByteCount(1);
        options.tuning.hold = std::time::Duration::ZERO;
    });
    let store = Flaky::of(&cluster, usize::MAX);
    let lab = Lab::over(cluster);
    let cluster = &lab.cluster;
    cluster.engine.block_on(async {
        let late = "CREATE TABLE race WITH (location = 'flaky://lake/race') AS \
             SELECT n_nationkey AS x FROM nation";
        let late = begun(&cluster.session, late).await;
        let first = "CREATE TABLE race AS SELECT n_name AS x FROM nation";
        cluster.rows_async(first).await.expect("it is the first to be done");
        store.add("race/other.parquet").await;
        // The store goes away in the middle of the removal: where a gateway would be killed.
        store.allow_removals(1);
        let error = late.batches.try_collect::<Vec<_>>().await.expect_err("the name is taken");
        assert_eq!(error.message(), "table 'public.race' already exists");
        assert!(store.paths().await.len() > 1, "not all of it is removed yet");
        // Now the name is free, but the write is at its end.
        cluster.rows_async("DROP TABLE race").await.expect("dropped");
        store.allow_removals(usize::MAX);
        cluster.engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        assert_eq!(store.paths().await, ["race/other.parquet"]);
        let error = cluster.rows_async("SELECT * FROM race").await.expect_err("no table");
        assert!(error.message().contains("unknown table"), "{error}");
        let records = write_records(cluster).await.expect("records");
        assert!(records.is_empty(), "{records:?}");
    });
}
