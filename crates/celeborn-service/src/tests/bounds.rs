//! Clients that break rules.

use std::time::Duration;

use bytes::Bytes;
use dunlin_base::Env;
use dunlin_base::net::split;
use dunlin_celeborn::frame::{Frame, Mode};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb;
use dunlin_celeborn::rpc::{Content, Form, endpoint};
use dunlin_celeborn::status::StatusCode;

use super::bed::{Bed, answer, ask, batch, connect, push};

/// Sends bytes and waits until the other side closes.
async fn send(env: &Env, port: u16, bytes: Bytes) {
    let wait = Duration::from_secs(10);
    let stream = env.connect(&format!("127.0.0.1:{port}"), wait).await.expect("it listens");
    let (mut reader, mut writer) = split(env, stream, wait, wait);
    drop(writer.write(vec![bytes]).await);
    writer.shutdown().await;
    env.timeout(wait, reader.drain()).await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_connection_and_no_other() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    let id = bed.workers[0].0.id().clone();
    let ports =
        [bed.master.address().port(), id.rpc_port, id.push_port, id.fetch_port, id.replicate_port];
    let env = Env::seeded(11);
    let beat = Frame::Heartbeat.encode().expect("small").to_bytes();
    for port in ports {
        for length in [0, 1, 8, 9, 10, 64, 4096] {
            let random: Vec<u8> = (0..length).map(|_| env.random() as u8).collect();
            send(&bed.env, port, random.into()).await;
        }
        for hostile in [
            &b"\x7f\xff\xff\xff\x03\x00\x00\x00\x00"[..],
            b"\0\0\0\x0c\x03\xff\xff\xff\xff",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            send(&bed.env, port, Bytes::from_static(hostile)).await;
        }
        // The frame of another port, and a cut one.
        let chunk = Frame::ReadData(dunlin_celeborn::frame::StreamId(1), Bytes::from_static(b"x"));
        send(&bed.env, port, chunk.encode().expect("small").to_bytes()).await;
        send(&bed.env, port, beat.slice(..5)).await;
    }
    driver.push(0, batch(0, 0, 10)).await.expect("others do not notice");
    let stats = bed.workers[0].0.stats();
    assert_eq!((stats.pushes, stats.streams), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_of_nonsense_fails_or_closes_and_stores_nothing() {
    let bed = Bed::new(1, 1 << 20).await;
    let driver = bed.driver(1, false).await;
    let location = driver.location(0);
    let client = connect(&bed.env, location.copy.worker.push_port).await;
    for (partition, body) in [
        ("9-9", batch(0, 0, 10)),
        ("x", batch(0, 0, 10)),
        ("0-0", batch(0, 0, 10).slice(..20)),
        ("0-0", Bytes::from_static(b"short")),
    ] {
        let failure = push(&client, Mode::Primary, partition, body).await.expect_err(partition);
        assert!(StatusCode::of_failure(&failure).is_some(), "{failure}");
    }
    assert_eq!(bed.workers[0].1.stats().blocks, 0);
    // The other copy has a port of its own.
    let wrong = Frame::PushData(dunlin_celeborn::frame::PushData {
        id: dunlin_celeborn::frame::RequestId(1),
        mode: Mode::Replica,
        shuffle_key: super::bed::KEY.into(),
        partition: "0-0".into(),
        body: batch(0, 0, 10),
    });
    send(&bed.env, location.copy.worker.push_port, wrong.encode().expect("small").to_bytes()).await;
    assert_eq!(bed.workers[0].1.stats().blocks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_nobody_answers_get_a_failure() {
    let bed = Bed::new(1, 1 << 20).await;
    let master = connect(&bed.env, bed.master.address().port()).await;
    let unknown = Content::Message(
        dunlin_celeborn::rpc::TransportMessage { number: 4711, payload: Bytes::new() },
        Form::Java,
    );
    let text = answer(&master, endpoint::MASTER, unknown.encode().expect("small")).await;
    assert!(text.expect_err("unknown").contains("unknown message type 4711"));
    let text = ask(&master, endpoint::MASTER, pb::CommitFiles::default()).await;
    assert!(text.expect_err("a worker's").contains("COMMIT_FILES"));
    let text = ask(&master, endpoint::MASTER, pb::RegisterWorker::default()).await;
    assert!(text.expect_err("a Java worker").contains("cannot join"));
    // The connection goes on.
    let got = ask(&master, endpoint::MASTER, pb::CheckWorkersAvailable {}).await.expect("answered");
    assert_eq!(got, pb::CheckWorkersAvailableResponse { available: true }.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_workers_are_no_slots() {
    let bed = Bed::new(1, 1 << 20).await;
    let master = connect(&bed.env, bed.master.address().port()).await;
    let asked = pb::RequestSlots {
        application_id: "a".to_owned(),
        partition_id_list: vec![0],
        should_replicate: true,
        ..Default::default()
    };
    let Ok(Message::RequestSlotsResponse(got)) =
        ask(&master, endpoint::MASTER, asked.clone()).await
    else {
        panic!("no answer")
    };
    assert_eq!(got.status, StatusCode::SlotNotAvailable.number());
    let one = pb::RequestSlots { should_replicate: false, ..asked };
    let excluded_worker_set = vec![bed.seen.0.lock()[0].info()];
    let none = pb::RequestSlots { excluded_worker_set, ..one.clone() };
    for (asked, status) in [(one, StatusCode::Success), (none, StatusCode::WorkerExcluded)] {
        let Ok(Message::RequestSlotsResponse(got)) = ask(&master, endpoint::MASTER, asked).await
        else {
            panic!("no answer")
        };
        assert_eq!(got.status, status.number());
    }
    bed.seen.0.lock()[0].takes = false;
    let got = ask(&master, endpoint::MASTER, pb::CheckWorkersAvailable {}).await.expect("answered");
    assert_eq!(got, pb::CheckWorkersAvailableResponse { available: false }.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_an_old_release_is_answered_in_its_form() {
    let bed = Bed::new(1, 1 << 20).await;
    let master = connect(&bed.env, bed.master.address().port()).await;
    let asked = Message::from(pb::CheckWorkersAvailable {}).encode();
    let content = Content::Message(asked, Form::OldJava).encode().expect("small");
    let got = answer(&master, endpoint::MASTER, content).await.expect("answered");
    let Ok(Content::Message(message, Form::OldJava)) = Content::decode(got) else {
        panic!("another form")
    };
    let got = Message::decode(message).expect("known");
    assert_eq!(got, pb::CheckWorkersAvailableResponse { available: true }.into());
}
