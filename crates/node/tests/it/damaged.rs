//! Parts of a query that were damaged in the metadata store: that query ends with one error, and no
//! other one is touched.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use dunlin_base::{Env, Kind, QueryId, Result};
use dunlin_gateway::{Reply, Rows};
use dunlin_metadata::{Op, Txn};
use dunlin_proto::queue::{Body, Stage, body};
use futures::TryStreamExt;
use prost::Message;

use crate::cluster::{Cluster, LIMIT, Shape, tpch};

const SQL: &str = "SELECT n_regionkey, count(*) FROM nation WHERE n_nationkey < 20 GROUP BY 1";

/// How long a drained executor may take to go.
const DRAIN: Duration = Duration::from_secs(30);

/// What is done to the record of a stage.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Template,
    Slices,
    Record,
}

fn change_a_bit(bytes: &Bytes, random: &Env) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = random.random_below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << random.random_below(8);
    bytes.into()
}

fn damaged(body: Option<&mut Body>, random: &Env) {
    let body = body.expect("a stage has it");
    let Some(body::Kind::Inline(bytes)) = &mut body.kind else {
        panic!("a small plan is inline");
    };
    *bytes = change_a_bit(bytes, random);
}

/// The record with the damage.
fn spoiled(record: &Bytes, damage: Damage, random: &Env) -> Bytes {
    let mut stage = Stage::decode(record.clone()).expect("a stage");
    match damage {
        Damage::Template => damaged(stage.template.as_mut(), random),
        Damage::Slices => damaged(stage.slices.as_mut(), random),
        // Half of it: no message at all.
        Damage::Record => return record.slice(..record.len() / 2),
    }
    stage.encode_to_vec().into()
}

/// Damages the first stage of a query.
async fn damage(cluster: &Cluster, query: QueryId, damage: Damage, random: &Env) {
    let store = cluster.engine.store();
    let prefix = format!("q/{query}/st/");
    let all = store.range(&prefix).await.expect("a range").entries;
    let is_stage = |key: &str| key.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
    let entry = all.into_iter().find(|entry| is_stage(&entry.key)).expect("a stage");
    let value = spoiled(&entry.value, damage, random);
    let put = Txn { ops: vec![Op::Put(entry.key, value, None)], ..Txn::default() };
    store.txn(put).await.expect("written");
}

async fn started(cluster: &Cluster) -> (QueryId, Rows) {
    match cluster.session.sql(SQL).await.expect("a query starts") {
        Reply::Rows(rows) => (rows.query.expect("a query has an id"), rows),
        Reply::Done(what) => panic!("no query: {what}"),
    }
}

#[test]
fn damaged_plans_in_the_store_cost_one_query_each() {
    let shape = Shape { partitions: 2, executors: 0, fine: false };
    let cluster = Cluster::start(&tpch(), shape);
    let random = Env::seeded(41);
    for (round, kind) in
        [Damage::Template, Damage::Slices, Damage::Record].into_iter().cycle().take(9).enumerate()
    {
        let ended: Result<Vec<RecordBatch>> = cluster.engine.block_on(async {
            let (query, rows) = started(&cluster).await;
            damage(&cluster, query, kind, &random).await;
            cluster.engine.add_executor().await.expect("an executor");
            let env = cluster.engine.env().clone();
            let ended = env.timeout(LIMIT, rows.batches.try_collect()).await;
            ended.unwrap_or_else(|| panic!("round {round}, {kind:?}: no end"))
        });
        let error = ended.expect_err("a damaged plan");
        assert_eq!(error.kind(), Kind::Lost, "round {round}, {kind:?}: {error}");
        let rows = cluster.rows(SQL).expect("another query is well");
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
        cluster.engine.block_on(cluster.engine.drain_executors(DRAIN));
    }
    cluster.assert_nothing_left();
}

#[test]
fn a_query_that_cannot_be_read_keeps_no_other_from_being_failed_without_executors() {
    let shape = Shape { partitions: 2, executors: 0, fine: false };
    let cluster = Cluster::with(&tpch(), shape, |options| {
        options.executor_wait = Duration::from_secs(1);
    });
    let (env, store) = (cluster.engine.env().clone(), cluster.engine.store());
    cluster.engine.block_on(async {
        let put = async |key: &str, value: Bytes| {
            let ops = vec![Op::Put(key.to_owned(), value, None)];
            store.txn(Txn { ops, ..Txn::default() }).await.expect("written");
        };
        let (first, rows) = started(&cluster).await;
        let key = format!("q/{first}/meta");
        let record = store.get(&key).await.expect("read").expect("a record").value;
        put(&key, Bytes::from_static(b"none")).await;
        let (_, others) = started(&cluster).await;
        for (rows, whose) in [(others, "the later one's"), (rows, "its own")] {
            let ended = env.timeout(LIMIT, rows.batches.try_collect::<Vec<_>>()).await;
            let ended = ended.unwrap_or_else(|| panic!("{whose}: no end"));
            let error = ended.expect_err("nobody can run it");
            assert_eq!(error.kind(), Kind::Retry, "{whose}: {error}");
            put(&key, record.clone()).await;
        }
    });
}
