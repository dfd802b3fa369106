//! Clients that have to prove which application they are.

use bytes::Bytes;
use dunlin_celeborn::frame::{Frame, Mode, Slice, StreamId};
use dunlin_celeborn::message::Message;
use dunlin_celeborn::pb::{self, AuthType};
use dunlin_celeborn::push::PushReply;
use dunlin_celeborn::rpc::endpoint;
use dunlin_celeborn::sasl::DIGEST_MD5;

use super::bed::{
    APP, Bed, Driver, KEY, SECRET, ask, bare, batch, connect, connect_by, fetch, master_of, push,
};
use super::proving::{challenged, initiation, prove, register, said, sasl};
use super::secure::certificates;
use crate::net::Client;

const ALL: (i32, i32) = (0, i32::MAX);
const OTHER: &str = "app-2";

/// The ports of the first worker that clients use, and the master's.
fn ports(bed: &Bed) -> [u16; 4] {
    let id = bed.workers[0].0.id();
    [bed.master.address().port(), id.rpc_port, id.push_port, id.fetch_port]
}

async fn stored_and_read(bed: &Bed) {
    let driver = bed.driver(2, true).await;
    for partition in 0..2 {
        let reply = driver.push(partition, batch(0, 0, 100_000)).await;
        assert_eq!(reply.expect("stored"), PushReply::Stored);
        driver.commit(Mode::Primary, &[partition], 1).await;
        let location = driver.location(partition);
        let file = format!("{}-0", location.copy.partition);
        let chunks = driver.read(&location.copy.worker, &file, ALL).await.expect("here");
        assert_eq!(chunks.concat().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_registered_does_its_work_on_connections_that_prove_it() {
    let bed = Bed::asking(2, 8 << 20, None).await;
    bed.workers[0].0.finds_itself().await.expect("it is itself");
    stored_and_read(&bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_go_over_encrypted_ports_too() {
    let bed = Bed::asking(2, 8 << 20, Some(certificates())).await;
    bed.workers[0].0.finds_itself().await.expect("it is itself");
    stored_and_read(&bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_and_an_unknown_name_prove_nothing_and_are_told_the_same() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let _driver = Driver::new(&bed).await;
    for port in ports(&bed) {
        for (app, secret) in [(APP, "guessed"), ("app-9", SECRET)] {
            let client = connect(&bed.env, port).await;
            let text = prove(&client, app, secret).await.expect_err("nothing is proved");
            assert!(text.contains(&format!("{app} is no application with this secret")), "{text}");
            let again = prove(&client, APP, SECRET).await.expect_err("one try each connection");
            assert!(again.contains("not what comes next"), "{again}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_on_another_connection_proves_nothing() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let _driver = Driver::new(&bed).await;
    for port in ports(&bed) {
        let [first, second] = [connect(&bed.env, port).await, connect(&bed.env, port).await];
        let [token, _] = challenged(&first, APP, SECRET).await.expect("asked");
        let heard = || sasl("", AuthType::Connection, token.clone());
        said(&first, heard()).await.expect("proved");
        challenged(&second, APP, SECRET).await.expect("asked");
        let text = said(&second, heard()).await.expect_err("a replay");
        assert!(text.contains("it answers another challenge"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_out_of_order_end_the_proof() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let [master, worker, ..] = ports(&bed);
    let secret =
        || pb::RegisterApplicationRequest { id: APP.to_owned(), secret: SECRET.to_owned() };
    let client = connect(&bed.env, master).await;
    let text = said(&client, secret()).await.expect_err("nothing was offered");
    assert!(text.contains("REGISTER_APPLICATION_REQUEST is not what comes next"), "{text}");
    said(&client, initiation()).await.expect_err("it is over");
    let client = connect(&bed.env, master).await;
    said(&client, initiation()).await.expect("an offer");
    said(&client, secret()).await.expect_err("it did not say that it is anonymous");
    let client = connect(&bed.env, worker).await;
    let text = said(&client, initiation()).await.expect_err("a worker");
    assert!(text.contains("registered at masters"), "{text}");
}

/// Whether an answer is a refusal of somebody who has not said who he is.
fn of_a_stranger(text: &str) {
    assert!(text.contains("have to prove which application they are"), "{text}");
    assert!(text.contains("spark.celeborn.auth.enabled"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_is_told_so_and_gets_nothing() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let driver = bed.driver(1, false).await;
    let [master, worker, pushes, reads] = ports(&bed);
    for (port, name) in [(master, endpoint::MASTER), (worker, endpoint::WORKER)] {
        let client = connect(&bed.env, port).await;
        let asked = crate::control::exists(&client, name).await;
        of_a_stranger(asked.expect_err("not even that").message());
        for message in [
            Message::from(pb::CheckWorkersAvailable {}),
            pb::HeartbeatFromApplication { app_id: APP.to_owned(), ..Default::default() }.into(),
            pb::CommitFiles { application_id: APP.to_owned(), ..Default::default() }.into(),
        ] {
            of_a_stranger(&ask(&client, name, message).await.expect_err("a stranger"));
        }
    }
    let client = connect(&bed.env, pushes).await;
    let text = push(&client, Mode::Primary, "0-0", batch(0, 0, 10)).await.expect_err("a stranger");
    of_a_stranger(&text);
    let client = connect(&bed.env, reads).await;
    let open = pb::OpenStream { shuffle_key: KEY.to_owned(), ..Default::default() };
    of_a_stranger(&bare(&client, open).await.expect_err("a stranger"));
    let slice = Slice::whole(StreamId(0), 0);
    let asked = Frame::ChunkFetchRequest(slice);
    client.send(&asked).await.expect("open");
    of_a_stranger(&bare(&client, pb::CheckWorkersAvailable {}).await.expect_err("a stranger"));
    // Nor does it take room before it is known.
    let large = Bytes::from(vec![0; 100 << 10]);
    assert!(client.ask(|id| Frame::RpcRequest(id, large)).await.is_err(), "it is closed");
    assert_eq!(bed.workers[0].1.stats().blocks, 0);
    driver.push(0, batch(0, 0, 10)).await.expect("the application itself");
}

/// A connection of the other application.
async fn of_other(bed: &Bed, port: u16) -> Client {
    let client = connect(&bed.env, port).await;
    prove(&client, OTHER, "another secret").await.expect("registered");
    client
}

fn of_another(text: &str) {
    assert!(text.contains("this connection is of application app-2, and not of app-1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_at_nothing_of_another() {
    let bed = Bed::asking(1, 8 << 20, None).await;
    let driver = bed.driver(2, false).await;
    driver.push(0, batch(0, 0, 10)).await.expect("stored");
    driver.commit(Mode::Primary, &[0], 1).await;
    let [master, worker, pushes, reads] = ports(&bed);
    let own = driver.connect(reads).await;
    let open = |key: &str| pb::OpenStream {
        shuffle_key: key.to_owned(),
        file_name: "0-0-0".to_owned(),
        end_index: i32::MAX,
        ..Default::default()
    };
    let Message::StreamHandler(stream) = bare(&own, open(KEY)).await.expect("here") else {
        panic!("no stream")
    };
    let at_master = connect(&bed.env, master).await;
    register(&at_master, OTHER, "another secret").await.expect("a new name");
    let (app_id, shuffle_id) = (APP.to_owned(), 0);
    for message in [
        Message::from(pb::UnregisterShuffle { app_id: app_id.clone(), ..Default::default() }),
        pb::BatchUnregisterShuffles {
            app_id: app_id.clone(),
            shuffle_ids: vec![shuffle_id],
            ..Default::default()
        }
        .into(),
        pb::ApplicationLost { app_id: app_id.clone(), ..Default::default() }.into(),
        pb::HeartbeatFromApplication { app_id: app_id.clone(), ..Default::default() }.into(),
        pb::RequestSlots { application_id: app_id.clone(), ..Default::default() }.into(),
        pb::RegisterApplicationInfo { app_id: app_id.clone(), ..Default::default() }.into(),
        pb::ReviseLostShuffles { app_id: app_id.clone(), ..Default::default() }.into(),
    ] {
        of_another(&ask(&at_master, endpoint::MASTER, message).await.expect_err("not its own"));
    }
    let fine = ask(&at_master, endpoint::MASTER, pb::CheckWorkersAvailable {}).await;
    assert!(
        matches!(fine, Ok(Message::CheckWorkersAvailableResponse(_))),
        "the connection goes on"
    );
    let at_worker = of_other(&bed, worker).await;
    let primary_locations = vec!["1-0".to_owned()];
    for message in [
        Message::from(pb::ReserveSlots { application_id: app_id.clone(), ..Default::default() }),
        pb::CommitFiles { application_id: app_id, ..Default::default() }.into(),
        pb::DestroyWorkerSlots {
            shuffle_key: KEY.to_owned(),
            primary_locations,
            ..Default::default()
        }
        .into(),
    ] {
        of_another(&ask(&at_worker, endpoint::WORKER, message).await.expect_err("not its own"));
    }
    let at_pushes = of_other(&bed, pushes).await;
    let pushed = push(&at_pushes, Mode::Primary, "1-0", batch(0, 0, 10)).await;
    of_another(&pushed.expect_err("not its own"));
    let at_reads = of_other(&bed, reads).await;
    of_another(&bare(&at_reads, open(KEY)).await.expect_err("not its own"));
    let all = pb::OpenStreamList { shuffle_key: KEY.to_owned(), ..Default::default() };
    of_another(&bare(&at_reads, all).await.expect_err("not its own"));
    let slice = Slice::whole(StreamId(stream.stream_id), 0);
    of_another(&fetch(&at_reads, slice).await.expect_err("not its own"));
    let end =
        Message::from(pb::BufferStreamEnd { stream_id: stream.stream_id, ..Default::default() });
    let end = end.encode().to_bare().expect("small");
    let end = Frame::RpcRequest(dunlin_celeborn::frame::RequestId(9), end);
    at_reads.send(&end).await.expect("open");
    let text = bare(&at_reads, open("app-2-0")).await.expect_err("it has none");
    assert!(text.contains("shuffle app-2-0 is not on this worker"), "{text}");
    // All of it is as it was.
    fetch(&own, slice).await.expect("its own stream is open");
    driver.push(1, batch(0, 0, 10)).await.expect("nobody gave its location up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_registered_once_at_whichever_master() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let _driver = Driver::new(&bed).await;
    let second = master_of(&bed.env, &bed.store, &bed.seen, (None, true)).await;
    for port in [bed.master.address().port(), second.address().port()] {
        let client = connect(&bed.env, port).await;
        let text = register(&client, APP, "another").await.expect_err("it is taken");
        assert!(text.contains("is registered already, with another secret"), "{text}");
        let client = connect(&bed.env, port).await;
        register(&client, APP, SECRET).await.expect("an answer was lost: the same again");
        let client = connect(&bed.env, port).await;
        prove(&client, APP, SECRET).await.expect("known at each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_left_open_does_nothing_to_a_later_application_of_its_name() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let driver = bed.driver(1, false).await;
    let [master, worker, pushes, _] = ports(&bed);
    let left = driver.connect(pushes).await;
    let beat = || pb::HeartbeatFromApplication { app_id: APP.to_owned(), ..Default::default() };
    let lost = pb::ApplicationLost { app_id: APP.to_owned(), ..Default::default() };
    ask(&driver.master, endpoint::MASTER, lost).await.expect("it ends");
    let anew = connect(&bed.env, master).await;
    register(&anew, APP, "a new secret").await.expect("the name is free");
    let text = ask(&driver.master, endpoint::MASTER, beat()).await.expect_err("the former");
    assert!(text.contains("with another secret"), "{text}");
    ask(&anew, endpoint::MASTER, beat()).await.expect("the present one");
    // The worker hears of it when the new one comes there,
    let client = connect(&bed.env, worker).await;
    prove(&client, APP, "a new secret").await.expect("read anew");
    let refused = |pushed: Result<PushReply, String>| {
        let text = pushed.expect_err("the former");
        assert!(text.contains("application app-1 that this connection was of has ended"), "{text}");
    };
    refused(push(&left, Mode::Primary, "0-0", batch(0, 0, 10)).await);
    // or when it looks.
    let left = connect(&bed.env, pushes).await;
    prove(&left, APP, "a new secret").await.expect("known");
    bed.workers[0].0.clean().await.expect("it looks");
    let text = push(&left, Mode::Primary, "7-0", batch(0, 0, 10)).await.expect_err("not there");
    assert!(text.contains("PUSH_DATA_FAIL_PARTITION_NOT_FOUND"), "{text}");
    let lost = pb::ApplicationLost { app_id: APP.to_owned(), ..Default::default() };
    ask(&anew, endpoint::MASTER, lost).await.expect("it ends");
    bed.workers[0].0.clean().await.expect("it looks");
    refused(push(&left, Mode::Primary, "0-0", batch(0, 0, 10)).await);
    // It was away for a while, and is the same: its connections go on.
    ask(&anew, endpoint::MASTER, beat()).await.expect("it lives again");
    let text = push(&left, Mode::Primary, "7-0", batch(0, 0, 10)).await.expect_err("not there");
    assert!(text.contains("PUSH_DATA_FAIL_PARTITION_NOT_FOUND"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_proves_who_it_is_is_told_that_nobody_asks() {
    let bed = Bed::new(1, 1 << 20).await;
    for port in ports(&bed) {
        let client = connect(&bed.env, port).await;
        for step in [
            Message::from(initiation()),
            sasl(DIGEST_MD5, AuthType::Connection, Bytes::new()).into(),
        ] {
            let text = said(&client, step).await.expect_err("nobody asks");
            assert!(text.contains("does not ask clients which application they are"), "{text}");
            assert!(text.contains("--celeborn-auth"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_come_from_workers_that_prove_nothing_but_their_certificate() {
    let bed = Bed::asking(1, 1 << 20, None).await;
    let driver = bed.driver(1, false).await;
    let id = driver.location(0).copy.worker;
    let client = connect_by(&bed.env, id.replicate_port, None).await;
    let text =
        push(&client, Mode::Replica, "0-0", batch(0, 0, 10)).await.expect_err("no copy here");
    assert!(text.contains("PUSH_DATA_FAIL_PARTITION_NOT_FOUND"), "{text}");
}
