//! Who answers at an address is not always who was meant.

use std::time::Duration;

use dunlin_base::net::Listener;
use dunlin_base::{Kind, ProcessId};
use dunlin_proto::wire::{Message, VERSION};
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Bound, DoorOptions};
use tokio::io::AsyncWriteExt;

use super::raw::{Raw, hello};
use crate::bed::{Bed, Over, local, me, open, soon, until, workers_at};
use crate::*;

fn other() -> ProcessId {
    ProcessId::from_u128(78)
}

async fn listener() -> (Listener, String) {
    let listener = Env::seeded(1).listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address().expect("bound").to_string();
    (listener, address)
}

#[tokio::test]
async fn another_worker_on_the_port_is_lost_for_every_call() {
    let worker = in_memory(1 << 20);
    let door = open(Arc::clone(&worker) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(other()).expect("somebody knows an address");
    let calls = [
        api.push(vec![block(1, attempt(0, 0), 0, 10)]).await,
        api.seal(shuffle(1)).await,
        api.discard(shuffle(1), attempt(0, 0)).await,
        api.delete_query(shuffle(1).query).await,
        api.shuffles().await.map(drop),
        read(&api, 1, None).await.map(drop),
    ];
    for call in calls {
        let error = error(call);
        assert_eq!(error.kind(), Kind::Lost, "{error}");
        assert!(error.message().contains(&other().to_string()), "{error}");
    }
    assert!(worker.shuffles().await.expect("answers").is_empty(), "nothing was done");
    assert_eq!(door.stats().asked, 0);
}

#[tokio::test]
async fn a_worker_that_moved_in_after_a_restart_is_not_the_old_one() {
    let door = open(in_memory(1 << 20), local()).await;
    let address = door.address().to_string();
    let workers = workers_at(&address, TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    api.push(vec![block(1, attempt(0, 0), 0, 10)]).await.expect("fits");
    door.close().await;
    let options = DoorOptions { listen: address, ..local() };
    let bound = Bound::bind(Env::seeded(1), options).await.expect("the port is free again");
    let _door = bound.open(other(), in_memory(1 << 20));
    let lost = error(read(&api, 1, Some(&[attempt(0, 0)])).await);
    assert_eq!(lost.kind(), Kind::Lost, "{lost}");
    let api = workers.connect(other()).expect("known");
    api.push(vec![block(1, attempt(0, 0), 0, 10)]).await.expect("the new one takes it");
}

#[tokio::test]
async fn what_speaks_another_language_is_not_the_worker() {
    for text in [&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], &[0; 64], b"220 "] {
        let (listener, address) = listener().await;
        let env = Env::seeded(1);
        let task = env.spawn("stranger", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                drop(stream.write_all(text).await);
                drop(stream.flush().await);
                std::future::pending::<()>().await;
            }
        });
        let options =
            TcpOptions { connect_max: Duration::from_millis(500), ..TcpOptions::default() };
        let api = workers_at(&address, options).connect(me()).expect("known");
        let error = error(soon("a call", api.seal(shuffle(1))).await);
        // Too short a text leaves open who it is.
        let kind = if text.len() < 9 { Kind::Retry } else { Kind::Lost };
        assert_eq!(error.kind(), kind, "{error}");
        task.abort();
    }
}

#[tokio::test]
async fn nobody_there_is_worth_another_try_and_nobody_known_is_not() {
    let (listener, address) = listener().await;
    let options = TcpOptions { connect_max: Duration::from_millis(300), ..TcpOptions::default() };
    let api = workers_at(&address, options.clone()).connect(me()).expect("known");
    let silent = error(soon("a call", api.seal(shuffle(1))).await);
    assert_eq!(silent.kind(), Kind::Retry, "{silent}");
    drop(listener);
    let refused = error(soon("a call", api.seal(shuffle(1))).await);
    assert_eq!(refused.kind(), Kind::Retry, "{refused}");
    let known = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let lookup = {
        let known = Arc::clone(&known);
        move |_| known.load(std::sync::atomic::Ordering::SeqCst).then(|| address.clone())
    };
    let workers = TcpWorkers::new(Env::seeded(1), options, lookup);
    let api = workers.connect(me()).expect("known");
    known.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(error(workers.connect(me())).kind(), Kind::Lost);
    assert_eq!(error(api.seal(shuffle(1)).await).kind(), Kind::Lost);
}

#[tokio::test]
async fn another_version_is_told_so() {
    let bed = open(in_memory(1 << 20), local()).await;
    let mut raw = Raw::connect(&bed.address().to_string()).await;
    let Message::Hello(mut new) = hello(me()) else { unreachable!() };
    new.version = VERSION + 1;
    raw.say(&Message::Hello(new)).await.expect("open");
    match soon("the end", raw.last_word()).await {
        Some(Message::Goodbye(error)) => {
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.message().contains("version"), "{error}");
            assert!(error.hint().is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_door_that_is_bound_lets_clients_wait_until_it_opens() {
    let bound = Bound::bind(Env::seeded(1), local()).await.expect("a free port");
    let workers = workers_at(&bound.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let call = api.push(vec![block(1, attempt(0, 0), 0, 10)]);
    let opening = async {
        until("the client", || workers.connections() == 1).await;
        bound.open(me(), in_memory(1 << 20))
    };
    let (pushed, _door) = tokio::join!(call, opening);
    pushed.expect("taken when it opens");
}

#[tokio::test]
async fn errors_keep_kind_message_and_hint_on_the_way() {
    let bed = Bed::in_memory(Over::Tcp, 1000).await;
    let push = || vec![block(1, attempt(0, 0), 0, 5000)];
    let (near, far) = (error(bed.worker.push(push()).await), error(bed.api.push(push()).await));
    assert_eq!((far.kind(), far.hint()), (near.kind(), near.hint()));
    assert!(far.message().ends_with(near.message()), "{far}");
    assert!(far.message().contains(&me().to_string()), "{far}");
}
