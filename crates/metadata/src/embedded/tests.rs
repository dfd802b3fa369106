//! Tests of the whole embedded store: conformance, reopening, crashes, the lock, a failing disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, Result, Revision};
use futures::StreamExt;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::EmbeddedStore;
use super::disk::{Disk, Stored};
use super::group::Changes;
use crate::conformance::{StoreFactory, run_all};
use crate::store::{Durability, Event, Op, Store, StoreRef, Txn, TxnOutcome};

struct Factory {
    env: Env,
    root: TempDir,
}

#[async_trait]
impl StoreFactory for Factory {
    async fn make(&self) -> Result<StoreRef> {
        let dir = self.root.path().join(self.env.random().to_string());
        Ok(Arc::new(EmbeddedStore::open(dir, self.env.clone()).await?))
    }

    fn env(&self) -> Env {
        self.env.clone()
    }

    fn lease_slack(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn open(dir: &Path) -> Result<EmbeddedStore> {
    EmbeddedStore::open(dir, Env::real(None)).await
}

fn put(key: &str, value: &str) -> Op {
    Op::Put(key.into(), Bytes::copy_from_slice(value.as_bytes()), None)
}

async fn write(store: &EmbeddedStore, ops: Vec<Op>) -> Result<TxnOutcome> {
    store.txn(Txn { ops, ..Txn::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let factory = Factory { env: Env::real(None), root: temp() };
    if let Err(e) = run_all(&factory).await {
        panic!("{e}");
    }
}

#[tokio::test]
async fn a_reopened_store_holds_everything() {
    let dir = temp();
    let before = {
        let store = open(dir.path()).await.expect("new");
        for i in 0..100 {
            write(&store, vec![put(&format!("k/{:02}", i % 10), &i.to_string())])
                .await
                .expect("ok");
        }
        write(&store, vec![Op::Delete("k/03".into()), Op::DeletePrefix("k/07".into())])
            .await
            .expect("ok");
        store.range("").await.expect("ok")
    };
    for _ in 0..2 {
        let store = open(dir.path()).await.expect("again");
        let after = store.range("").await.expect("ok");
        assert_eq!((after.revision, after.entries), (before.revision, before.entries.clone()));
    }
    let store = open(dir.path()).await.expect("again");
    let next = write(&store, vec![put("a", "1")]).await.expect("ok");
    assert_eq!(next, TxnOutcome::Committed(Revision(before.revision.0 + 1)));
}

/// A copy of the files while the store runs is what a crash leaves behind.
#[tokio::test]
async fn a_crash_keeps_each_acknowledged_transaction() {
    let (dir, copy) = (temp(), temp());
    let store = open(dir.path()).await.expect("new");
    for round in 0..3 {
        for i in 0..50 {
            write(&store, vec![put(&format!("k/{round}/{i:02}"), &"x".repeat(5000))])
                .await
                .expect("ok");
        }
        let acknowledged = store.range("").await.expect("ok");
        let crashed = copy.path().join(round.to_string());
        copy_dir(dir.path(), &crashed);
        let found = open(&crashed).await.expect("crashed").range("").await.expect("ok");
        assert_eq!(found.revision, acknowledged.revision);
        assert_eq!(found.entries, acknowledged.entries);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Set in the child of the next test: where it keeps its store.
const CHILD_DIR: &str = "DUNLIN_TEST_CRASH_DIR";

/// The child: writes without end and says what was acknowledged. Without the variable, no test.
#[tokio::test]
async fn crash_child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let store = open(Path::new(&dir)).await.expect("new");
    let lines = std::io::stdout();
    for i in 0_u64.. {
        write(&store, vec![put(&format!("k/{i:06}"), "x"), put("last", &i.to_string())])
            .await
            .expect("ok");
        use std::io::Write;
        // The parent has what it wanted when the pipe is closed.
        if writeln!(lines.lock(), "acknowledged {i}").is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    use std::io::{BufRead, BufReader};
    let dir = temp();
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "embedded::tests::crash_child", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // A test runner may put words of its own before the first line.
    let acknowledged: Vec<u64> = lines
        .map_while(|line| line.ok())
        .filter_map(|line| line.rsplit_once("acknowledged ")?.1.trim().parse().ok())
        .take(200)
        .collect();
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert_eq!(acknowledged.len(), 200, "the child wrote");

    let store = open(dir.path()).await.expect("the lock went with the process");
    let found = store.range("k/").await.expect("ok").entries;
    let last = store.get("last").await.expect("ok").expect("written with each key");
    let last: usize = String::from_utf8_lossy(&last.value).parse().expect("a number");
    assert!(last >= 199, "{last}");
    assert_eq!(found.len(), last + 1, "each transaction is whole, in order and without a gap");
}

#[tokio::test]
async fn a_restart_ends_all_leases() {
    let dir = temp();
    let store = open(dir.path()).await.expect("new");
    let lease = store.lease_grant(Duration::from_secs(60)).await.expect("a lease");
    let bound = Op::Put("card".into(), Bytes::new(), Some(lease.id));
    write(&store, vec![bound, put("free", "1")]).await.expect("ok");
    drop(store);
    let store = open(dir.path()).await.expect("again");
    let now = store.range("").await.expect("ok");
    assert_eq!(now.entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["free"]);
    assert_eq!(now.revision, Revision(2), "the deletion is a change");
    let keep = store.lease_keep(lease.id).await;
    assert_eq!(keep.map_err(|e| e.kind()), Err(Kind::Fenced));
    // What was before the restart is not remembered: a watcher must read again.
    let mut watch = store.watch("", Revision(1)).await.expect("ok");
    assert_eq!(watch.next().await, Some(vec![Event::Resync(Revision(2))]));
}

#[tokio::test]
async fn a_lease_whose_holder_is_elsewhere_outlasts_a_restart_and_ends_when_nobody_keeps_it() {
    let dir = temp();
    let store = open(dir.path()).await.expect("new");
    let [kept, left] = [10, 1].map(Duration::from_secs);
    let kept = store.lease_grant_lasting(kept).await.expect("a lease").id;
    let left = store.lease_grant_lasting(left).await.expect("a lease").id;
    let bind = |key: &str, lease| Op::Put(key.into(), Bytes::new(), Some(lease));
    write(&store, vec![bind("kept", kept), bind("left", left)]).await.expect("ok");
    drop(store);
    let store = open(dir.path()).await.expect("again");
    store.lease_keep(kept).await.expect("it lives");
    let env = Env::real(Some(tokio::runtime::Handle::current()));
    let gone = async {
        while store.get("left").await.expect("ok").is_some() {
            env.sleep(Duration::from_millis(20)).await;
        }
    };
    env.timeout(Duration::from_secs(60), gone).await.expect("nobody kept it");
    assert!(store.get("kept").await.expect("ok").is_some());
    let keep = store.lease_keep(left).await;
    assert_eq!(keep.map_err(|e| e.kind()), Err(Kind::Fenced));
    store.lease_revoke(kept).await.expect("ended");
    assert_eq!(store.get("kept").await.expect("ok"), None, "its keys go with it");
}

#[tokio::test]
async fn a_directory_has_one_process() {
    let dir = temp();
    let store = open(dir.path()).await.expect("new");
    let second = open(dir.path()).await.expect_err("in use");
    assert_eq!(second.kind(), Kind::Invalid);
    let (path, pid) = (dir.path().display().to_string(), std::process::id().to_string());
    assert!(second.message().contains(&path) && second.message().contains(&pid), "{second}");
    drop(store);
    open(dir.path()).await.expect("free again");
}

#[tokio::test]
async fn foreign_and_corrupt_directories_are_refused() {
    let dir = temp();
    std::fs::write(dir.path().join("photo.jpg"), "x").expect("written");
    let foreign = open(dir.path()).await.expect_err("foreign");
    assert_eq!(foreign.kind(), Kind::Invalid);
    assert!(foreign.message().contains("photo.jpg"), "{foreign}");

    let dir = temp();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    assert_eq!(open(&file).await.map_err(|e| e.kind()).err(), Some(Kind::Invalid));

    let dir = temp();
    let store = open(dir.path()).await.expect("new");
    write(&store, vec![put("a", &"x".repeat(1000))]).await.expect("ok");
    write(&store, vec![put("b", "1")]).await.expect("ok");
    drop(store);
    flip_a_byte_of_the_journal(&dir.path().join("data"));
    assert_eq!(open(dir.path()).await.map_err(|e| e.kind()).err(), Some(Kind::Lost));
}

/// Flips a byte within the long value.
fn flip_a_byte_of_the_journal(data: &Path) {
    for entry in std::fs::read_dir(data).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "jnl") {
            let mut bytes = std::fs::read(&path).expect("readable");
            let at = bytes.windows(100).position(|w| w.iter().all(|b| *b == b'x'));
            bytes[at.expect("the value is in the journal") + 50] = b'y';
            std::fs::write(&path, bytes).expect("written");
        }
    }
}

/// A disk that fails when told to.
struct Faulty(Arc<AtomicBool>);

impl Disk for Faulty {
    fn commit(&mut self, _: &Changes, _: Durability) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Error::exhausted("no space"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_sync_ends_the_store() {
    let fails = Arc::new(AtomicBool::new(false));
    let disk = Box::new(Faulty(Arc::clone(&fails)));
    let store = EmbeddedStore::start(disk, Stored::default(), Env::real(None)).expect("started");
    write(&store, vec![put("a", "1")]).await.expect("ok");
    let mut watch = store.watch("", Revision(1)).await.expect("ok");
    fails.store(true, Ordering::SeqCst);
    let failed = write(&store, vec![put("a", "2")]).await.expect_err("failed");
    assert_eq!(failed.kind(), Kind::Exhausted);
    // The disk is well again, but nobody knows what it holds.
    fails.store(false, Ordering::SeqCst);
    let exhausted = Some(Kind::Exhausted);
    assert_eq!(write(&store, vec![put("a", "3")]).await.map_err(|e| e.kind()).err(), exhausted);
    assert_eq!(store.get("a").await.map_err(|e| e.kind()).err(), exhausted);
    let lease = store.lease_grant(Duration::from_secs(1)).await;
    assert_eq!(lease.map_err(|e| e.kind()).err(), exhausted);
    // The watcher gets what was durable, never the rest, then the end.
    assert!(matches!(watch.next().await.as_deref(), Some([Event::Put(e)]) if e.value == "1"));
    assert_eq!(watch.next().await, None);
}

/// A disk whose syncs wait for a permit.
struct Slow(std::sync::mpsc::Receiver<()>);

impl Disk for Slow {
    fn commit(&mut self, _: &Changes, _: Durability) -> Result<()> {
        self.0.recv().map_err(|_| Error::retry("the test has ended"))
    }
}

/// A disk that remembers how each group was to be written.
struct Noting(Arc<Mutex<Vec<Durability>>>);

impl Disk for Noting {
    fn commit(&mut self, _: &Changes, durability: Durability) -> Result<()> {
        self.0.lock().push(durability);
        Ok(())
    }
}

#[tokio::test]
async fn lazy_changes_wait_for_no_sync_and_others_do() {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let disk = Box::new(Noting(Arc::clone(&noted)));
    let store = EmbeddedStore::start(disk, Stored::default(), Env::real(None)).expect("started");
    for durability in [Durability::Lazy, Durability::Synced, Durability::Lazy] {
        let txn = Txn { ops: vec![put("a", "1")], durability, ..Txn::default() };
        store.txn(txn).await.expect("ok");
    }
    assert_eq!(*noted.lock(), [Durability::Lazy, Durability::Synced, Durability::Lazy]);
}

#[tokio::test]
async fn a_lazy_change_outlives_the_process() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let open = || EmbeddedStore::open(dir.path().join("m"), Env::real(None));
    let store = open().await.expect("opened");
    let ops = vec![put("a", "1")];
    store.txn(Txn { ops, durability: Durability::Lazy, ..Txn::default() }).await.expect("ok");
    drop(store);
    let store = open().await.expect("opened again");
    assert!(store.get("a").await.expect("ok").is_some());
}

#[tokio::test]
async fn nobody_sees_what_is_not_durable() {
    let (permit, permits) = std::sync::mpsc::sync_channel(8);
    let disk = Box::new(Slow(permits));
    let env = Env::real(None);
    let store = Arc::new(EmbeddedStore::start(disk, Stored::default(), env.clone()).expect("ok"));
    let mut watch = store.watch("", Revision(1)).await.expect("ok");
    let writer = Arc::clone(&store);
    let writing = env.spawn("write", async move { write(&writer, vec![put("a", "1")]).await });
    let early = env.timeout(Duration::from_millis(50), watch.next()).await;
    assert_eq!(early, None, "an event before the sync");
    assert_eq!(store.get("a").await.expect("ok"), None);
    assert!(!writing.is_finished());
    permit.send(()).expect("the writer waits");
    assert_eq!(writing.join().await.expect("ok").expect("ok"), TxnOutcome::Committed(Revision(1)));
    assert!(store.get("a").await.expect("ok").is_some());
    assert!(watch.next().await.is_some());
}
