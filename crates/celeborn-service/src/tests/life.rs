//! The life of a shuffle, as a job without any trouble has it.

use std::sync::Arc;
use std::time::Duration;

use dunlin_celeborn::bitmap::MapIds;
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_celeborn::rpc::endpoint;
use dunlin_celeborn::status::StatusCode;

use super::bed::{APP, Bed, Driver, KEY, ask, bare, batch, connect, is_there, master};

const ALL: (i32, i32) = (0, i32::MAX);

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_where_clients_look_for_them() {
    let bed = Bed::new(1, 1 << 20).await;
    let master = connect(&bed.env, bed.master.address().port()).await;
    let worker = connect(&bed.env, bed.workers[0].0.id().rpc_port).await;
    for (client, name) in [(&master, endpoint::MASTER), (&worker, endpoint::WORKER)] {
        assert!(is_there(client, name).await && is_there(client, endpoint::VERIFIER).await);
        assert!(!is_there(client, "SomethingElse").await);
    }
    assert!(!is_there(&master, endpoint::WORKER).await);
    let wrong = ask(&master, endpoint::WORKER, pb::CheckWorkersAvailable {}).await;
    assert!(wrong.expect_err("not here").contains("no endpoint 'WorkerEndpoint'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_executors_would_not_find_says_so() {
    let mut bed = Bed::new(1, 1 << 20).await;
    bed.workers[0].0.finds_itself().await.expect("it is there");
    let core = bed.workers[0].1.clone();
    for wrong in ["127.0.0.2", "no-such-host.invalid"] {
        bed.advertise = wrong.to_owned();
        bed.add(core.clone(), [0; 4]).await;
        let (worker, _) = bed.workers.last().expect("just added");
        let error = worker.finds_itself().await.expect_err("it does not listen there");
        let text = format!("would not find this worker at {wrong}:");
        assert!(error.message().contains(&text), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_committed_and_read() {
    let bed = Bed::new(2, 64 << 20).await;
    let driver = bed.driver(3, false).await;
    for (map, number) in [(2, 0), (0, 0), (1, 0)] {
        let reply = driver.push(0, batch(map, number, 1000)).await;
        assert_eq!(reply.expect("stored"), PushReply::Stored);
    }
    let same_worker: Vec<_> = (0..3)
        .filter(|id| driver.location(*id).copy.worker == driver.location(0).copy.worker)
        .map(|id| (id, batch(0, 1 + id, 10)))
        .collect();
    assert_eq!(driver.push_merged(&same_worker).await.expect("stored"), PushReply::Stored);
    let committed = driver.commit(Mode::Primary, &[0], 1).await.remove(0);
    assert_eq!(
        (committed.status, &committed.committed_primary_ids[..]),
        (0, &["0-0".to_owned()][..])
    );
    let info = &committed.committed_primary_storage_infos["0-0"];
    let length = 3 * 1016 + 26;
    assert_eq!((info.file_size, &info.chunk_offsets[..]), (length, &[0, length][..]));
    assert!(info.final_result && info.kind != 0);
    let maps = MapIds::decode(&committed.map_id_bitmap["0-0"]).expect("a set");
    assert_eq!((maps.len(), maps.contains(2)), (3, true));
    let worker = driver.location(0).copy.worker;
    let chunks = driver.read(&worker, "0-0-0", ALL).await.expect("here");
    let maps: Vec<_> = chunks.concat().iter().map(|header| header.map).collect();
    assert_eq!(maps, [2, 0, 1, 0], "as they came");
    let some = driver.read(&worker, "0-0-0", (1, 3)).await.expect("here").concat();
    assert_eq!(some.iter().map(|header| header.map).collect::<Vec<_>>(), [1, 2], "by map");
    assert!(driver.read(&worker, "0-0-0", (7, 9)).await.expect("here").is_empty());
    // They end with their connections, of which a server hears a moment later.
    let ended = async {
        while bed.worker(&worker).0.stats().streams > 0 {
            bed.env.sleep(Duration::from_millis(5)).await;
        }
    };
    bed.env.timeout(Duration::from_secs(10), ended).await.expect("no stream is left open");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_locations_are_cut_into_chunks_of_whole_batches() {
    let bed = Bed::new(1, 64 << 20).await;
    let driver = bed.driver(1, false).await;
    for number in 0..10 {
        driver.push(0, batch(0, number, 2 << 20)).await.expect("stored");
    }
    let info = driver.commit(Mode::Primary, &[0], 1).await.remove(0);
    let info = info.committed_primary_storage_infos["0-0"].clone();
    let worker = driver.location(0).copy.worker;
    let chunks = driver.read(&worker, "0-0-0", ALL).await.expect("here");
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    let one = 16 + (2 << 20);
    assert_eq!(info.chunk_offsets, [0, 4 * one, 8 * one, 10 * one]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_in_after_a_commit() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(3, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    let first = driver.commit(Mode::Primary, &[0], 1).await;
    let late = driver.push(0, batch(1, 0, 10)).await.expect("answered");
    assert_eq!(late, PushReply::Split(Split::Hard));
    assert_eq!(driver.commit(Mode::Primary, &[0], 1).await, first, "a repeat gets the same");
    let worker = driver.location(0).copy.worker;
    assert_eq!(driver.read(&worker, "0-0-0", ALL).await.expect("here").concat().len(), 1);
    // Of a location that is gone, a push is told that its map has ended.
    let control = connect(&bed.env, worker.rpc_port).await;
    let primary_locations = vec!["0-0".to_owned()];
    let destroy = pb::DestroyWorkerSlots {
        shuffle_key: KEY.to_owned(),
        primary_locations,
        ..Default::default()
    };
    ask(&control, endpoint::WORKER, destroy).await.expect("destroyed");
    let late = driver.push(0, batch(1, 0, 10)).await.expect("answered");
    assert_eq!(late, PushReply::MapEnded);
    // One into which nobody pushed is in no list, and can be read.
    let empty = driver.commit(Mode::Primary, &[1], 1).await.remove(0);
    assert_eq!((empty.status, empty.committed_primary_ids.len()), (0, 0));
    assert!(empty.failed_primary_ids.is_empty());
    assert!(driver.read(&worker, "1-0-0", ALL).await.expect("reserved").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_here_is_an_error_and_never_empty() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    let worker = driver.location(0).copy.worker;
    for file in ["0-1-0", "0-0-1", "7-0-0", "x"] {
        driver.read(&worker, file, ALL).await.expect_err(file);
    }
    let control = connect(&bed.env, worker.rpc_port).await;
    let commit = |app: &str, id: &str| pb::CommitFiles {
        application_id: app.to_owned(),
        primary_ids: vec![id.to_owned()],
        epoch: 9,
        ..Default::default()
    };
    let Ok(Message::CommitFilesResponse(got)) =
        ask(&control, endpoint::WORKER, commit("other", "0-0")).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.status, StatusCode::ShuffleUnregistered.number());
    assert_eq!(got.failed_primary_ids, ["0-0"]);
    let Ok(Message::CommitFilesResponse(got)) =
        ask(&control, endpoint::WORKER, commit(APP, "5-0")).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.status, StatusCode::PartialSuccess.number());
    assert_eq!(got.failed_primary_ids, ["5-0"]);
    let reserve = pb::ReserveSlots { application_id: "other".to_owned(), ..Default::default() };
    let Ok(Message::ReserveSlotsResponse(got)) = ask(&control, endpoint::WORKER, reserve).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.status, StatusCode::ReserveSlotsFailed.number());
    // A batch open says so of each.
    let fetches = connect(&bed.env, worker.fetch_port).await;
    let asked = pb::OpenStreamList {
        shuffle_key: KEY.to_owned(),
        file_name: vec!["0-0-0".to_owned(), "9-0-0".to_owned()],
        start_index: vec![0; 2],
        end_index: vec![i32::MAX; 2],
        ..Default::default()
    };
    let Ok(Message::BatchOpenStreamResponse(got)) = bare(&fetches, asked).await else {
        panic!("no answer")
    };
    let status: Vec<_> = got.stream_handler_opt.iter().map(|one| one.status).collect();
    assert_eq!(status, [0, StatusCode::OpenStreamFailed.number()]);
}

async fn unregister(driver: &Driver) {
    let unregister = pb::UnregisterShuffle { app_id: APP.to_owned(), ..Default::default() };
    let Ok(Message::UnregisterShuffleResponse(got)) =
        ask(&driver.master, endpoint::MASTER, unregister).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shuffle_that_ends_is_removed_without_a_look() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    let (worker, core) = &bed.workers[0];
    let removed = async {
        // It may not watch yet when the first one ends.
        loop {
            driver.push(0, batch(0, 0, 10)).await.expect("stored");
            unregister(&driver).await;
            for _ in 0..100 {
                if (core.stats().blocks, worker.stats().shuffles) == (0, 0) {
                    return;
                }
                bed.env.sleep(Duration::from_millis(2)).await;
            }
            for _ in 0..2 {
                worker.clean().await.expect("looked");
            }
            driver.reserve(&driver.slots(1, false).await, 1 << 30, false).await;
        }
    };
    bed.env.timeout(Duration::from_secs(20), removed).await.expect("removed");
    let late = driver.push(0, batch(0, 1, 10)).await.expect_err("nothing is known of it");
    assert!(late.starts_with("PUSH_DATA_FAIL_PARTITION_NOT_FOUND"), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shuffle_whose_end_was_missed_is_removed_after_two_looks() {
    let mut bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    // Nobody is there to hear of the end.
    let (worker, core) = bed.workers.remove(0);
    worker.clean().await.expect("looked");
    drop(worker);
    unregister(&driver).await;
    bed.add(Arc::clone(&core), [0; 4]).await;
    let (worker, _) = &bed.workers[0];
    worker.clean().await.expect("looked");
    assert_eq!(core.stats().blocks, 1, "one look is not enough");
    worker.clean().await.expect("looked");
    assert_eq!((core.stats().blocks, worker.stats().shuffles), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_master_answers_and_the_heartbeat_tells_of_workers() {
    let mut bed = Bed::new(2, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    let other = master(&bed.env, &bed.store, (&bed.seen, None)).await;
    let known = bed.seen.0.lock()[0].info();
    bed.seen.0.lock()[1].going = true;
    let stranger = pb::WorkerInfo { host: "gone".to_owned(), ..known.clone() };
    let beat = pb::HeartbeatFromApplication {
        app_id: APP.to_owned(),
        should_response: true,
        need_checked_worker_list: vec![known, stranger],
        ..Default::default()
    };
    bed.master = other;
    let second = Driver::new(&bed).await;
    drop(driver);
    let Ok(Message::HeartbeatFromApplicationResponse(got)) =
        ask(&second.master, endpoint::MASTER, beat).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.registered_shuffles, [0], "the first master wrote it");
    assert_eq!(got.unknown_workers.iter().map(|w| w.host.as_str()).collect::<Vec<_>>(), ["gone"]);
    assert_eq!(got.shutting_workers.len(), 1);
    assert!(got.check_quota_response.is_some_and(|quota| quota.available));
}
