//! What administrators have masters do, and that drivers see it.

use dunlin_celeborn::ids::WorkerId;
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, WorkerEventType, WorkerState};
use dunlin_celeborn::rpc::endpoint;
use dunlin_celeborn::status::StatusCode;

use super::bed::{APP, Bed, Driver, ask, batch, connect, master};
use crate::Master;

/// What a master answers to a request for slots.
async fn slots(bed: &Bed, master: &Master, tags: &str) -> pb::RequestSlotsResponse {
    let client = connect(&bed.env, master.address().port()).await;
    let asked = pb::RequestSlots {
        application_id: APP.to_owned(),
        shuffle_id: 1,
        partition_id_list: (0..8).collect(),
        hostname: "driver-host".to_owned(),
        tags_expr: tags.to_owned(),
        ..Default::default()
    };
    match ask(&client, endpoint::MASTER, asked).await {
        Ok(Message::RequestSlotsResponse(got)) => *got,
        other => panic!("{other:?}"),
    }
}

async fn beat(bed: &Bed, master: &Master) -> pb::HeartbeatFromApplicationResponse {
    let client = connect(&bed.env, master.address().port()).await;
    let beat = pb::HeartbeatFromApplication {
        app_id: APP.to_owned(),
        should_response: true,
        ..Default::default()
    };
    match ask(&client, endpoint::MASTER, beat).await {
        Ok(Message::HeartbeatFromApplicationResponse(got)) => *got,
        other => panic!("{other:?}"),
    }
}

fn named(got: &pb::RequestSlotsResponse) -> Vec<String> {
    got.worker_resource.keys().cloned().collect()
}

fn ports(workers: &[pb::WorkerInfo]) -> Vec<i32> {
    workers.iter().map(|worker| worker.rpc_port).collect()
}

