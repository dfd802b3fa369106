//! Two copies.

use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::push::{PushReply, Split};
use dunlin_celeborn::status::StatusCode;

use super::bed::{Bed, batch};

const ALL: (i32, i32) = (0, i32::MAX);

#[tokio::test(flavor = "multi_thread")]
async fn both_workers_have_what_was_acknowledged() {
    let bed = Bed::new(3, 8 << 20).await;
    let driver = bed.driver(6, true).await;
    for partition in 0..6 {
        let reply = driver.push(partition, batch(0, 0, 100 + partition as usize)).await;
        assert_eq!(reply.expect("stored"), PushReply::Stored);
    }
    let first = driver.location(0);
    let like = |other: i32| {
        let other = driver.location(other);
        let peer = |location: &dunlin_celeborn::location::Location| {
            location.peer.as_ref().map(|peer| peer.worker.clone())
        };
        other.copy.worker == first.copy.worker && peer(&other) == peer(&first)
    };
    let merged: Vec<_> = (0..6).filter(|id| like(*id)).map(|id| (id, batch(1, id, 50))).collect();
    assert_eq!(driver.push_merged(&merged).await.expect("stored"), PushReply::Stored);
    for partition in 0..6 {
        let location = driver.location(partition);
        let peer = location.peer.clone().expect("two copies");
        assert_ne!(peer.worker, location.copy.worker);
        let (one, two) = (
            driver.commit(Mode::Primary, &[partition], 1).await.remove(0),
            driver.commit(Mode::Replica, &[partition], 2).await.remove(0),
        );
        let id = location.copy.partition.to_string();
        assert_eq!(
            one.committed_primary_storage_infos[&id].file_size,
            two.committed_replica_storage_infos[&id].file_size
        );
        let read = |worker, mode| driver.read(worker, format!("{id}-{mode}").leak(), ALL);
        let (here, there) = (read(&location.copy.worker, 0).await, read(&peer.worker, 1).await);
        assert_eq!(here.expect("here").concat(), there.expect("there").concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_named_as_the_replica() {
    let mut bed = Bed::new(2, 8 << 20).await;
    let driver = bed.driver(1, true).await;
    let peer = driver.location(0).peer.expect("two copies").worker;
    bed.workers.retain(|(worker, _)| *worker.id() != *peer);
    for _ in 0..2 {
        let failure = driver.push(0, batch(0, 0, 100)).await.expect_err("one copy is not two");
        let code = StatusCode::of_failure(&failure);
        assert_eq!(code, Some(StatusCode::PushDataCreateConnectionFailReplica), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_makes_it_a_hard_split() {
    let bed = Bed::new(2, 8 << 20).await;
    let driver = bed.driver(2, true).await;
    let peer = driver.location(0).peer.expect("two copies").worker;
    bed.worker(&peer).1.drain();
    let reply = driver.push(0, batch(0, 0, 100)).await.expect("answered");
    assert_eq!(reply, PushReply::Split(Split::Hard));
    let reply = driver.push_merged(&[(0, batch(0, 1, 100))]).await.expect("answered");
    assert_eq!(reply, PushReply::SplitEntries(vec![(0, Split::Hard)]));
}
