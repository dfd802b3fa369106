//! What goes when a caller, a client or a door goes.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dunlin_base::Kind;
use dunlin_shuffle::{TcpOptions, Workers};
use dunlin_shuffle_service::DoorOptions;
use futures::StreamExt;

use super::puppet::Puppet;
use super::{hasty, hasty_door};
use crate::bed::{Bed, Over, local, me, open, soon, until, workers_at};
use crate::*;

#[tokio::test]
async fn a_dropped_stream_ends_the_read_and_only_that() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let options = TcpOptions { read_window: ByteCount(5000), ..TcpOptions::default() };
    let workers = workers_at(&door.address().to_string(), options);
    let api = workers.connect(me()).expect("known");
    let read = || api.read(request(0, Some(&[attempt(0, 0)])));
    let (mut stays, goes) = (read().await.expect("opens"), read().await.expect("opens"));
    until("two reads", || puppet.reads() == 2).await;
    drop(goes);
    until("one read", || puppet.reads() == 1).await;
    until("one request", || door.stats().requests == 1).await;
    for _ in 0..100 {
        stays.next().await.expect("endless").expect("whole");
    }
    // Far more than may be open at once, each dropped at another moment.
    for n in 0..3000 {
        let mut opening = Box::pin(read());
        for _ in 0..n % 4 {
            let _ = futures::poll!(&mut opening);
            tokio::task::yield_now().await;
        }
    }
    drop(soon("another read", read()).await.expect("slots came back"));
    until("one read again", || puppet.reads() == 1).await;
}

#[tokio::test]
async fn a_dropped_push_happens_wholly_and_its_slot_comes_back() {
    let puppet = Puppet::new(0);
    let options = DoorOptions { calls_max: 3, ..local() };
    let door = open(Arc::clone(&puppet) as _, options).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    for batch in 0..3 {
        let mut push = api.push(vec![block(1, attempt(0, 0), batch, 10)]);
        let begun = || puppet.pushes.load(SeqCst) > batch as usize;
        let env = Env::seeded(1);
        while !begun() {
            assert!(env.timeout(Duration::from_millis(1), &mut push).await.is_none());
        }
    }
    let mut fourth = api.push(vec![block(1, attempt(0, 0), 3, 10)]);
    let env = Env::seeded(1);
    let waits = env.timeout(Duration::from_millis(50), &mut fourth).await;
    assert!(waits.is_none() && puppet.waiting() == 3, "all slots are taken");
    puppet.gate.add_permits(4);
    soon("the fourth", fourth).await.expect("taken");
    assert_eq!(puppet.pushes.load(SeqCst), 4);
    until("no request", || door.stats().requests == 0).await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_requests_along() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let stream = api.read(request(0, Some(&[attempt(0, 0)]))).await.expect("opens");
    let mut push = api.push(vec![block(1, attempt(0, 0), 0, 10)]);
    let env = Env::seeded(1);
    while puppet.waiting() == 0 {
        assert!(env.timeout(Duration::from_millis(1), &mut push).await.is_none());
    }
    assert_eq!(door.stats().requests, 2);
    drop(push);
    drop((api, workers));
    assert_eq!(door.stats().connections, 1, "a stream keeps its connection");
    drop(stream);
    until("the end", || door.stats().connections == 0).await;
    until("no requests", || puppet.reads() == 0 && puppet.waiting() == 0).await;
    let stats = door.stats();
    assert_eq!((stats.requests, stats.bytes_held), (0, 0));
}

#[tokio::test]
async fn a_door_that_closes_says_so() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let mut follower = api.read(request(0, None)).await.expect("opens");
    let reading = async {
        loop {
            if let Err(error) = follower.next().await.expect("ends with an error") {
                break error;
            }
        }
    };
    let (error, ()) = soon("the end", async { tokio::join!(reading, door.close()) }).await;
    assert_eq!(error.kind(), Kind::Retry);
    assert!(error.message().contains("stops"), "{error}");
    until("the end of the read", || puppet.reads() == 0).await;
    let refused = soon("a call", api.seal(shuffle(1))).await;
    assert_eq!(crate::error(refused).kind(), Kind::Retry);
}

#[tokio::test]
async fn a_panic_of_the_worker_is_one_error_of_one_request() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let trap = error(api.read(request(1, None)).await);
    assert_eq!(trap.kind(), Kind::Bug);
    assert!(trap.message().contains("trap"), "{trap}");
    api.seal(shuffle(1)).await.expect("the door stands");
    assert_eq!(door.stats().accepted, 1);
}

#[tokio::test]
async fn idle_connections_are_closed_by_either_side_and_come_back() {
    let short = Duration::from_millis(100);
    for by_client in [false, true] {
        let (mut options, mut at_door) = (hasty(), hasty_door());
        if by_client {
            options.idle_max = short;
        } else {
            at_door.idle_max = short;
        }
        let door = open(in_memory(1 << 20), at_door).await;
        let workers = workers_at(&door.address().to_string(), options);
        let api = workers.connect(me()).expect("known");
        for _ in 0..2 {
            api.shuffles().await.expect("connects anew");
            until("both to close", || door.stats().connections == 0 && workers.connections() == 0)
                .await;
        }
        // A reader that waits is not idle.
        let mut follower = api.read(request(2, None)).await.expect("connects anew");
        let env = Env::seeded(1);
        assert!(env.timeout(4 * short, follower.next()).await.is_none());
        assert_eq!((door.stats().connections, workers.connections()), (1, 1));
        assert_eq!(door.stats().accepted, 3);
        assert_eq!(door.stats().broken_rules, 0);
    }
}

#[tokio::test]
async fn one_connection_serves_all_and_long_lists_come_whole() {
    let puppet = Puppet::new(0);
    let door = open(Arc::clone(&puppet) as _, local()).await;
    let workers = workers_at(&door.address().to_string(), TcpOptions::default());
    let api = workers.connect(me()).expect("known");
    let lists = futures::future::join_all((0..20).map(|_| api.shuffles())).await;
    for list in lists {
        let list = list.expect("answers");
        assert_eq!(list.len(), 10_000);
        assert!(list.iter().enumerate().all(|(n, id)| *id == shuffle(n as u128)));
    }
    assert_eq!((door.stats().accepted, workers.connections()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_a_connection() {
    let bed = Bed::in_memory(Over::Tcp, 64 << 20).await;
    let env = Env::seeded(1);
    let tasks: Vec<_> = (0..8_u32)
        .map(|map| {
            let api = Arc::clone(&bed.api);
            env.spawn("writer", async move {
                let of = attempt(map, 0);
                for batch in 0..50 {
                    api.push(vec![block(map % 3, of, batch, 5000)]).await?;
                }
                read(&api, map % 3, Some(&[of])).await
            })
        })
        .collect();
    for (map, task) in (0..).zip(tasks) {
        let blocks = soon("a task", task.join()).await.expect("no panic").expect("whole");
        let expected: Vec<_> =
            (0..50).map(|batch| block(map % 3, attempt(map, 0), batch, 5000)).collect();
        assert!(same(&blocks, &expected), "map {map}");
    }
}
