//! Processes that die in the middle of a write: all rows once, or none.

use std::time::Duration;

use dunlin_base::{ByteCount, Kind, QueryId};
use dunlin_gateway::{Reply, Rows, Session};
use dunlin_metadata::Entry;
use dunlin_planner::write::Landing;
use dunlin_proto::write::Write;
use futures::TryStreamExt;
use prost::Message;

use super::flaky::{Flaky, write_records};
use super::{Lab, written};
use crate::cluster::{Cluster, LIMIT, Shape, tpch};

const SHAPE: Shape = Shape { partitions: 4, executors: 3, fine: true };

fn cluster() -> Cluster {
    Cluster::with(&tpch(), SHAPE, |options| {
        options.lease_ttl = Duration::from_secs(1);
        options.settings.slice_bytes = ByteCount(64 << 10);
    })
}

async fn start(session: &Session, sql: &str) -> (QueryId, Rows) {
    match session.sql(sql).await.expect("a write starts") {
        Reply::Rows(rows) => (rows.query.expect("a write has a query"), rows),
        Reply::Done(what) => panic!("no write: {what}"),
    }
}

async fn midway(cluster: &Cluster, query: QueryId) {
    let env = cluster.engine.env();
    let halfway = async {
        loop {
            let status = cluster.engine.queue().status(query).await.expect("a status");
            let done = status.map(|s| s.stages.iter().map(|s| s.slices_done).sum::<u32>());
            if done.is_none_or(|done| done > 0) {
                return;
            }
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    env.timeout(LIMIT, halfway).await.expect("a slice is done in time");
}

#[test]
fn an_executor_in_the_middle_of_its_files() {
    let lab = Lab::over(cluster());
    let engine = &lab.cluster.engine;
    let copy = lab.sql(
        "COPY (SELECT l.* FROM lineitem l JOIN orders ON l_orderkey = o_orderkey) TO 'OUT/l/' \
         STORED AS CSV",
    );
    let rows = engine.block_on(async {
        let (query, rows) = start(&lab.cluster.session, &copy).await;
        midway(&lab.cluster, query).await;
        engine.executors()[0].kill();
        let all = rows.batches.try_collect::<Vec<_>>();
        engine.env().timeout(LIMIT, all).await.expect("an answer in time").expect("an answer")
    });
    assert_eq!(written(&rows), 60_175);
    lab.run("CREATE EXTERNAL TABLE l STORED AS CSV LOCATION 'OUT/l'");
    assert_eq!(lab.count("l"), 60_175);
    let distinct = "(SELECT DISTINCT l_orderkey, l_linenumber FROM l)";
    assert_eq!(lab.count(distinct), 60_175, "no row is there twice");
    lab.assert_clean();
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let lab = Lab::over(cluster());
    let copy =
        lab.sql("COPY (SELECT a.* FROM lineitem a, nation, region) TO 'OUT/l/' STORED AS CSV");
    lab.cluster.engine.block_on(async {
        let (query, rows) = start(&lab.cluster.session, &copy).await;
        midway(&lab.cluster, query).await;
        drop(rows);
    });
    lab.assert_clean();
    assert!(lab.files().iter().all(|file| !file.starts_with("l/")), "{:?}", lab.files());
}

#[test]
fn a_client_that_asks_again_elsewhere_is_not_told_that_its_write_was_cancelled() {
    let lab = Lab::over(cluster());
    let copy =
        lab.sql("COPY (SELECT a.* FROM lineitem a, nation, region) TO 'OUT/l/' STORED AS CSV");
    lab.run("SET dunlin.write_id = 'again'");
    lab.cluster.engine.block_on(async {
        let (query, first) = start(&lab.cluster.session, &copy).await;
        midway(&lab.cluster, query).await;
        let (joined, again) = start(&lab.cluster.session, &copy).await;
        assert_eq!(joined, query);
        let again = again.batches.try_collect::<Vec<_>>();
        let env = lab.cluster.engine.env();
        // While it waits, the connection that began the write turns out to be dead.
        let gone = async { drop(first) };
        let (told, ()) = futures::join!(env.timeout(LIMIT, again), gone);
        let error = told.expect("an answer in time").expect_err("nothing was written");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
    });
    lab.assert_clean();
    assert!(lab.files().iter().all(|file| !file.starts_with("l/")), "{:?}", lab.files());
}

/// How a write that its gateway has left goes on.
#[derive(Clone, Copy, Debug)]
enum Rescue {
    Reader,
    Retry,
    Sweeper,
}

const RESCUES: [Rescue; 3] = [Rescue::Reader, Rescue::Retry, Rescue::Sweeper];

/// Grouped, so that several slices write files.
const INSERT: &str = "INSERT INTO t SELECT o_orderkey, min(o_clerk) FROM orders \
     WHERE o_orderkey > 100 GROUP BY o_orderkey";

/// Has another gateway look at what is left of the write of [`INSERT`].
async fn rescue(cluster: &Cluster, how: Rescue) {
    let session = cluster.engine.session("test").expect("a session");
    match how {
        Rescue::Reader => {}
        Rescue::Retry => {
            session.sql("SET dunlin.write_id = 'monday'").await.expect("set");
            let (_, rows) = start(&session, INSERT).await;
            let rows: Vec<_> = rows.batches.try_collect().await.expect("written");
            assert!(written(&rows) > 14_000);
        }
        Rescue::Sweeper => {
            cluster.engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        }
    }
}

async fn count(cluster: &Cluster) -> i64 {
    use arrow::array::AsArray;
    let session = cluster.engine.session("test").expect("a session");
    let (_, rows) = start(&session, "SELECT count(*) FROM t").await;
    let rows: Vec<_> = rows.batches.try_collect().await.expect("rows");
    rows[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0)
}

#[test]
fn a_gateway_between_the_decision_and_the_last_file() {
    for (copies, how) in [0, 1, 7].into_iter().flat_map(|n| RESCUES.map(|how| (n, how))) {
        let cluster = Cluster::with(&tpch(), SHAPE, |options| {
            options.settings.batch_size = 1000;
            options.settings.write_file_bytes = ByteCount(1);
        });
        let store = Flaky::of(&cluster, usize::MAX);
        let engine = &cluster.engine;
        engine.block_on(async {
            let create = "CREATE TABLE t WITH (location = 'flaky://lake/t') AS \
                 SELECT o_orderkey, o_clerk FROM orders WHERE o_orderkey <= 100";
            cluster.rows_async(create).await.expect("a table");
            let (before, all) = (count(&cluster).await, 15_000);
            store.allow(copies);
            cluster.rows_async("SET dunlin.write_id = 'monday'").await.expect("set");
            let error = cluster.rows_async(INSERT).await.expect_err("a store that fails");
            assert_eq!(error.kind(), Kind::Retry, "{error}");
            engine.replace_gateway().await.expect("another gateway");
            // While it cannot be finished, nobody sees a part of it.
            let session = engine.session("test").expect("a session");
            let read = session.sql("SELECT count(*) FROM t").await;
            let Err(error) = read else { panic!("{copies} {how:?}: a part was read") };
            assert_eq!(error.kind(), Kind::Retry, "{error}");
            store.allow(usize::MAX);
            rescue(&cluster, how).await;
            assert_eq!(count(&cluster).await, all, "{copies} {how:?}, {before} before");
            engine.gateway().expect("a gateway").settle().await;
            let staged: Vec<_> = store.paths().await;
            assert!(staged.iter().all(|path| !path.contains(".dunlin")), "{staged:?}");
        });
    }
}

/// The one write that has a record and is on its way.
async fn only_write(cluster: &Cluster) -> (QueryId, Write) {
    let all = cluster.engine.store().range("wr/q/").await.expect("a range").entries;
    let decoded = |entry: &Entry| {
        let query = entry.key.strip_prefix("wr/q/")?.parse().ok()?;
        let write = Write::decode(entry.value.clone()).expect("a write");
        (write.ended_unix_ms == 0).then_some((query, write))
    };
    let found: Vec<_> = all.iter().filter_map(decoded).collect();
    let [one] = found.as_slice() else { panic!("not one write: {found:?}") };
    one.clone()
}

#[test]
fn a_manifest_that_comes_after_the_decision_changes_nothing() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    let store = Flaky::of(&cluster, usize::MAX);
    let engine = &cluster.engine;
    engine.block_on(async {
        let create = "CREATE TABLE t WITH (location = 'flaky://lake/t') AS \
             SELECT o_orderkey, o_clerk FROM orders WHERE o_orderkey <= 100";
        cluster.rows_async(create).await.expect("a table");
        store.allow(0);
        cluster.rows_async(INSERT).await.expect_err("a store that fails");
        // Another gateway read the query's result when that had other files, and was slow.
        let (query, write) = only_write(&cluster).await;
        let target = write.target.expect("a target");
        let landing = Landing::new(engine.planner().stores(), &target, query).expect("a landing");
        let other = landing.manifest(Vec::new(), false);
        landing.stage_manifest(&other).await.expect("staged");
        store.allow(usize::MAX);
        engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        assert_eq!(count(&cluster).await, 15_000, "all that was decided, and nothing else");
    });
}

#[test]
fn a_gateway_before_the_decision() {
    for how in RESCUES {
        let cluster = Cluster::start(&tpch(), SHAPE);
        let store = Flaky::of(&cluster, usize::MAX);
        let engine = &cluster.engine;
        engine.block_on(async {
            let create = "CREATE TABLE t WITH (location = 'flaky://lake/t') AS \
                 SELECT o_orderkey, o_clerk FROM orders WHERE o_orderkey <= 100";
            cluster.rows_async(create).await.expect("a table");
            let before = count(&cluster).await;
            cluster.rows_async("SET dunlin.write_id = 'monday'").await.expect("set");
            // Nobody polls the reply, so nobody takes the write on when its query has ended.
            let (query, rows) = start(&cluster.session, INSERT).await;
            engine.queue().wait_ended(query).await.expect("an end");
            engine.replace_gateway().await.expect("another gateway");
            drop(rows);
            assert_eq!(count(&cluster).await, before, "nothing is decided");
            rescue(&cluster, how).await;
            let expected = if matches!(how, Rescue::Reader) { before } else { 15_000 };
            assert_eq!(count(&cluster).await, expected, "{how:?}");
            let _ = store;
        });
    }
}

#[test]
fn a_new_table_whose_gateway_dies_is_there_whole_or_not() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    let store = Flaky::of(&cluster, 1);
    let engine = &cluster.engine;
    engine.block_on(async {
        let create = "CREATE TABLE t WITH (location = 'flaky://lake/t') AS \
             SELECT l_orderkey, l_linenumber, count(*) AS n FROM lineitem GROUP BY 1, 2";
        let error = cluster.rows_async(create).await.expect_err("a store that fails");
        assert_eq!(error.kind(), Kind::Retry, "{error}");
        engine.replace_gateway().await.expect("another gateway");
        let session = engine.session("test").expect("a session");
        let error = session.sql("SELECT * FROM t").await.err().expect("no table yet");
        assert!(error.message().contains("unknown table 't'"), "{error}");
        store.allow(usize::MAX);
        engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        assert_eq!(count(&cluster).await, 60_175);
    });
}

#[test]
fn records_of_writes_go_with_time() {
    let cluster = Cluster::with(&tpch(), SHAPE, |options| options.tuning.hold = Duration::ZERO);
    let lab = Lab::over(cluster);
    lab.run("COPY nation TO 'OUT/n.csv'");
    // An attempt that lost, and was late.
    let late = lab.path(".dunlin");
    let engine = &lab.cluster.engine;
    engine.block_on(async {
        let records = write_records(&lab.cluster).await.expect("records");
        let [record] = records.as_slice() else { panic!("{records:?}") };
        let query = record.rsplit('/').next().expect("a query");
        std::fs::create_dir_all(late.join(query)).expect("a folder");
        std::fs::write(late.join(query).join("0-00000-2-000-0000.csv#1"), "x").expect("a file");
        engine.gateway().expect("a gateway").sweep().await.expect("a sweep");
        let records = write_records(&lab.cluster).await.expect("records");
        assert!(records.is_empty(), "{records:?}");
    });
    assert_eq!(lab.files(), ["n.csv"]);
}
