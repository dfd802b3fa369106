//! Tests against a real server: conformance, restarts, compaction, absence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Kind, Result, Revision};
use futures::StreamExt;

use super::EtcdStore;
use super::server::{Server, free_port};
use crate::conformance::{StoreFactory, run_all};
use crate::store::{Event, Op, Store, StoreRef, Txn, TxnOutcome, Watch};

const LIMIT: Duration = Duration::from_secs(30);

struct Factory {
    env: Env,
    server: Server,
    roots: AtomicU32,
}

#[async_trait]
impl StoreFactory for Factory {
    async fn make(&self) -> Result<StoreRef> {
        let root = self.roots.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(self.server.connect(&format!("/conformance/{root}")).await?))
    }

    fn env(&self) -> Env {
        self.env.clone()
    }

    fn lease_slack(&self) -> Duration {
        Duration::from_secs(8)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let env = Env::real(None);
    let server = Server::start(&env).await;
    let factory = Factory { env, server, roots: AtomicU32::new(0) };
    if let Err(e) = run_all(&factory).await {
        panic!("{e}");
    }
}

async fn write(store: &EtcdStore, value: usize) -> Result<Revision> {
    let put = Op::Put("k/a".into(), Bytes::from(value.to_string()), None);
    match store.txn(Txn { ops: vec![put], ..Txn::default() }).await? {
        TxnOutcome::Committed(revision) => Ok(revision),
        TxnOutcome::Conflict(_) => panic!("a conflict without a condition"),
    }
}

/// Writes once the server is back. The value is written at least once.
async fn write_when_up(store: &EtcdStore, env: &Env, value: usize) -> Revision {
    let deadline = env.now() + LIMIT;
    loop {
        match write(store, value).await {
            Ok(revision) => return revision,
            Err(e) if e.kind() == Kind::Retry && env.now() < deadline => {
                env.sleep(Duration::from_millis(20)).await;
            }
            Err(e) => panic!("{e}"),
        }
    }
}

async fn next(watch: &mut Watch, env: &Env) -> Vec<Event> {
    env.timeout(LIMIT, watch.next()).await.expect("an event in time").expect("no end")
}

/// Reads a watch up to a revision: its revisions, which must be all of put events.
async fn revisions_up_to(watch: &mut Watch, env: &Env, last: Revision) -> Vec<i64> {
    let mut revisions = Vec::new();
    while revisions.last() != Some(&last.0) {
        for event in next(watch, env).await {
            match event {
                Event::Put(entry) => revisions.push(entry.modified.0),
                other => panic!("{other:?}"),
            }
        }
    }
    revisions
}

#[tokio::test]
async fn a_watch_outlives_its_server_without_a_gap() {
    let env = Env::real(None);
    let mut server = Server::start(&env).await;
    let store = server.connect("/dunlin/").await.expect("connected");
    let first = write(&store, 0).await.expect("ok");
    let mut watch = store.watch("k/", first).await.expect("ok");
    assert_eq!(revisions_up_to(&mut watch, &env, first).await, [first.0]);
    let mut last = first;
    for round in 0..3 {
        server.kill();
        assert!(server.restart().await, "etcd comes back");
        for i in 0..5 {
            last = write_when_up(&store, &env, round * 5 + i).await;
        }
    }
    // Nobody else writes, so every revision is one of ours, those with unknown outcome included.
    let seen = revisions_up_to(&mut watch, &env, last).await;
    assert_eq!(seen, (first.0 + 1..=last.0).collect::<Vec<_>>());
    assert!(seen.len() >= 15);
}

#[tokio::test]
async fn a_compacted_past_is_a_resync() {
    let env = Env::real(None);
    let server = Server::start(&env).await;
    let store = server.connect("/dunlin/").await.expect("connected");
    let mut last = Revision(0);
    for i in 0..10 {
        last = write(&store, i).await.expect("ok");
    }
    let mut client = etcd_client::Client::connect([server.endpoint()], None).await.expect("ok");
    client.compact(last.0, None).await.expect("compacted");
    let mut watch = store.watch("k/", Revision(2)).await.expect("ok");
    assert_eq!(next(&mut watch, &env).await, [Event::Resync(last)]);
    let after = write(&store, 10).await.expect("ok");
    assert_eq!(revisions_up_to(&mut watch, &env, after).await, [after.0]);
}

#[tokio::test]
async fn an_absent_server_is_worth_a_retry_and_does_not_hang() {
    let env = Env::real(None);
    let nobody = [format!("127.0.0.1:{}", free_port())];
    let connect = EtcdStore::connect(&nobody, "/dunlin/", env.clone());
    let failed = env.timeout(LIMIT, connect).await.expect("bounded").expect_err("nobody there");
    assert_eq!(failed.kind(), Kind::Retry, "{failed}");
    assert!(failed.message().contains(&nobody[0]), "{failed}");

    let mut server = Server::start(&env).await;
    let store = server.connect("/dunlin/").await.expect("connected");
    server.kill();
    let failed = env.timeout(LIMIT, write(&store, 1)).await.expect("bounded");
    assert_eq!(failed.map_err(|e| e.kind()), Err(Kind::Retry));
}
