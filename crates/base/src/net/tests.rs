//! Streams in memory: order of the lanes, the budget, the bounds on waiting.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::{ByteCount, Env, Kind};

const SECOND: Duration = Duration::from_secs(1);

fn outbox(posts_max: usize) -> Outbox {
    Outbox::new(OutboxOptions {
        bulk_bytes_max: ByteCount(2048),
        posts_max,
        ping_every: SECOND,
        ping: vec![Bytes::from_static(b"ping")],
    })
}

fn pieces(text: &'static str) -> Pieces {
    let (left, right) = text.split_at(text.len() / 2);
    vec![Bytes::from(left), Bytes::new(), Bytes::from(right)]
}

fn ends(env: &Env, buffer: usize) -> (Reader, Writer, DuplexStream) {
    let (near, far) = tokio::io::duplex(buffer);
    let (reader, writer) = split(env, Box::new(near), 5 * SECOND, 7 * SECOND);
    (reader, writer, far)
}

#[tokio::test(start_paused = true)]
async fn posts_go_first_and_the_last_thing_ends_it() {
    let env = Env::seeded(1);
    let (_reader, writer, mut far) = ends(&env, 3);
    let outbox = outbox(10);
    for text in ["bulk1 ", "bulk2 "] {
        outbox.send(pieces(text)).await.expect("within the budget");
    }
    outbox.post(pieces("post1 ")).expect("open");
    outbox.post(pieces("post2 ")).expect("open");
    let mut text = String::new();
    let writing = async {
        outbox.run(&env, writer).await.expect("the far end reads");
    };
    let reading = async {
        let mut start = [0; 24];
        far.read_exact(&mut start).await.expect("all comes");
        text.push_str(std::str::from_utf8(&start).expect("plain"));
        outbox.finish(pieces("bye"));
        far.read_to_string(&mut text).await.expect("plain");
    };
    tokio::join!(writing, reading);
    assert_eq!(text, "post1 post2 bulk1 bulk2 bye");
    assert_eq!(outbox.post(pieces("late")).expect_err("ended").kind(), Kind::Retry);
    assert_eq!(outbox.send(pieces("late")).await.expect_err("ended").kind(), Kind::Retry);
}

#[tokio::test(start_paused = true)]
async fn bulk_waits_for_room_and_too_many_posts_end_it() {
    let env = Env::seeded(1);
    let (_reader, writer, _far) = ends(&env, 3);
    let outbox = outbox(2);
    let kilobyte = || vec![Bytes::from(vec![1; 1024])];
    for _ in 0..2 {
        outbox.send(kilobyte()).await.expect("within the budget");
    }
    assert!(env.timeout(SECOND, outbox.send(kilobyte())).await.is_none(), "over the budget");
    for text in ["one", "two"] {
        outbox.post(pieces(text)).expect("within the limit");
    }
    assert!(outbox.post(pieces("three")).is_err());
    assert_eq!(outbox.run(&env, writer).await.expect_err("ended").kind(), Kind::Retry);
    assert!(outbox.send(kilobyte()).await.is_err(), "does not wait for ever");
}

#[tokio::test(start_paused = true)]
async fn small_things_go_out_at_once_and_what_does_not_fit_keeps_its_place() {
    let env = Env::seeded(1);
    let (_reader, writer, mut far) = ends(&env, 8);
    let outbox = outbox(10);
    let mut running = Box::pin(outbox.run(&env, writer));
    assert!(env.timeout(Duration::ZERO, running.as_mut()).await.is_none(), "nothing to do");
    outbox.post(pieces("post")).expect("open");
    outbox.send(pieces("bulk")).await.expect("open");
    let mut read = [0; 8];
    let came = env.timeout(Duration::ZERO, far.read_exact(&mut read)).await;
    came.expect("without the loop").expect("whole");
    assert_eq!(&read, b"postbulk");

    outbox.post(pieces("0123456789")).expect("the first eight fit");
    for text in ["ab", "cd"] {
        outbox.post(pieces(text)).expect("waits behind it");
    }
    let mut read = [0; 14];
    let reading = env.timeout(SECOND / 2, far.read_exact(&mut read));
    tokio::select! {
        came = reading => drop(came.expect("the loop goes on").expect("whole")),
        ended = running.as_mut() => panic!("{ended:?}"),
    }
    assert_eq!(&read, b"0123456789abcd");

    drop(far);
    outbox.post(pieces("late")).expect("nobody knows yet");
    assert_eq!(running.await.expect_err("nobody is there").kind(), Kind::Retry);
    outbox.post(pieces("later")).expect_err("ended");
}

#[tokio::test(start_paused = true)]
async fn pings_fill_the_silence_and_a_peer_that_takes_nothing_is_given_up() {
    let env = Env::seeded(1);
    let (_reader, writer, mut far) = ends(&env, 16);
    let outbox = outbox(2);
    let writing = env.timeout(60 * SECOND, outbox.run(&env, writer));
    let mut pings = [0; 8];
    let reading = async {
        far.read_exact(&mut pings).await.expect("pings come");
        assert_eq!(env.now(), 2 * SECOND);
    };
    let (ended, ()) = tokio::join!(writing, reading);
    assert_eq!(&pings, b"pingping");
    assert_eq!(ended.expect("bounded").expect_err("nobody reads").kind(), Kind::Retry);
    // Four pings fill the pipe, the fifth stalls.
    assert_eq!(env.now(), (2 + 5 + 7) * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_reader_takes_any_byte_as_a_sign_of_life_and_ends_in_silence() {
    let env = Env::seeded(1);
    let (mut reader, _writer, mut far) = ends(&env, 16);
    let writing = async {
        for byte in b"abcd" {
            env.sleep(4 * SECOND).await;
            far.write_all(&[*byte]).await.expect("there is room");
        }
    };
    let (bytes, ()) = tokio::join!(reader.exactly(4), writing);
    assert_eq!(bytes.expect("slow, but alive"), &b"abcd"[..]);
    assert_eq!(reader.exactly(0).await.expect("nothing is nothing"), Bytes::new());
    let start = env.now();
    assert_eq!(reader.exactly(1).await.expect_err("silent").kind(), Kind::Retry);
    assert_eq!(env.now() - start, 5 * SECOND);
    drop(far);
    assert_eq!(reader.exactly(1).await.expect_err("closed").kind(), Kind::Retry);
}

#[tokio::test]
async fn a_connection_reaches_its_listener() {
    let env = Env::real(None);
    let listener = env.listen("127.0.0.1:0").await.expect("a free port");
    let address = listener.address().expect("bound").to_string();
    let (near, far) = tokio::join!(env.connect(&address, SECOND), listener.accept());
    let mut near = near.expect("it listens");
    near.write_all(b"hello").await.expect("connected");
    drop(near);
    let (mut reader, _writer) = split(&env, far.expect("one came").0, SECOND, SECOND);
    assert_eq!(reader.exactly(5).await.expect("all of it"), &b"hello"[..]);
    let taken = env.listen(&address).await.expect_err("the port is taken");
    assert_eq!(taken.kind(), Kind::Invalid);
    drop(listener);
    let refused = env.connect(&address, SECOND).await.err().expect("nobody listens");
    assert_eq!(refused.kind(), Kind::Retry);
}
