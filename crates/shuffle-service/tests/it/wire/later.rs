//! Peers of a later build that say what this one does not know: one clear error, on both ends.

use dunlin_base::Kind;
use dunlin_base::env::Task;
use dunlin_proto::shuffle::Wait;
use dunlin_proto::wire::{
    Answer, Message, PREAMBLE_LEN, Preamble, RequestId, Terms, VERSION, Welcome,
};
use dunlin_shuffle::{TcpOptions, Workers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::raw::{Raw, bytes_of};
use crate::bed::{local, me, open, soon, until, workers_at};
use crate::*;

/// A whole frame of a type that nobody knows.
fn unknown(kind: u8) -> Vec<u8> {
    let ping = bytes_of(&Message::Ping);
    let head = ping.first_chunk::<PREAMBLE_LEN>().expect("a frame");
    let preamble = Preamble { kind, ..Preamble::decode(*head) };
    [&preamble.encode()[..], &ping[PREAMBLE_LEN..]].concat()
}

#[tokio::test]
async fn a_door_says_which_frame_it_does_not_know_and_serves_others() {
    let door = open(in_memory(1 << 20), local()).await;
    let address = door.address().to_string();
    for kind in [68, 104, 255] {
        let (mut raw, _) = Raw::greeted(&address).await;
        raw.say_bytes(unknown(kind)).await.expect("open");
        match soon("the end", raw.last_word()).await {
            Some(Message::Goodbye(error)) => {
                assert_eq!(error.kind(), Kind::Invalid);
                assert_eq!(error.message(), format!("unknown frame type {kind}"));
            }
            other => panic!("{other:?}"),
        }
    }
    until("the count", || door.stats().broken_rules == 3).await;
    let workers = workers_at(&address, TcpOptions::default());
    workers.connect(me()).expect("known").seal(shuffle(1)).await.expect("served");
}

/// A worker that welcomes each client, says this, and waits until it has left. Where it is.
async fn worker_that_says(words: Vec<u8>) -> (String, Task<()>) {
    let listener = Env::seeded(1).listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address().expect("bound").to_string();
    let terms =
        Terms { calls_max: 9, reads_max: 9, bytes_max: 9999, body_max: 9999, reads_many: true };
    let (version, build, worker) = (VERSION, "later".to_owned(), me());
    let welcome = bytes_of(&Message::Welcome(Welcome { version, build, worker, terms }));
    let task = Env::seeded(1).spawn("a later worker", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 16];
            drop(stream.read_exact(&mut hello).await);
            drop(stream.write_all(&[&welcome[..], &words].concat()).await);
            drop(stream.flush().await);
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_client_says_which_frame_it_does_not_know_and_does_not_hang() {
    let (address, task) = worker_that_says(unknown(200)).await;
    let api = workers_at(&address, TcpOptions::default()).connect(me()).expect("known");
    let pushed = api.push(vec![block(1, attempt(0, 0), 0, 10)]);
    let error = error(soon("the push", pushed).await);
    assert_eq!(error.kind(), Kind::Retry, "what became of the push is not known: {error}");
    assert!(error.message().contains("unknown frame type 200"), "{error}");
    assert!(error.message().contains(&me().to_string()), "{error}");
    task.abort();
}

#[tokio::test]
async fn who_did_not_ask_to_hear_of_waits_takes_a_word_for_a_mistake() {
    let word = Message::Answer(RequestId(1), Answer::Waiting(Wait::Memory));
    let (address, task) = worker_that_says(bytes_of(&word)).await;
    let api = workers_at(&address, TcpOptions::default()).connect(me()).expect("known");
    let pushed = api.push(vec![block(1, attempt(0, 0), 0, 10)]);
    let error = error(soon("the push", pushed).await);
    assert_eq!(error.kind(), Kind::Retry, "{error}");
    assert!(error.message().contains("unexpected answer to request 1"), "{error}");
    task.abort();
}
