//! A shuffle worker with several disks and an object store, under a query that shuffles several
//! times its memory.

use dunlin_base::ByteCount;
use dunlin_corpus::compare;
use dunlin_node::engine::StorageOptions;
use dunlin_shuffle_service::{DiskOptions, Tier};

use crate::cluster::{Cluster, Oracle, Shape};

/// Each line travels once, with all of its columns.
const SQL: &str = "SELECT l_partkey % 100, count(*), sum(length(l_comment)), max(l_comment) \
     FROM (SELECT l_partkey, l_comment, row_number() OVER \
     (PARTITION BY l_orderkey ORDER BY l_linenumber) AS n FROM lineitem) WHERE n < 100 GROUP BY 1";

const MEMORY: ByteCount = ByteCount(1 << 20);

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
