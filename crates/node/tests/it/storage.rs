//! A shuffle worker with several disks and an object store, under a query that shuffles several
//! times its memory.

use std::path::Path;

use dunlin_base::{Attempt, ByteCount, PartitionId, ProcessId, QueryId, StageEpoch, StageId};
use dunlin_corpus::compare;
use dunlin_metadata::{Op, Txn};
use dunlin_node::engine::{Leaving, StorageOptions};
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{Push, Pushed, Refusal, ShuffleApi};
use dunlin_proto::uploads::{Upload, UploadRecord};
use dunlin_queue::{Peer, Role, Want, Wish};
use dunlin_shuffle_service::{DiskOptions, Tier};

use crate::cluster::{Cluster, LIMIT, Oracle, Shape, tpch};

/// Each line travels once, with all of its columns.
const SQL: &str = "SELECT l_partkey % 100, count(*), sum(length(l_comment)), max(l_comment) \
     FROM (SELECT l_partkey, l_comment, row_number() OVER \
     (PARTITION BY l_orderkey ORDER BY l_linenumber) AS n FROM lineitem) WHERE n < 100 GROUP BY 1";

const MEMORY: ByteCount = ByteCount::mib(3);

#[test]
fn a_worker_with_two_disks_and_an_object_store_shuffles_several_times_its_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = dunlin_corpus::tpch::cached(folder.path(), 0.05).expect("data");
    let expected = Oracle::open(&data).rows(SQL).expect("an answer");
    let shape = Shape { partitions: 8, executors: 1, fine: true };
    let disk = |name: &str| DiskOptions {
        reserve: ByteCount(0),
        capacity: Some(MEMORY),
        ..DiskOptions::new(folder.path().join(name))
    };
    let cluster = Cluster::with(&data, shape, |options| {
        let mut storage = StorageOptions::default();
        storage.limits.disks = vec![disk("a"), disk("b")];
        storage.limits.tiers = vec![Tier::Disks, Tier::Objects];
        storage.limits.flush_bytes = ByteCount(64 << 10);
        options.storage = storage;
        options.shuffle_memory = MEMORY;
        options.blobs = folder.path().join("blobs").display().to_string();
    });
    let actual = cluster.rows(SQL).expect("an answer");
    if let Err(difference) = compare::same_rows(&expected, &actual) {
        panic!("{difference}");
    }
    let stats = cluster.engine.shuffle_worker().expect("a worker").stats();
    let objects = stats.objects.as_ref().expect("an object store").written;
    let disks: Vec<_> = stats.disks.iter().map(|disk| disk.written).collect();
    assert!(disks.len() == 2 && disks.iter().all(|written| *written > 0), "{stats:?}");
    assert!(objects + disks.iter().sum::<u64>() > 3 * MEMORY.0, "{stats:?}");
    assert!(objects > 0, "{stats:?}");
    cluster.assert_nothing_left();
}

fn objects_in(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    found.push(path.strip_prefix(folder).expect("in it").display().to_string())
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn objects_of_dead_workers_go_once_nobody_knows_worker_or_query() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shape = Shape { partitions: 2, executors: 1, fine: true };
    let cluster = Cluster::with(&tpch(), shape, |options| {
        options.storage.limits.tiers = vec![Tier::Objects];
        options.blobs = folder.path().display().to_string();
        options.tuning.grace = std::time::Duration::ZERO;
        // No other sweep than those of the test.
        options.sweep_every = std::time::Duration::from_secs(3600);
    });
    let engine = &cluster.engine;
    let (store, env) = (engine.store().clone(), engine.env().clone());
    let alive = engine.block_on(Peer::all(&store, Role::Shuffle)).expect("cards");
    let alive = alive[0].card.shuffle.as_ref().expect("it says so").object_folders[0].clone();
    let dead = ProcessId::generate(&env).to_string();
    let [known, unknown] = [(), ()].map(|()| QueryId::generate(&env));
    let record = Op::Put(format!("live/{known}"), Vec::new().into(), None);
    let put = store.txn(Txn { ops: vec![record], ..Txn::default() });
    engine.block_on(put).expect("written");
    let mut kept = Vec::new();
    for (worker, query) in [(&alive, known), (&alive, unknown), (&dead, known), (&dead, unknown)] {
        let name = format!("{worker}/{query}/1.0.0.0");
        let path = folder.path().join("shuffle").join(&name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, "x").expect("written");
        kept.extend((*worker == alive || query == known).then_some(name));
    }
    kept.sort();
    let gateway = engine.gateway().expect("a gateway");
    engine.block_on(gateway.sweep()).expect("swept");
    assert_eq!(objects_in(&folder.path().join("shuffle")), kept);
    let delete = Txn { ops: vec![Op::Delete(format!("live/{known}"))], ..Txn::default() };
    engine.block_on(store.txn(delete)).expect("deleted");
    engine.block_on(gateway.sweep()).expect("swept");
    kept.retain(|name| name.starts_with(&alive));
    assert_eq!(objects_in(&folder.path().join("shuffle")), kept);
}

