//! Processes of one machine: a socket in the file system, and TCP whenever that is not what it was.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_base::ProcessId;
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::{Door, DoorOptions};

use crate::bed::{local, me, open, soon};
use crate::*;

fn door_at(path: &Path) -> DoorOptions {
    DoorOptions { on_machine: Some(path.to_owned()), ..local() }
}

fn workers(door: &Door, path: &Path) -> TcpWorkers {
    let (address, path) = (door.address().to_string(), path.to_owned());
    let options = TcpOptions { connect_max: Duration::from_millis(800), ..TcpOptions::default() };
    let on_machine = move |_| -> Option<PathBuf> { Some(path.clone()) };
    TcpWorkers::with_machine(Env::seeded(2), options, move |_| Some(address.clone()), on_machine)
}

/// Pushes a block, reads it back, and says how many connections came from this machine.
async fn came_from_machine(door: &Door, workers: &TcpWorkers) -> u64 {
    let api = workers.connect(me()).expect("known");
    let pushed = vec![block(1, attempt(0, 0), 0, 300_000)];
    soon("a push", api.push(pushed.clone())).await.expect("taken");
    let back = soon("a read", read(&api, 1, Some(&[attempt(0, 0)]))).await.expect("there");
    assert!(same(&back, &pushed));
    door.stats().on_machine
}

#[tokio::test]
async fn blocks_go_past_the_network_and_the_path_goes_with_the_door() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door");
    let door = open(in_memory(1 << 20), door_at(&path)).await;
    assert_eq!(came_from_machine(&door, &workers(&door, &path)).await, 1);
    door.close().await;
    let gone = async {
        while path.exists() {
            Env::seeded(1).sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the end of the path", gone).await;
}

#[tokio::test]
async fn a_path_that_is_gone_or_refuses_is_no_obstacle() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door");
    let door = open(in_memory(1 << 20), local()).await;
    assert_eq!(came_from_machine(&door, &workers(&door, &path)).await, 0);
    assert_eq!(door.stats().accepted, 1);
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert_eq!(came_from_machine(&door, &workers(&door, &path)).await, 0);
}

#[tokio::test]
async fn who_says_nothing_at_the_path_is_left_for_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door");
    let _silent = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let door = open(in_memory(1 << 20), local()).await;
    assert_eq!(came_from_machine(&door, &workers(&door, &path)).await, 0);
}

#[tokio::test]
async fn another_worker_at_the_path_is_not_taken_for_the_one_that_is_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door");
    let other = ProcessId::from_u128(78);
    let _other = Door::open(Env::seeded(1), door_at(&path), other, in_memory(1 << 20)).await;
    let door = open(in_memory(1 << 20), local()).await;
    assert_eq!(came_from_machine(&door, &workers(&door, &path)).await, 0);
}

#[tokio::test]
async fn a_door_without_a_path_that_can_be_used_is_open_all_the_same() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
    let door = open(in_memory(1 << 20), door_at(&long)).await;
    assert_eq!(came_from_machine(&door, &workers(&door, &long)).await, 0);
}
