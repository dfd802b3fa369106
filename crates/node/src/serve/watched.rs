//! Tests of `/metrics`: what the shuffle's counters say there, and that documents name what there is.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_base::{Attempt, ByteCount, Env, PartitionId, ProcessId, QueryId, StageEpoch, StageId};
use dunlin_proto::block::{Block, BlockId, Codec, ShuffleId};
use dunlin_proto::shuffle::{MapAttempt, ReadRequest, ShuffleApi};
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Door, DoorOptions, DoorStats, ObjectOptions, Options, ShuffleWorker};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::metrics::{register, traffic};

fn text(worker: &ShuffleWorker, door: Option<DoorStats>) -> String {
    let mut registry = Registry::with_prefix("dunlin");
    traffic(&mut registry, std::iter::empty());
    register(&mut registry, worker, door);
    let mut text = String::new();
    encode(&mut text, &registry).expect("encoded");
    text
}

fn assert_says(text: &str, name: &str, value: u64) {
    let line = format!("{name} {value}");
    assert!(text.lines().any(|found| found == line), "{line}: {text}");
}

fn block(length: usize) -> Block {
    let query = QueryId::from_u128(1);
    let shuffle = ShuffleId { query, stage: StageId(1), epoch: StageEpoch(0) };
    let (partition, map, attempt, batch) = (PartitionId(1), 0, Attempt(0), 0);
    let id = BlockId { shuffle, partition, map, attempt, batch };
    Block::new(id, 1, Codec::Columns, Bytes::from(vec![7; length]))
}

/// A store that takes longer than anybody waits.
fn silent_store() -> ObjectOptions {
    let wait_put_per_call = Duration::from_secs(3600);
    let config = ThrottleConfig { wait_put_per_call, ..ThrottleConfig::default() };
    let store = Arc::new(ThrottledStore::new(InMemory::new(), config));
    // Less than from one probe of the disks to the next.
    let call_max = Duration::from_secs(1);
    ObjectOptions { tries: 2, call_max, ..ObjectOptions::new(store, "prefix", "w1") }
}

#[tokio::test(start_paused = true)]
async fn an_isolated_disk_and_a_resting_store_are_said() {
    let env = Env::seeded(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = folder.path().join("dunlin-shuffle");
    let options = Options {
        objects: Some(silent_store()),
        ..Options::in_folder(ByteCount::mib(1), folder.path())
    };
    let worker = ShuffleWorker::new(options, env.clone()).expect("a worker");
    let state = |name: &str| {
        let path = disk.display();
        format!("dunlin_shuffle_disk_state{{disk=\"{path}\",class=\"ssd\",state=\"{name}\"}}")
    };
    let before = text(&worker, None);
    assert_says(&before, &state("good"), 1);
    assert_says(&before, &state("isolated"), 0);
    assert_says(&before, "dunlin_shuffle_object_resting", 0);

    // The next probe finds that it is gone.
    std::fs::remove_dir_all(&disk).expect("ours");
    env.sleep(Duration::from_secs(11)).await;
    worker.push(vec![block(1000)]).await.expect("fits");
    worker.flush().await.expect_err("nothing takes it");
    let after = text(&worker, None);
    assert_says(&after, &state("good"), 0);
    assert_says(&after, &state("isolated"), 1);
    let errors =
        format!("dunlin_shuffle_disk_errors_total{{disk=\"{}\",class=\"ssd\"}}", disk.display());
    assert_says(&after, &errors, 1);
    assert_says(&after, "dunlin_shuffle_object_resting", 1);
    assert_says(&after, "dunlin_shuffle_object_failures_total", 1);
    assert_says(&after, "dunlin_shuffle_object_errors_total", 2);
    assert_says(&after, "dunlin_shuffle_object_uploads_total", 0);
    env.sleep(Duration::from_secs(2)).await;
    assert_says(&text(&worker, None), "dunlin_shuffle_object_resting", 0);
}

#[tokio::test]
async fn what_a_door_has_counted_is_said() {
    let env = Env::seeded(1);
    let worker = ShuffleWorker::new(Options::new(ByteCount::mib(1)), env.clone());
    let worker = worker.expect("no folder to fail");
    let id = ProcessId::from_u128(7);
    let api = Arc::clone(&worker) as Arc<dyn ShuffleApi>;
    let door = Door::open(env.clone(), DoorOptions::new("127.0.0.1:0"), id, api).await;
    let door = door.expect("a free port");
    let address = door.address().to_string();
    let clients = TcpWorkers::new(env.clone(), TcpOptions::default(), {
        let address = address.clone();
        move |_| Some(address.clone())
    });
    let api = clients.connect(id).expect("known");
    let one = block(1000);
    api.push(vec![one.clone()]).await.expect("fits");
    let maps = Some(vec![MapAttempt { map: 0, attempt: Attempt(0) }]);
    let request = ReadRequest { shuffle: one.id.shuffle, partition: one.id.partition, maps };
    let read = api.read(request).await.expect("begins").try_collect::<Vec<_>>().await;
    assert_eq!(read.expect("all there").len(), 1);
    // Another process is meant, and nobody of it is here.
    let stranger = clients.connect(ProcessId::from_u128(8)).expect("an address");
    stranger.shuffles().await.expect_err("somebody else is here");
    let settled = async {
        while door.stats().connections != 1 || door.stats().requests != 0 {
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    env.timeout(Duration::from_secs(30), settled).await.expect("the stranger leaves");
    let text = text(&worker, Some(door.stats()));
    for (name, value) in [
        ("connections", 1),
        ("requests", 0),
        ("held_bytes", 0),
        ("accepted_total", 2),
        ("on_machine_total", 0),
        ("turned_away_total", 0),
        ("not_greeted_total", 1),
        ("broken_rules_total", 0),
        ("asked_total", 2),
        ("sent_bytes_total", 1072),
        ("received_bytes_total", 1000),
    ] {
        assert_says(&text, &format!("dunlin_shuffle_door_{name}"), value);
    }
}

/// The names of metrics in a line: those in full, and `..._rest` of one before.
fn named(line: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.' || c.is_ascii_digit();
    let words = line.split(|c: char| !is_name(c)).map(|word| word.trim_end_matches('.'));
    let words = words.filter(|word| word.starts_with("dunlin_") || word.starts_with("..._"));
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_metric_that_documents_name_exists() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options {
        objects: Some(silent_store()),
        ..Options::in_folder(ByteCount::mib(1), folder.path())
    };
    let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("a worker");
    let text = text(&worker, Some(DoorStats::default()));
    let values = text.lines().filter(|line| !line.starts_with('#'));
    let mut known: BTreeSet<_> = values.filter_map(|line| line.split(['{', ' ']).next()).collect();
    // Of the process; the tests of processes see them.
    known.extend(["dunlin_build_info", "dunlin_executors", "dunlin_free_slots"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for page in ["docs/operate/hosts.md", "docs/internals/shuffle.md"] {
        let page = std::fs::read_to_string(root.join(page)).expect("is there");
        for line in page.lines() {
            let mut last = String::new();
            for name in named(line) {
                let found = match name.strip_prefix("...") {
                    None => known.contains(name.as_str()),
                    // It takes the place of the end of the last one, wherever that begins.
                    Some(rest) => {
                        let ends = last.match_indices('_').map(|(at, _)| &last[..at]);
                        ends.into_iter().any(|start| known.contains(&*format!("{start}{rest}")))
                    }
                };
                assert!(found, "{name} is in no /metrics: {line}");
                count += 1;
                if name.starts_with("dunlin_") {
                    last = name;
                }
            }
        }
    }
    assert!(count > 40, "{count} names");
}
