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
use crate::store::{Compare, Event, Op, Store, StoreRef, Txn, TxnOutcome, Watch};

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

/// Many transactions at once: each happens by itself, in fewer calls than there are of them.
#[tokio::test]
async fn transactions_that_wait_travel_together_and_are_judged_apart() {
    let env = Env::real(None);
    let server = Server::start(&env).await;
    let store = server.connect("/dunlin/").await.expect("connected");
    let taken = Op::Put("taken".into(), Bytes::new(), None);
    store.txn(Txn { ops: vec![taken], ..Txn::default() }).await.expect("ok");
    let before = store.range("none").await.expect("ok").revision;
    let dead = store.lease_grant(Duration::from_secs(5)).await.expect("ok").id;
    store.lease_revoke(dead).await.expect("ok");

    // Of three one conflicts, one has a lease that has ended, and one happens.
    let txns = (0..90).map(|i| {
        let compares = if i % 3 == 0 { vec![Compare::Absent("taken".into())] } else { Vec::new() };
        let lease = (i % 3 == 1).then_some(dead);
        let ops = vec![Op::Put(format!("k/{i:02}"), Bytes::from(i.to_string()), lease)];
        store.txn(Txn { compares, ops, ..Txn::default() })
    });
    let outcomes = futures::future::join_all(txns).await;
    let mut happened = Vec::new();
    for (i, outcome) in outcomes.into_iter().enumerate() {
        match (i % 3, outcome) {
            (0, Ok(TxnOutcome::Conflict(there))) => assert!(there[0].is_some(), "{i}"),
            (1, Err(error)) => assert_eq!(error.kind(), Kind::Fenced, "{error}"),
            (2, Ok(TxnOutcome::Committed(at))) => happened.push((format!("k/{i:02}"), at)),
            (_, other) => panic!("{i}: {other:?}"),
        }
    }
    let there = store.range("k/").await.expect("ok");
    let written: Vec<_> = there.entries.iter().map(|e| (e.key.clone(), e.modified)).collect();
    assert_eq!(written, happened);

    let txns = (0..90).map(|i| {
        let ops = vec![Op::Put(format!("m/{i:02}"), Bytes::new(), None)];
        store.txn(Txn { ops, ..Txn::default() })
    });
    let before_all = store.range("none").await.expect("ok").revision;
    for outcome in futures::future::join_all(txns).await {
        assert!(matches!(outcome, Ok(TxnOutcome::Committed(_))), "{outcome:?}");
    }
    let calls = store.range("none").await.expect("ok").revision.0 - before_all.0;
    assert!((6..45).contains(&calls), "90 transactions took {calls} revisions after {before:?}");
}

/// Counters that all want to write: whatever travels together, no increment is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_that_meet_are_not_lost() {
    let env = Env::real(None);
    let server = Server::start(&env).await;
    let store = Arc::new(server.connect("/dunlin/").await.expect("connected"));
    let tasks: Vec<_> = (0..12)
        .map(|task| {
            let store = Arc::clone(&store);
            env.spawn("adder", async move {
                for round in 0..20 {
                    // Two counters at once, which others have in another order.
                    add(&store, [(task + round) % 5, (task + 2 * round + 1) % 5]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.join().await.expect("no panic");
    }
    let there = store.range("c/").await.expect("ok").entries;
    let sum: u64 = there
        .iter()
        .map(|e| String::from_utf8_lossy(&e.value).parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(sum, 12 * 20 * 2);
}

/// Adds one to two counters (or two to one), with one transaction that happens.
async fn add(store: &EtcdStore, counters: [u32; 2]) {
    loop {
        let mut txn = Txn::default();
        let twice = counters[0] == counters[1];
        for counter in counters.iter().take(if twice { 1 } else { 2 }) {
            let key = format!("c/{counter}");
            let there = store.get(&key).await.expect("ok");
            let value = there.as_ref().map_or(0, |entry| {
                String::from_utf8_lossy(&entry.value).parse::<u64>().expect("a number")
            });
            txn.compares.push(match there {
                Some(entry) => Compare::Modified(key.clone(), entry.modified),
                None => Compare::Absent(key.clone()),
            });
            let value = value + if twice { 2 } else { 1 };
            txn.ops.push(Op::Put(key, Bytes::from(value.to_string()), None));
        }
        if matches!(store.txn(txn).await.expect("ok"), TxnOutcome::Committed(_)) {
            return;
        }
    }
}