#[test]
fn what_dead_workers_began_goes_and_what_living_ones_began_stays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shape = Shape { partitions: 2, executors: 1, fine: true };
    let cluster = Cluster::with(&tpch(), shape, |options| {
        options.storage.limits.tiers = vec![Tier::Objects];
        options.blobs = folder.path().display().to_string();
        options.tuning.grace = std::time::Duration::ZERO;
        options.sweep_every = std::time::Duration::from_secs(3600);
    });
    let engine = &cluster.engine;
    let cards = engine.block_on(Peer::all(engine.store(), Role::Shuffle)).expect("cards");
    let alive = cards[0].card.shuffle.as_ref().expect("it says so").object_folder.clone();
    let dead = ProcessId::generate(engine.env()).to_string();
    let object = format!("{}/1.0.0.0", QueryId::generate(engine.env()));
    let upload = Upload { object: object.clone(), id: "id".to_owned() };
    let record = UploadRecord { uploads: vec![upload] }.to_bytes().expect("small");
    let shuffle = folder.path().join("shuffle");
    for worker in [&alive, &dead] {
        for (name, bytes) in [(format!("{object}#1"), &b"part"[..]), ("uploads/0".into(), &record)]
        {
            let path = shuffle.join(worker).join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
    }
    let gateway = engine.gateway().expect("a gateway");
    engine.block_on(gateway.sweep()).expect("swept");
    // A folder cannot abort what its record names.
    let records = [&alive, &dead].map(|worker| format!("{worker}/uploads/0"));
    let mut kept: Vec<_> = records.into_iter().chain([format!("{alive}/{object}#1")]).collect();
    kept.sort();
    assert_eq!(objects_in(&shuffle), kept);
}

fn block(query: QueryId, batch: u32) -> Block {
    let shuffle = ShuffleId { query, stage: StageId(1), epoch: StageEpoch(0) };
    let (partition, attempt) = (PartitionId(0), Attempt(1));
    let id = BlockId { shuffle, partition, map: 0, attempt, batch };
    Block::new(id, 1, Codec::Plain, "rows".into())
}

#[test]
fn a_worker_that_is_wished_away_can_be_wished_back_until_its_data_are_gone() {
    let shape = Shape { partitions: 2, executors: 0, fine: true };
    let cluster = Cluster::with(&tpch(), shape, |options| {
        options.sweep_every = std::time::Duration::from_secs(3600);
    });
    let engine = &cluster.engine;
    let (store, env) = (engine.store().clone(), engine.env().clone());
    let worker = engine.shuffle_worker().expect("a worker");
    let query = QueryId::generate(&env);
    let steps = async {
        worker.store(Push::plain(vec![block(query, 0)])).await.expect("stored");
        let own = Peer::all(&store, Role::Shuffle).await.expect("cards")[0].id;
        for drain in [true, false, true] {
            let want = if drain { Want::Leave } else { Want::Stay };
            let wish = Wish { want, since_unix_ms: env.unix_ms() };
            assert!(wish.say(&store, own).await.expect("said"));
            loop {
                let card = Peer::all(&store, Role::Shuffle).await.expect("cards").remove(0).card;
                let says = card.shuffle.expect("it says so").draining;
                if (says, worker.is_draining()) == (drain, drain) {
                    break;
                }
                env.sleep(std::time::Duration::from_millis(20)).await;
            }
            let answer = worker.store(Push::plain(vec![block(query, 1)])).await.expect("an answer");
            match drain {
                true => assert_eq!(answer, Pushed::Refused(Refusal::Draining, Vec::new())),
                false => assert!(matches!(answer, Pushed::Stored(_)), "{answer:?}"),
            }
        }
        worker.delete_query(query).await.expect("deleted");
        std::future::pending::<()>().await;
    };
    let goes = async {
        tokio::select! {
            leaving = engine.decommissioned() => assert_eq!(leaving, Leaving::Drained),
            () = steps => {}
        }
    };
    engine.block_on(env.timeout(LIMIT, goes)).expect("it goes");
    assert_eq!(worker.stats().blocks, 0, "not before its data are gone");
    let wishes = engine.block_on(store.range("drain/")).expect("a range").entries;
    assert!(wishes.is_empty(), "{wishes:?}");
}
