//! Tests of the simulated store: faults are real faults, and the same seed gives the same run.

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use super::*;
use crate::store::{Compare, Op};

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), None)
}

fn txn(compares: Vec<Compare>, ops: Vec<Op>) -> Txn {
    Txn { compares, ops, ..Txn::default() }
}

async fn committed(store: &SimStore, txn: Txn) -> Revision {
    match store.txn(txn).await.expect("the store answers") {
        TxnOutcome::Committed(revision) => revision,
        TxnOutcome::Conflict(found) => panic!("conflict: {found:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_changes_nothing_and_shows_what_is_there() {
    let store = SimStore::new(Env::seeded(1));
    let first =
        committed(&store, txn(vec![Compare::Absent("a".into())], vec![put("a", "1")])).await;
    let again = txn(
        vec![Compare::Modified("a".into(), first), Compare::Present("b".into())],
        vec![put("a", "2")],
    );
    let TxnOutcome::Conflict(found) = store.txn(again).await.expect("the store answers") else {
        panic!("b is absent");
    };
    assert_eq!(found[0].as_ref().map(|e| e.modified), Some(first));
    assert_eq!(found[1], None);
    let second = committed(&store, txn(vec![], vec![put("a", "3"), put("b", "1")])).await;
    let snapshot = store.range("").await.expect("the store answers");
    assert_eq!(snapshot.revision, second);
    let revisions: Vec<_> =
        snapshot.entries.iter().map(|e| (&*e.key, e.created, e.modified)).collect();
    assert_eq!(revisions, [("a", first, second), ("b", second, second)]);
}

#[tokio::test(start_paused = true)]
async fn limits_are_refused_before_anything_happens() {
    let store = SimStore::new(Env::seeded(1));
    let long = Bytes::from(vec![0; crate::VALUE_LEN_MAX + 1]);
    for ops in [
        vec![Op::Put("a".into(), long, None)],
        vec![put("a", ""), put("a", "")],
        vec![put("a/b", ""), Op::DeletePrefix("a/".into())],
        vec![put("a", ""), Op::Delete("a".into())],
        vec![Op::Delete("a/b".into()), Op::DeletePrefix("a/".into())],
        vec![Op::DeletePrefix("a/b/".into()), Op::DeletePrefix("a/".into())],
        vec![put("a\n", "")],
        (0..129).map(|i| Op::Delete(format!("{i}"))).collect(),
    ] {
        let error = store.txn(txn(vec![], ops)).await.expect_err("it is over a limit");
        assert_eq!(error.kind(), dunlin_base::Kind::Invalid);
    }
    assert!(store.range("").await.expect("the store answers").entries.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_wakes_when_a_lease_ends_though_nobody_calls() {
    let env = Env::seeded(1);
    let store = SimStore::new(env.clone());
    let mut watch = store.watch("ex/", Revision(0)).await.expect("the store answers");
    let lease = store.lease_grant(Duration::from_secs(10)).await.expect("the store answers");
    let card = Op::Put("ex/1".into(), Bytes::new(), Some(lease.id));
    let created = committed(&store, txn(vec![], vec![card])).await;
    assert!(matches!(watch.next().await.as_deref(), Some([Event::Put(_)])));
    env.sleep(Duration::from_secs(9)).await;
    store.lease_keep(lease.id).await.expect("it lives");
    let events = watch.next().await.expect("a watch does not end");
    assert_eq!(events, [Event::Delete("ex/1".into(), Revision(created.0 + 1))]);
    assert_eq!(env.now(), Duration::from_secs(19));
    let error = store.lease_keep(lease.id).await.expect_err("it has ended");
    assert_eq!(error.kind(), dunlin_base::Kind::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_the_past_sees_every_change_once_and_only_its_prefix() {
    let store = SimStore::new(Env::seeded(1));
    let first = committed(&store, txn(vec![], vec![put("a/1", ""), put("b/1", "")])).await;
    committed(&store, txn(vec![], vec![put("b/2", "")])).await;
    let mut watch = store.watch("a/", first).await.expect("the store answers");
    assert_eq!(watch.next().await.map(|e| e.len()), Some(1));
    committed(&store, txn(vec![], vec![Op::DeletePrefix("a/".into())])).await;
    assert!(matches!(watch.next().await.as_deref(), Some([Event::Delete(key, _)]) if key == "a/1"));
    assert!(watch.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_behind_the_log_is_told_to_resync() {
    let store = SimStore::new(Env::seeded(1));
    let mut watch = store.watch("a", Revision(0)).await.expect("the store answers");
    let mut last = Revision(0);
    for _ in 0..5000 {
        last = committed(&store, txn(vec![], vec![put("a", "")])).await;
    }
    assert_eq!(watch.next().await, Some(vec![Event::Resync(last)]));
    let next = committed(&store, txn(vec![], vec![put("a", "x")])).await;
    let events = watch.next().await.expect("a watch does not end");
    assert!(matches!(&events[..], [Event::Put(entry)] if entry.modified == next));
}

#[tokio::test(start_paused = true)]
async fn unknown_outcomes_come_in_all_three_kinds() {
    let env = Env::seeded(7);
    let store = SimStore::new(env.clone());
    store.set_faults(Faults {
        refused: 200,
        lost_acknowledgement: 200,
        late: 200,
        late_max: Duration::from_secs(5),
        ..Faults::default()
    });
    let mut unknown = Vec::new();
    for i in 0..200 {
        let key = format!("k{i:03}");
        if store.txn(txn(vec![], vec![put(&key, "")])).await.is_err() {
            unknown.push(key);
        }
    }
    store.set_faults(Faults::default());
    let there =
        |s: &Snapshot| unknown.iter().filter(|k| s.entries.iter().any(|e| e.key == **k)).count();
    let before = there(&store.range("").await.expect("no faults"));
    env.sleep(Duration::from_secs(6)).await;
    let after = there(&store.range("").await.expect("no faults"));
    let fired = store.fired();
    assert!(fired.refused > 0 && fired.lost_acknowledgements > 0 && fired.late > 0, "{fired:?}");
    assert!(before < after && after < unknown.len(), "{before} {after} {}", unknown.len());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    async fn run(seed: u64) -> Vec<String> {
        let env = Env::seeded(seed);
        let store = SimStore::new(env.clone());
        store.set_faults(Faults {
            delay_before_max: Duration::from_millis(9),
            delay_after_max: Duration::from_millis(9),
            lost_acknowledgement: 100,
            ..Faults::default()
        });
        let mut trace = Vec::new();
        for i in 0..50 {
            let outcome = store.txn(txn(vec![], vec![put(&format!("{i}"), "")])).await;
            trace.push(format!("{:?} {}", env.now(), outcome.is_ok()));
        }
        trace
    }
    assert_eq!(run(3).await, run(3).await);
    assert_ne!(run(3).await, run(4).await);
}
