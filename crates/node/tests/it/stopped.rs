//! A role stopped in mid-query costs only unfinished slices and never the query.

use std::time::Duration;

use dunlin_base::{ProcessId, QueryId};
use dunlin_corpus::{compare, tpch as corpus};
use dunlin_gateway::{Reply, Rows};
use dunlin_metadata::{Op, Txn};
use dunlin_proto::queue::Card;
use futures::TryStreamExt;
use prost::Message;

use crate::cluster::{Cluster, LIMIT, Oracle, Shape, tpch};

const SHAPE: Shape = Shape { partitions: 8, executors: 3, fine: true };

fn cluster() -> Cluster {
    Cluster::with(&tpch(), SHAPE, |options| {
        options.lease_ttl = Duration::from_secs(1);
        options.settings.slice_bytes = dunlin_base::ByteCount(64 << 10);
    })
}

fn sql(number: u8) -> &'static str {
    let found = corpus::QUERIES.iter().find(|(n, _)| *n == number);
    found.expect("a TPC-H query").1
}

async fn start(cluster: &Cluster, sql: &str) -> (QueryId, Rows) {
    match cluster.session.sql(sql).await.expect("a query starts") {
        Reply::Rows(rows) => (rows.query.expect("a query has an id"), rows),
        Reply::Done(what) => panic!("no query: {what}"),
    }
}

/// Waits until some slices of the query are done and others are not.
async fn midway(cluster: &Cluster, query: QueryId) {
    let env = cluster.engine.env();
    let halfway = async {
        loop {
            let status = cluster.engine.queue().status(query).await.expect("a status");
            let Some(status) = status else { return };
            let done: u32 = status.stages.iter().map(|s| s.slices_done).sum();
            if done > 0 {
                return;
            }
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    env.timeout(LIMIT, halfway).await.expect("a slice is done in time");
}

#[test]
fn an_executor_that_dies_costs_no_query() {
    let cluster = cluster();
    let plain = Oracle::open(&tpch());
    for number in [1, 5, 9, 18, 21] {
        let expected = plain.rows(sql(number)).expect("rows");
        let actual = cluster.engine.block_on(async {
            let (query, rows) = start(&cluster, sql(number)).await;
            midway(&cluster, query).await;
            cluster.engine.executors()[0].kill();
            let all = rows.batches.try_collect::<Vec<_>>();
            let all = cluster.engine.env().timeout(LIMIT, all).await.expect("an answer in time");
            cluster.engine.forget_killed();
            cluster.engine.add_executor().await.expect("another executor");
            all.unwrap_or_else(|e| panic!("q{number}: {e}"))
        });
        compare::same_rows(&expected, &actual).unwrap_or_else(|d| panic!("q{number}: {d}"));
    }
    cluster.assert_nothing_left();
}

#[test]
fn a_drained_executor_costs_no_work() {
    let cluster = cluster();
    let attempts = cluster.engine.block_on(async {
        let (query, rows) = start(&cluster, sql(9)).await;
        midway(&cluster, query).await;
        cluster.engine.executors()[0].drain(Duration::from_secs(60)).await;
        let ended = cluster.engine.queue().wait_ended(query).await.expect("an end");
        assert_eq!(ended.phase, dunlin_queue::Phase::Done);
        let status = cluster.engine.queue().status(query).await.expect("a status");
        let status = status.expect("records stay until the rows are read");
        let failed: u32 = status.stages.iter().map(|s| s.attempts_failed).sum();
        let slices: u32 = status.stages.iter().map(|s| s.slices_total).sum();
        let done: u32 = status.stages.iter().map(|s| s.slices_done).sum();
        assert_eq!(slices, done);
        rows.batches.try_collect::<Vec<_>>().await.expect("rows");
        failed
    });
    assert_eq!(attempts, 0, "nothing was run twice");
}

#[test]
fn a_gateway_that_dies_costs_no_query() {
    let cluster = cluster();
    let plain = Oracle::open(&tpch());
    let expected = plain.rows(sql(21)).expect("rows");
    let actual = cluster.engine.block_on(async {
        let (query, rows) = start(&cluster, sql(21)).await;
        let other = cluster.engine.replace_gateway().await.expect("another gateway");
        let schema = std::sync::Arc::clone(&rows.schema);
        drop(rows);
        let rows = other.attach(query, schema);
        let all = rows.batches.try_collect::<Vec<_>>();
        cluster.engine.env().timeout(LIMIT, all).await.expect("in time").expect("rows")
    });
    compare::same_rows(&expected, &actual).expect("the same rows");
    cluster.assert_nothing_left();
}

#[test]
fn of_executors_that_are_told_at_once_the_last_of_their_build_stays_for_its_gateway() {
    const LIMIT_OF_DRAIN: Duration = Duration::from_secs(90);
    let shape = Shape { executors: 2, ..SHAPE };
    let cluster = Cluster::start(&tpch(), shape);
    let (engine, env) = (&cluster.engine, cluster.engine.env().clone());
    engine.block_on(async {
        // An executor of the next build has come.
        let card = Card { build: "next".to_owned(), slots: 1, ..Card::default() };
        let key = format!("ex/{}", ProcessId::generate(&env));
        let ops = vec![Op::Put(key, card.encode_to_vec().into(), None)];
        engine.store().txn(Txn { ops, ..Txn::default() }).await.expect("written");
        let began = env.now();
        let executors = engine.executors();
        let alive = || executors.iter().filter(|executor| executor.is_alive()).count();
        let retire = engine.retire_executors(LIMIT_OF_DRAIN, Duration::from_secs(1));
        let meanwhile = async {
            while alive() == 2 {
                env.sleep(Duration::from_millis(5)).await;
            }
            let rows = cluster.rows_async(sql(1)).await.expect("somebody runs it");
            assert!(!rows.is_empty() && alive() == 1);
            engine.leave_gateway().await;
        };
        futures::join!(retire, meanwhile);
        assert_eq!(alive(), 0);
        assert!(env.now() - began < LIMIT_OF_DRAIN / 2, "it does not wait for the limit");
    });
}
