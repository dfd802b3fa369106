//! Writes that are given up: their queries do not run on, their files go, and readers do not mind.

use std::time::Duration;

use dunlin_base::{ByteCount, Kind, QueryId};
use dunlin_gateway::{Reply, Rows, Session};
use dunlin_metadata::{Op, Txn};
use dunlin_node::Engine;
use dunlin_proto::write::target::Kind as TargetKind;
use dunlin_proto::write::write::Phase;
use dunlin_proto::write::{Target, Write};
use futures::TryStreamExt;
use prost::Message;

use super::Lab;
use super::flaky::{Flaky, write_records};
use crate::cluster::{Cluster, LIMIT, Shape, tpch};

const SHAPE: Shape = Shape { partitions: 3, executors: 2, fine: true };
/// What is published is published queries: nobody runs them.
const IDLE: Shape = Shape { partitions: 3, executors: 0, fine: true };

async fn begun(session: &Session, sql: &str) -> Rows {
    match session.sql(sql).await.expect("a statement starts") {
        Reply::Rows(rows) => rows,
        Reply::Done(what) => panic!("no rows: {what}"),
    }
}

async fn write(engine: &Engine, query: QueryId) -> Option<Write> {
    let entry = engine.store().get(&format!("wr/q/{query}")).await.expect("read");
    entry.map(|entry| Write::decode(entry.value).expect("a write"))
}

async fn put(engine: &Engine, query: QueryId, write: &Write) {
    let ops = vec![Op::Put(format!("wr/q/{query}"), write.encode_to_vec().into(), None)];
    engine.store().txn(Txn { ops, ..Txn::default() }).await.expect("written");
}

#[test]
fn a_write_that_is_given_up_before_its_query_is_published_publishes_none() {
    let cluster = Cluster::with(&tpch(), IDLE, |options| options.tuning.hold = Duration::ZERO);
    let store = Flaky::of(&cluster, usize::MAX);
    let (engine, session) = (&cluster.engine, &cluster.session);
    engine.block_on(async {
        let held = store.hold().await;
        let sql = "CREATE TABLE t WITH (location = 'flaky://lake/t') AS SELECT * FROM nation";
        let mut statement = std::pin::pin!(session.sql(sql));
        let given_up = async {
            // It is recorded, and its gateway does not get on.
            while write_records(&cluster).await.expect("records").is_empty() {
                engine.env().sleep(Duration::from_millis(2)).await;
            }
            engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        };
        tokio::select! {
            begun = &mut statement => panic!("{:?}", begun.err()),
            () = given_up => drop(held),
        }
        let error = statement.await.err().expect("it was given up");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        assert!(error.message().contains("given up"), "{error}");
        let gateway = engine.gateway().expect("a gateway");
        gateway.settle().await;
        gateway.sweep().await.expect("a sweep");
        assert_eq!(store.paths().await, Vec::<String>::new());
        assert_eq!(write_records(&cluster).await.expect("records"), Vec::<String>::new());
    });
    cluster.assert_nothing_left();
}

#[test]
fn the_query_of_a_write_that_was_given_up_ends_with_its_statement() {
    let cluster = Cluster::start(&tpch(), IDLE);
    let lab = Lab::over(cluster);
    let (engine, session) = (&lab.cluster.engine, &lab.cluster.session);
    engine.block_on(async {
        let rows = begun(session, &lab.sql("COPY nation TO 'OUT/n.csv'")).await;
        let query = rows.query.expect("a write has a query");
        // As by a gateway of an earlier build, which publishes what was given up.
        let mut record = write(engine, query).await.expect("it has begun");
        record.set_phase(Phase::Aborted);
        put(engine, query, &record).await;
        let error = rows.batches.try_collect::<Vec<_>>().await.expect_err("it was given up");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
    });
    lab.assert_clean();
}

