//! Connections are those of workers, however many maps push and partitions are read.

use std::collections::HashMap;

use dunlin_base::ProcessId;
use dunlin_proto::shuffle::Peers;
use dunlin_proto::shuffle::{Durability, Push, Pushed};
use dunlin_shuffle::{TcpOptions, TcpWorkers, Workers};
use dunlin_shuffle_service::Door;
use futures::future::try_join_all;

use crate::bed::{local, soon};
use crate::*;

const WORKERS: u32 = 3;
const MAPS: u32 = 50;
const PARTITIONS: u32 = 200;

fn process(n: u32) -> ProcessId {
    ProcessId::from_u128(u128::from(n) + 1)
}

struct Cluster {
    doors: Vec<Door>,
    /// As the executor reaches them.
    workers: TcpWorkers,
    /// As each worker reaches the others.
    peers: Vec<Arc<Links>>,
}

struct Links(TcpWorkers);

impl Peers for Links {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.0.connect(id)
    }
}

async fn cluster() -> Cluster {
    let (mut doors, mut all, mut addresses) = (Vec::new(), Vec::new(), HashMap::new());
    for n in 0..WORKERS {
        let worker = in_memory(64 << 20);
        let door = Door::open(Env::seeded(1), local(), process(n), Arc::clone(&worker) as _);
        let door = door.await.expect("a free port");
        addresses.insert(process(n), door.address().to_string());
        doors.push(door);
        all.push(worker);
    }
    let links = || {
        let addresses = addresses.clone();
        let lookup = move |id: ProcessId| addresses.get(&id).cloned();
        TcpWorkers::new(Env::seeded(2), TcpOptions::default(), lookup)
    };
    let mut peers = Vec::new();
    for worker in &all {
        let link = Arc::new(Links(links()));
        worker.set_peers(Arc::clone(&link) as _);
        peers.push(link);
    }
    Cluster { doors, workers: links(), peers }
}

fn accepted(cluster: &Cluster) -> Vec<u64> {
    cluster.doors.iter().map(|door| door.stats().accepted).collect()
}

#[tokio::test]
async fn many_maps_and_partitions_share_one_connection_to_each_worker() {
    let cluster = cluster().await;
    let home = |partition: u32| partition % WORKERS;
    // A task asks for the worker anew each time, as writers and readers do.
    let push = async |map: u32, copies: u32| {
        for worker in 0..WORKERS {
            let mine = (0..PARTITIONS).filter(|partition| home(*partition) == worker);
            let blocks: Vec<_> = mine.map(|p| block(p, attempt(map, 0), 0, 50)).collect();
            let peer = (copies == 2).then(|| process((worker + 1) % WORKERS));
            let api = cluster.workers.connect(process(worker))?;
            let pushed = api.store(Push { peer, ..Push::plain(blocks) }).await?;
            let level = if copies == 2 { Durability::Twice } else { Durability::Memory };
            assert!(matches!(pushed, Pushed::Stored(ack) if ack.durability == level));
        }
        Ok::<_, Error>(())
    };
    let pushes = try_join_all((0..MAPS).map(|map| push(map, 1)));
    soon("the pushes", pushes).await.expect("taken");
    assert_eq!(cluster.workers.connections(), WORKERS as usize);
    assert_eq!(accepted(&cluster), [1; WORKERS as usize]);

    let maps: Vec<_> = (0..MAPS).map(|map| attempt(map, 0)).collect();
    let reads = try_join_all((0..PARTITIONS).map(|partition| {
        let api = cluster.workers.connect(process(home(partition))).expect("known");
        let maps = &maps;
        async move { read(&api, partition, Some(maps)).await }
    }));
    let blocks = soon("the reads", reads).await.expect("all there");
    assert!(blocks.iter().all(|blocks| blocks.len() == MAPS as usize));
    assert_eq!(cluster.workers.connections(), WORKERS as usize);
    assert_eq!(accepted(&cluster), [1; WORKERS as usize], "none was made anew");

    // Second copies go over one more for each worker and its peer.
    let pushes = try_join_all((MAPS..2 * MAPS).map(|map| push(map, 2)));
    soon("the pushes", pushes).await.expect("taken");
    assert_eq!(accepted(&cluster), [2; WORKERS as usize]);
    assert!(cluster.peers.iter().all(|links| links.0.connections() == 1));
}
