//! A writer and two workers, at one of which pushes wait: nothing more goes there until they have
//! ended, and the other one gets what is its own.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::shuffle::{BlockStream, Hear, MapAttempt, Push, Pushed, ReadRequest, Wait};
use dunlin_shuffle_service::{Door, DoorOptions, Options, ShuffleWorker};
use tokio::sync::Semaphore;

use super::*;
use crate::{Location, Placement, TcpOptions, TcpWorkers, Traffic, TrafficStats, Workers};

/// A worker whose pushes wait, and say so, while its gate is shut.
struct Gated {
    inner: Arc<ShuffleWorker>,
    came: AtomicUsize,
    gate: Semaphore,
}

impl Gated {
    fn new(open: bool) -> Arc<Self> {
        let options = Options::new(ByteCount::mib(64));
        let inner = ShuffleWorker::new(options, Env::seeded(1)).expect("no disk");
        let gate = Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 });
        Arc::new(Self { inner, came: AtomicUsize::new(0), gate })
    }

    fn came(&self) -> usize {
        self.came.load(SeqCst)
    }
}

#[async_trait]
impl ShuffleApi for Gated {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.inner.push(blocks).await
    }

    async fn store_heard(&self, push: Push, hear: Arc<dyn Hear>) -> Result<Pushed> {
        self.came.fetch_add(1, SeqCst);
        if self.gate.available_permits() == 0 {
            hear.waits(Wait::Memory);
            hear.waits(Wait::Peer);
        }
        drop(self.gate.acquire().await);
        self.inner.store(push).await
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.inner.seal(shuffle).await
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.inner.read(request).await
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.inner.discard(shuffle, attempt).await
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        self.inner.delete_query(query).await
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        self.inner.shuffles().await
    }
}

/// Partition `n` to worker `n`.
struct Each;

#[async_trait]
impl Placement for Each {
    async fn locate(&self, partition: PartitionId, _: u32) -> Result<Location> {
        Ok(Location::one(process(u128::from(partition.0))))
    }
}

/// Two workers, the first with its gate shut, and the way to them.
struct Pair {
    workers: [Arc<Gated>; 2],
    reached: Arc<dyn Workers>,
    _doors: Vec<Door>,
}

impl Pair {
    fn in_process() -> Self {
        let workers = [Gated::new(false), Gated::new(true)];
        let local = LocalWorkers::new();
        for (id, worker) in (0..).zip(&workers) {
            local.insert(process(id), Arc::clone(worker) as _);
        }
        Self { workers, reached: Arc::new(local), _doors: Vec::new() }
    }

    async fn over_tcp() -> Self {
        let workers = [Gated::new(false), Gated::new(true)];
        let mut doors = Vec::new();
        for (id, worker) in (0..).zip(&workers) {
            let (options, api) = (DoorOptions::new("127.0.0.1:0"), Arc::clone(worker) as _);
            let door = Door::open(Env::seeded(1), options, process(id), api).await;
            doors.push(door.expect("a free port"));
        }
        let addresses: Vec<_> = doors.iter().map(|door| door.address().to_string()).collect();
        let lookup = move |id: ProcessId| addresses.get(id.to_u128() as usize).cloned();
        let clients = TcpWorkers::new(Env::seeded(2), TcpOptions::default(), lookup);
        Self { workers, reached: Arc::new(clients), _doors: doors }
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let env = Env::seeded(1);
    let wait = async {
        while !condition() {
            env.sleep(Duration::from_millis(1)).await;
        }
    };
    env.timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|| panic!("no {what}"));
}

/// Writes one block to a partition; each is large enough for a push.
async fn write(writer: &ShuffleWriter, partition: u32, block: i64) {
    let rows = data::rows(64 * block, 64 * block + 64);
    writer.write(PartitionId(partition), rows).await.expect("taken");
}

async fn goes_on_elsewhere_and_comes_back(pair: Pair) {
    let traffic = Arc::new(Traffic::new(Env::seeded(1)));
    let options = WriterOptions {
        block_rows: 64,
        push_bytes: 1_000,
        in_flight_max: 1 << 20,
        traffic: Some(Arc::clone(&traffic)),
        // Of themselves, whoever waits for them.
        pushes_on: Some(Env::seeded(3)),
        ..options(0, 2)
    };
    let writer = ShuffleWriter::new(Arc::clone(&pair.reached), Arc::new(Each), options);
    let [shut, other] = &pair.workers;
    write(&writer, 0, 0).await;
    until("word", || traffic.stats().paused_now == 1).await;
    for block in 1..=20 {
        write(&writer, 0, block).await;
        write(&writer, 1, block).await;
    }
    until("pushes elsewhere", || other.came() == 20).await;
    assert_eq!(shut.came(), 1, "nothing more goes to a worker at which a push waits");
    let TrafficStats { pauses, paused_now, .. } = traffic.stats();
    assert_eq!((pauses, paused_now), (1, 1), "one push, however often it is said");
    shut.gate.add_permits(1000);
    writer.relieve().await.expect("stored");
    assert_eq!((shut.came(), other.came()), (21, 20));
    let TrafficStats { pauses, paused_now, paused_us, .. } = traffic.stats();
    assert_eq!((pauses, paused_now), (1, 0));
    assert!(paused_us > 0);
    let written = writer.finish().await.expect("all is stored");
    assert_eq!(
        written.partitions.iter().map(|one| one.rows).collect::<Vec<_>>(),
        [21 * 64, 20 * 64]
    );
}

#[tokio::test]
async fn a_worker_at_which_a_push_waits_is_left_alone_until_it_has_ended() {
    goes_on_elsewhere_and_comes_back(Pair::in_process()).await;
}

#[tokio::test]
async fn and_so_is_one_behind_a_door() {
    goes_on_elsewhere_and_comes_back(Pair::over_tcp().await).await;
}

#[tokio::test]
async fn who_gives_up_a_push_that_waits_leaves_nothing_paused() {
    let pair = Pair::in_process();
    let traffic = Arc::new(Traffic::new(Env::seeded(1)));
    let options =
        WriterOptions { push_bytes: 1, traffic: Some(Arc::clone(&traffic)), ..options(0, 2) };
    let writer = ShuffleWriter::new(Arc::clone(&pair.reached), Arc::new(Each), options);
    write(&writer, 0, 0).await;
    let relieved = Env::seeded(1).timeout(Duration::from_millis(1), writer.relieve()).await;
    assert!(relieved.is_none(), "it waits");
    assert_eq!(traffic.stats().paused_now, 1);
    drop(writer);
    assert_eq!((traffic.stats().paused_now, traffic.stats().pauses), (0, 1));
}