#[test]
fn the_sweeper_ends_queries_of_writes_that_were_given_up_and_keeps_their_records_until_then() {
    let cluster = Cluster::start(&tpch(), IDLE);
    let store = Flaky::of(&cluster, usize::MAX);
    let (engine, session) = (&cluster.engine, &cluster.session);
    engine.block_on(async {
        let rows = begun(session, "SELECT * FROM nation").await;
        let query = rows.query.expect("a query has an id");
        let mut target =
            Target { store: "flaky://lake".into(), folder: "t".into(), ..Target::default() };
        target.set_kind(TargetKind::Insert);
        // Long ago: its gateway published it after it was given up, and died.
        let mut record = Write { target: Some(target), ended_unix_ms: 1, ..Write::default() };
        record.set_phase(Phase::Aborted);
        put(engine, query, &record).await;
        store.add(&format!("t/.dunlin/{query}/late.parquet")).await;
        let gateway = engine.gateway().expect("a gateway");
        gateway.sweep().await.expect("a sweep");
        let status = engine.queue().status(query).await.expect("a status").expect("records");
        assert_eq!(status.phase, dunlin_queue::Phase::Failed);
        assert!(write(engine, query).await.is_some(), "its executors may stage files yet");
        gateway.sweep().await.expect("a sweep");
        assert!(write(engine, query).await.is_some(), "it has only just ended");
        engine.queue().remove(query).await.expect("it has ended");
        gateway.sweep().await.expect("a sweep");
        assert!(write(engine, query).await.is_none());
        assert_eq!(store.paths().await, Vec::<String>::new());
        drop(rows);
        gateway.settle().await;
    });
    cluster.assert_nothing_left();
}

/// A write that is decided and not done: the store has published `copies` of its files.
async fn decided(cluster: &Cluster, store: &Flaky, copies: usize, sql: &str) -> QueryId {
    store.allow(copies);
    let rows = begun(&cluster.session, sql).await;
    let query = rows.query.expect("a write has a query");
    let failed = cluster.engine.env().timeout(LIMIT, rows.batches.try_collect::<Vec<_>>()).await;
    failed.expect("in time").expect_err("the store does not publish");
    let record = write(&cluster.engine, query).await.expect("a record");
    assert_eq!(record.phase(), Phase::Decided);
    query
}

#[test]
fn a_reader_does_not_fail_for_a_table_whose_name_was_taken() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    let store = Flaky::of(&cluster, usize::MAX);
    let lab = Lab::over(cluster);
    let cluster = &lab.cluster;
    lab.run("CREATE TABLE t WITH (location = 'flaky://lake/t') AS SELECT n_nationkey FROM nation");
    cluster.engine.block_on(async {
        let late = "CREATE TABLE race WITH (location = 'flaky://lake/t/race') AS \
             SELECT n_nationkey FROM nation";
        decided(cluster, &store, 0, late).await;
        let first = "CREATE TABLE race AS SELECT 1 AS x";
        cluster.rows_async(first).await.expect("the name is free");
        store.allow(usize::MAX);
    });
    // Whoever reads the folder finishes the write, and finds that it cannot be.
    assert_eq!(lab.count("t"), 25);
    assert_eq!(lab.count("race"), 1);
}

#[test]
fn a_decided_write_whose_staged_files_are_gone_is_given_up_by_the_sweeper() {
    let cluster = Cluster::with(&tpch(), SHAPE, |options| {
        options.settings.batch_size = 4;
        options.settings.write_file_bytes = ByteCount(1);
        options.tuning.hold = Duration::ZERO;
    });
    let store = Flaky::of(&cluster, usize::MAX);
    let lab = Lab::over(cluster);
    let cluster = &lab.cluster;
    lab.run("CREATE TABLE t WITH (location = 'flaky://lake/t') AS SELECT n_nationkey FROM nation");
    for lost in ["manifest-", ".parquet"] {
        cluster.engine.block_on(async {
            let insert = "INSERT INTO t SELECT n_nationkey FROM nation";
            let query = decided(cluster, &store, 1, insert).await;
            assert!(store.paths().await.iter().any(|path| path.starts_with(&format!("t/{query}"))));
            store.allow(usize::MAX);
            let staged = format!("{query}/");
            let there = store.paths().await;
            let gone: Vec<_> = there.iter().filter(|p| p.contains(&staged)).collect();
            for path in gone.iter().filter(|path| path.contains(lost)) {
                store.remove(path).await;
            }
            let error = cluster.rows_async("SELECT * FROM t").await.expect_err("a part is lost");
            assert_eq!(error.kind(), Kind::Lost, "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("is given up")), "{error:?}");
            cluster.engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        });
        assert_eq!(lab.count("t"), 25, "none of the second write's rows, without its {lost}");
    }
}