fn ids(bed: &Bed) -> Vec<WorkerId> {
    bed.workers.iter().map(|(worker, _)| worker.id().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_excluded_worker_gets_nothing_from_any_master_until_it_is_included() {
    let bed = Bed::new(2, 1 << 20).await;
    let (ids, other) = (ids(&bed), master(&bed.env, &bed.store, (&bed.seen, None)).await);
    assert_eq!(named(&slots(&bed, &other, "").await).len(), 2);
    bed.master.exclude(&ids[..1], &[]).await.expect("excluded");
    bed.master.exclude(&ids[..1], &[]).await.expect("twice is once");
    for master in [&bed.master, &other] {
        assert_eq!(named(&slots(&bed, master, "").await), [ids[1].to_string()]);
        let told = beat(&bed, master).await;
        assert_eq!(ports(&told.excluded_workers), [i32::from(ids[0].rpc_port)]);
        assert!(told.shutting_workers.is_empty(), "it keeps what it has");
        let stats = master.stats().await.expect("counted");
        assert_eq!((stats.workers, stats.available, stats.excluded), (2, 1, 1));
    }
    bed.master.exclude(&ids[1..], &[]).await.expect("excluded");
    assert_eq!(slots(&bed, &other, "").await.status, StatusCode::WorkerExcluded.number());
    let driver = Driver::new(&bed).await;
    match ask(&driver.master, endpoint::MASTER, pb::CheckWorkersAvailable {}).await {
        Ok(Message::CheckWorkersAvailableResponse(got)) => assert!(!got.available),
        other => panic!("{other:?}"),
    }
    other.exclude(&[], &ids).await.expect("included");
    assert_eq!(named(&slots(&bed, &bed.master, "").await).len(), 2);
    assert!(beat(&bed, &other).await.excluded_workers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_is_named_and_nothing_is_done() {
    let bed = Bed::new(1, 1 << 20).await;
    let ids = ids(&bed);
    let stranger = WorkerId { push_port: 1, ..ids[0].clone() };
    let both = [ids[0].clone(), stranger.clone()];
    let error = bed.master.exclude(&both, &[]).await.expect_err("it is not there");
    assert!(error.message().contains(&format!("no worker {stranger}")), "{error}");
    bed.master.exclude(&[], &both[1..]).await.expect_err("neither alive nor excluded");
    bed.master.exclude(&ids, &ids).await.expect_err("in both lists");
    bed.master.send(WorkerEventType::Graceful, &both).await.expect_err("it is not there");
    bed.master.send(WorkerEventType::Graceful, &[]).await.expect_err("nobody");
    assert_eq!(named(&slots(&bed, &bed.master, "").await).len(), 1);
    // One that is excluded can be included again though it has gone.
    bed.master.exclude(&ids, &[]).await.expect("excluded");
    bed.seen.0.lock().clear();
    bed.master.exclude(&[], &ids).await.expect("included");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_of_a_worker_keeps_partitions_away_until_it_is_wanted_back() {
    let bed = Bed::new(2, 1 << 20).await;
    let (ids, other) = (ids(&bed), master(&bed.env, &bed.store, (&bed.seen, None)).await);
    let idle = WorkerEventType::DecommissionThenIdle;
    bed.master.send(idle, &ids[..1]).await.expect("said");
    let crew = other.crew().await.expect("read");
    assert_eq!(crew[0].event.map(|wanted| (wanted.event, wanted.since_unix_ms)), Some((idle, 7)));
    assert_eq!(crew[0].state, WorkerState::InDecommissionThenIdle);
    assert_eq!(named(&slots(&bed, &other, "").await), [ids[1].to_string()]);
    let told = beat(&bed, &other).await;
    assert_eq!(ports(&told.shutting_workers), [i32::from(ids[0].rpc_port)]);
    assert!(told.excluded_workers.is_empty());
    let stats = other.stats().await.expect("counted");
    assert_eq!((stats.available, stats.decommissioning, stats.going), (1, 1, 0));
    // It has followed.
    bed.seen.0.lock()[0].going = true;
    let crew = other.crew().await.expect("read");
    assert_eq!((crew[0].state, crew[0].event), (WorkerState::Idle, None));
    other.send(WorkerEventType::Recommission, &ids[..1]).await.expect("said");
    assert_eq!(named(&slots(&bed, &bed.master, "").await), [ids[1].to_string()], "not yet");
    bed.seen.0.lock()[0].going = false;
    assert_eq!(named(&slots(&bed, &bed.master, "").await).len(), 2);
    other.send(WorkerEventType::Graceful, &ids).await.expect("said");
    assert_eq!(slots(&bed, &bed.master, "").await.status, StatusCode::WorkerExcluded.number());
    bed.master.send(WorkerEventType::None, &ids).await.expect("said");
    assert_eq!(named(&slots(&bed, &bed.master, "").await).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_choose_workers_by_all_of_their_tags() {
    let bed = Bed::new(3, 1 << 20).await;
    let ids = ids(&bed);
    for (worker, tags) in bed.seen.0.lock().iter_mut().zip([&["a", "b"][..], &["a"], &[]]) {
        worker.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    }
    let chosen = async |tags| named(&slots(&bed, &bed.master, tags).await);
    assert_eq!(chosen("").await.len(), 3);
    assert_eq!(chosen(" a , b ").await, [ids[0].to_string()]);
    assert_eq!(chosen("a").await.len(), 2);
    let none = slots(&bed, &bed.master, "a,c").await;
    assert_eq!(none.status, StatusCode::WorkerExcluded.number());
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_tell_of_applications_and_their_shuffles() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    let about = pb::RegisterApplicationInfo {
        app_id: APP.to_owned(),
        user_identifier: Some(pb::UserIdentifier { tenant_id: "t".into(), name: "u".into() }),
        ..Default::default()
    };
    ask(&driver.master, endpoint::MASTER, about).await.expect("registered");
    slots(&bed, &bed.master, "").await;
    let apps = bed.master.applications().await.expect("read");
    assert_eq!(apps.len(), 1);
    assert_eq!((apps[0].tenant.as_str(), apps[0].user.as_str()), ("t", "u"));
    assert!(apps[0].heard_unix_ms >= apps[0].since_unix_ms && apps[0].since_unix_ms > 0);
    let shuffles = async || {
        let all = bed.master.shuffles().await.expect("read");
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(shuffles().await, ["app-1-0", "app-1-1"]);
    assert_eq!(bed.master.hosts().await.expect("read").len(), 1, "one driver said where it is");
    bed.master.unregister(APP, &[1]).await.expect("ended");
    assert_eq!(shuffles().await, ["app-1-0"]);
    bed.master.delete_applications(&[APP.to_owned(), "other".to_owned()]).await.expect("deleted");
    assert_eq!(shuffles().await, [""; 0]);
    assert_eq!(bed.master.timers()[0].1.count, 2, "slots were asked for twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shuffle_that_is_revised_in_time_keeps_its_data() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    driver.commit(dunlin_celeborn::frame::Mode::Primary, &[0], 1).await;
    let (worker, core) = &bed.workers[0];
    bed.master.delete_applications(&[APP.to_owned()]).await.expect("deleted");
    worker.clean().await.expect("looked");
    let revise = |shuffles: &[i32]| pb::ReviseLostShuffles {
        app_id: APP.to_owned(),
        lost_shuffles: shuffles.to_vec(),
        ..Default::default()
    };
    let answer =
        async |shuffles| match ask(&driver.master, endpoint::MASTER, revise(shuffles)).await {
            Ok(Message::ReviseLostShufflesResponse(got)) => (got.success, got.message),
            other => panic!("{other:?}"),
        };
    assert_eq!(answer(&[0]).await, (true, String::new()));
    let (done, why) = answer(&[0, 9]).await;
    assert!(!done && why.contains("[9]"), "{why}");
    worker.clean().await.expect("looked");
    assert_eq!(core.stats().blocks, 1);
    let read = driver.read(worker.id(), "0-0-0", (0, i32::MAX)).await.expect("still here");
    assert_eq!(read.concat().len(), 1);
    // And of a worker: what it tells of itself.
    assert_eq!(worker.shuffles()[0].to_string(), "app-1-0");
    assert_eq!(worker.locations()[0].name.to_string(), "0-0-0");
    assert!(worker.unavailable_peers().is_empty());
    let counts: Vec<_> = worker.timers().iter().map(|(name, times)| (*name, times.count)).collect();
    let once = ["ReserveSlotsTime", "CommitFilesTime", "PrimaryPushDataTime", "OpenStreamTime"];
    for name in once.iter().chain(&["FetchLocalChunkTime"]) {
        assert!(counts.contains(&(name, 1)), "{name}: {counts:?}");
    }
    assert!(counts.contains(&("ReplicaPushDataTime", 0)));
}
