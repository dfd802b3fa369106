//! Clients that ask for much and do not read what comes: they cost a bounded amount of memory, hold
//! nobody up, and lose the connection after a bound.

use std::time::Duration;

use dunlin_proto::wire::{Ask, Message, RequestId};
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::DoorOptions;

use super::hasty_door;
use super::puppet::{BODY, Puppet};
use super::raw::Raw;
use crate::bed::{me, open, soon, until, workers_at};
use crate::*;

const SEND_MAX: ByteCount = ByteCount(256 << 10);

/// What the system holds for a connection that nobody reads, at most, on both ends.
const SOCKET_MAX: usize = 16 << 20;

fn door_options() -> DoorOptions {
    // The client pings and so does not count as silent: what ends it is that it takes nothing.
    DoorOptions { send_bytes_max: SEND_MAX, ..hasty_door() }
}

/// A client with reads whose credit never ends.
async fn deaf(address: &str, reads: u64) -> Raw {
    let (mut raw, _) = Raw::greeted(address).await;
    for id in 0..reads {
        let read = Ask::Read(request(0, Some(&[attempt(0, 0)])), u64::MAX);
        raw.say(&Message::Ask(RequestId(id), read)).await.expect("open");
    }
    raw
}

#[tokio::test]
async fn who_does_not_read_its_blocks_costs_little_and_is_let_go() {
    let puppet = Puppet::new(usize::MAX >> 4);
    let door = open(Arc::clone(&puppet) as _, door_options()).await;
    let address = door.address().to_string();
    let mut raw = deaf(&address, 20).await;
    let env = raw.env.clone();
    let began = env.now();
    let pinging = async {
        let env = Env::seeded(1);
        while raw.say(&Message::Ping).await.is_ok() {
            env.sleep(Duration::from_millis(50)).await;
        }
    };
    let others = async {
        let workers = workers_at(&address, TcpOptions::default());
        let api = workers.connect(me()).expect("known");
        let mut pushes = 0;
        while door.stats().connections == 2 || pushes == 0 {
            let push = api.push(vec![block(1, attempt(0, 0), pushes, 10_000)]);
            soon("a push beside it", push).await.expect("taken");
            pushes += 1;
            assert!(pushes == 1 || env.now() - began < Duration::from_secs(20), "it stays");
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.connections(), 1);
        pushes
    };
    let (pushes, ()) = soon("the end", async { tokio::join!(others, pinging) }).await;
    assert!(pushes > 1, "{pushes} pushes beside it");
    until("the end of its reads", || puppet.reads() == 0).await;
    // Each read has looked up what is sent together, and what waits or lies in sockets.
    let given = puppet.given() * BODY;
    assert!(given < SOCKET_MAX + 20 * (512 << 10), "{given} bytes were looked up");
    assert_eq!((door.stats().requests, door.stats().bytes_held), (0, 0));
}

#[tokio::test]
async fn blocks_that_wait_for_a_deaf_client_are_bounded_whatever_its_credit() {
    let puppet = Puppet::new(0);
    // Patient, so that nothing ends while the test looks.
    let patience = Duration::from_secs(600);
    let options = DoorOptions { stall_max: patience, silence_max: patience, ..door_options() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let address = door.address().to_string();
    let _raw = deaf(&address, 1).await;
    // It stands still: nothing is looked up for as long as others are served a hundred times.
    let workers = workers_at(&address, TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let mut given = usize::MAX;
    let still = async {
        while given != puppet.given() {
            given = puppet.given();
            for _ in 0..100 {
                api.shuffles().await.expect("served");
            }
        }
    };
    soon("a standstill", still).await;
    let bytes = given * BODY;
    assert!(bytes < SOCKET_MAX + (1 << 20), "{bytes} bytes were looked up");
    assert!(bytes > SEND_MAX.0 as usize, "{bytes} bytes: it did send");
}
