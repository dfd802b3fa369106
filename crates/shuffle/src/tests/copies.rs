//! Writers and readers with several workers: splits, second copies, workers that refuse, fail and
//! die. Whatever happens, the rows are right or the error says that they are lost.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use dunlin_base::{ByteCount, Kind, PartitionId};
use dunlin_proto::block::Block;
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::shuffle::{
    Ack, BlockStream, Durability, MapAttempt, Peers, Push, Pushed, ReadRequest, Refusal,
};
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::*;
use crate::{
    Candidate, Location, Placement, PushFault, ReadFault, Standing, Workers, place, read_partition,
};

const WORKERS: u128 = 4;
const PARTITIONS: u32 = 6;

/// A worker that does at random what workers may do.
struct Moody {
    inner: Arc<ShuffleWorker>,
    env: Env,
    /// One in so many pushes meets each kind of trouble; 0: none.
    trouble: u64,
    dead: Arc<AtomicBool>,
    /// As a peer it hears nothing, or is not heard.
    silence: Mutex<Option<Silence>>,
}

#[derive(Clone, Copy, Debug)]
enum Silence {
    Deaf,
    Mute,
}

impl Moody {
    fn alive(&self) -> Result<()> {
        match self.dead.load(SeqCst) {
            true => Err(Error::retry("it does not answer")),
            false => Ok(()),
        }
    }

    fn chance(&self) -> bool {
        self.trouble > 0 && self.env.random_below(self.trouble) == 0
    }
}

#[async_trait]
impl ShuffleApi for Moody {
    async fn push(&self, blocks: Vec<Block>) -> Result<()> {
        self.alive()?;
        self.inner.push(blocks).await
    }

    async fn store(&self, push: Push) -> Result<Pushed> {
        self.alive()?;
        let silence = *self.silence.lock();
        // A second copy comes so.
        if let Some(silence) = silence.filter(|_| push.last_resort && push.peer.is_none()) {
            if matches!(silence, Silence::Mute) {
                self.inner.store(push).await?;
            }
            return std::future::pending().await;
        }
        let some = push.blocks.first().map(|block| block.id.partition);
        if self.chance() && !push.last_resort {
            return Ok(Pushed::Refused(Refusal::Large, some.into_iter().collect()));
        }
        if self.chance() {
            return Err(Error::retry("the connection broke before the push arrived"));
        }
        let (unheard, moves) = (self.chance(), self.chance());
        let pushed = self.inner.store(push).await?;
        if unheard {
            return Err(Error::retry("the connection broke before the answer came"));
        }
        Ok(match pushed {
            Pushed::Stored(ack) if moves => {
                Pushed::Stored(Ack { moves: some.into_iter().collect(), ..ack })
            }
            other => other,
        })
    }

    async fn seal(&self, shuffle: ShuffleId) -> Result<()> {
        self.inner.seal(shuffle).await
    }

    async fn read(&self, request: ReadRequest) -> Result<BlockStream> {
        self.alive()?;
        let dead = Arc::clone(&self.dead);
        let alive = move |block| match dead.load(SeqCst) {
            true => Err(Error::retry("the connection broke")),
            false => block,
        };
        Ok(self.inner.read(request).await?.map(alive).boxed())
    }

    async fn discard(&self, shuffle: ShuffleId, attempt: MapAttempt) -> Result<()> {
        self.alive()?;
        self.inner.discard(shuffle, attempt).await
    }

    async fn delete_query(&self, query: QueryId) -> Result<()> {
        self.inner.delete_query(query).await
    }

    async fn shuffles(&self) -> Result<Vec<ShuffleId>> {
        self.inner.shuffles().await
    }
}

/// All workers of one test, as everybody reaches them.
struct Cluster {
    local: LocalWorkers,
    workers: Vec<Arc<Moody>>,
}

impl Workers for Cluster {
    fn connect(&self, worker: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.local.connect(worker)
    }
}

impl Peers for Cluster {
    fn peer(&self, id: ProcessId) -> Result<Arc<dyn ShuffleApi>> {
        self.local.connect(id)
    }
}

impl Cluster {
    fn new(env: &Env, trouble: u64, options: &Options) -> Arc<Self> {
        let local = LocalWorkers::new();
        let new = |id| {
            let inner = ShuffleWorker::new(options.clone(), env.clone()).expect("no disk");
            let dead = Arc::new(AtomicBool::new(false));
            let worker = Arc::new(Moody {
                inner,
                env: env.clone(),
                trouble,
                dead,
                silence: Mutex::default(),
            });
            local.insert(process(id), Arc::clone(&worker) as _);
            worker
        };
        let workers = (1..=WORKERS).map(new).collect();
        let cluster = Arc::new(Self { local, workers });
        for worker in &cluster.workers {
            worker.inner.set_peers(Arc::clone(&cluster) as _);
        }
        cluster
    }

    /// One dies: it is gone, or only does not answer.
    fn kill(&self, nth: usize, gone: bool) {
        self.workers[nth].dead.store(true, SeqCst);
        if gone {
            self.local.remove(process(nth as u128 + 1));
        }
    }
}

struct Ranked {
    copies: u32,
    failed: Mutex<Vec<ProcessId>>,
}

#[async_trait]
impl Placement for Ranked {
    async fn locate(&self, partition: PartitionId, moves: u32) -> Result<Location> {
        let failed = self.failed.lock();
        let all = (1..=WORKERS).map(process).filter(|id| !failed.contains(id));
        let new = |id| Candidate { id, host: String::new(), standing: Standing::Takes };
        let all: Vec<_> = all.map(new).collect();
        place(&all, of(), (partition, PARTITIONS), moves, self.copies)
            .ok_or_else(|| Error::retry("no worker"))
    }

    fn failed(&self, worker: ProcessId) {
        // Not the last two: somebody has to take the rows.
        let mut failed = self.failed.lock();
        if failed.len() + 2 < WORKERS as usize && !failed.contains(&worker) {
            failed.push(worker);
        }
    }
}

fn rows_of(map: u32, partition: u32) -> Vec<i64> {
    (0..40).map(|n| i64::from(map * 100_000 + partition * 1000 + n)).collect()
}

/// Writes one map; an attempt that fails for a reason of the workers is made again, as a task is.
async fn write(cluster: &Arc<Cluster>, map: u32, copies: u32) -> MapOutput {
    for attempt in 1..200 {
        let attempt = Attempt(attempt);
        let placement = Arc::new(Ranked { copies, failed: Mutex::default() });
        let options =
            WriterOptions { attempt, block_rows: 8, push_bytes: 600, ..options(map, PARTITIONS) };
        let writer = ShuffleWriter::new(Arc::clone(cluster) as _, placement, options);
        let written = async {
            for from in (0..40).step_by(8) {
                for partition in 0..PARTITIONS {
                    let first = rows_of(map, partition)[0] + from;
                    writer.write(PartitionId(partition), data::rows(first, first + 8)).await?;
                }
            }
            writer.finish().await
        };
        match written.await {
            Ok(written) => {
                let durability = written.durability.expect("something was pushed");
                let twice = written.locations.iter().all(|at| at.peer.is_some());
                assert!(twice || durability == Durability::Memory, "no level without its copies");
                return written.into_map_output((map, 1), attempt, shuffle().epoch);
            }
            Err(error) => assert!(PushFault::of(&error).is_some(), "{error}"),
        }
    }
    panic!("no attempt succeeded");
}

async fn read(
    cluster: &Cluster,
    output: &Arc<StageOutput>,
    partition: u32,
) -> Result<Vec<RecordBatch>> {
    let id = PartitionId(partition);
    read_partition(cluster, of(), id, Arc::clone(output), data::schema()).try_collect().await
}

/// True if some copy of each of a partition's blocks is with a worker that lives.
fn is_there(cluster: &Cluster, output: &StageOutput, partition: u32) -> bool {
    let lives = |id: &String| {
        let nth = (1..=WORKERS).position(|n| process(n).to_string() == *id);
        nth.is_some_and(|nth| !cluster.workers[nth].dead.load(SeqCst))
    };
    output.maps.iter().all(|map| {
        let written = map.partitions.iter().find(|p| p.partition == partition).expect("has rows");
        let indices: Vec<_> = match written.parts.is_empty() {
            true => vec![written.location],
            false => written.parts.iter().map(|part| part.location).collect(),
        };
        let mut at = indices.iter().map(|index| &map.locations[*index as usize]);
        at.all(|at| lives(&at.worker) || lives(&at.peer))
    })
}

#[tokio::test(start_paused = true)]
async fn rows_are_right_or_lost_whatever_workers_do() {
    let (mut whole, mut lost, mut split) = (0, 0, 0);
    for seed in 0..150 {
        let env = Env::seeded(seed);
        let copies = 1 + (seed % 2) as u32;
        let options = Options { split_soft: ByteCount(3000), ..Options::new(ByteCount::mib(8)) };
        // With one copy each failed push after the first ends the attempt.
        let trouble = [0, if copies == 1 { 100 } else { 30 }, if copies == 1 { 60 } else { 8 }];
        let cluster = Cluster::new(&env, trouble[seed as usize % 3], &options);
        let mut maps = Vec::new();
        for map in 0..4 {
            maps.push(write(&cluster, map, copies).await);
        }
        let parts = maps.iter().flat_map(|map| &map.partitions).filter(|p| !p.parts.is_empty());
        split += parts.count();
        for _ in 0..env.random_below(3) {
            let nth = env.random_below(WORKERS as u64) as usize;
            cluster.kill(nth, env.random_below(2) == 0);
        }
        let output = Arc::new(StageOutput { maps });
        for partition in 0..PARTITIONS {
            let all: Vec<_> = (0..4).flat_map(|map| rows_of(map, partition)).collect();
            let there = is_there(&cluster, &output, partition);
            match read(&cluster, &output, partition).await {
                Ok(rows) => {
                    assert!(there, "seed {seed}: rows of the dead");
                    assert_eq!(data::numbers(&rows), all, "seed {seed} partition {partition}");
                    whole += 1;
                }
                Err(error) => {
                    assert!(!there, "seed {seed}: a living copy was not read: {error}");
                    assert!(matches!(error.kind(), Kind::Lost | Kind::Retry), "{error}");
                    let fault = ReadFault::of(&error).expect("it says what is missing");
                    assert!(!fault.holders.is_empty() && !fault.maps.is_empty());
                    lost += 1;
                }
            }
        }
    }
    assert!(whole > 400 && lost > 20 && split > 200, "{whole} whole, {lost} lost, {split} split");
}

#[tokio::test]
async fn the_second_copy_is_read_from_the_block_on_that_is_due() {
    let env = Env::seeded(3);
    let cluster = Cluster::new(&env, 0, &Options::new(ByteCount::mib(8)));
    let map = write(&cluster, 0, 2).await;
    let location = map.locations[map.partitions[0].location as usize].clone();
    let primary = (1..=WORKERS).position(|n| process(n).to_string() == location.worker);
    let output = Arc::new(StageOutput { maps: vec![map] });
    let partition = output.maps[0].partitions[0].partition;
    let id = PartitionId(partition);
    let stream = read_partition(cluster.as_ref(), of(), id, Arc::clone(&output), data::schema());
    let mut stream = std::pin::pin!(stream);
    let first = stream.try_next().await.expect("readable").expect("rows");
    cluster.kill(primary.expect("one of them"), true);
    let rest: Vec<_> = stream.try_collect().await.expect("the other copy");
    let rows: Vec<_> = std::iter::once(first).chain(rest).collect();
    assert_eq!(data::numbers(&rows), rows_of(0, partition));
}

/// Writes while the first choice for a second copy behaves as told, and reads all of it.
async fn write_beside(seed: u64, peer_is: impl Fn(&Cluster, usize)) -> (Arc<Cluster>, Duration) {
    let env = Env::seeded(seed);
    let cluster = Cluster::new(&env, 0, &Options::new(ByteCount::mib(8)));
    let ranked = Ranked { copies: 2, failed: Mutex::default() };
    let at = ranked.locate(PartitionId(0), 0).await.expect("workers");
    let peer = at.peer.expect("two copies");
    let nth = (1..=WORKERS).position(|n| process(n) == peer).expect("one of them");
    peer_is(&cluster, nth);
    let began = env.now();
    let map = write(&cluster, 0, 2).await;
    let took = env.now() - began;
    assert!(map.locations.iter().all(|l| l.peer != peer.to_string() && !l.peer.is_empty()));
    let output = Arc::new(StageOutput { maps: vec![map] });
    let rows = read(&cluster, &output, 0).await.expect("whole");
    assert_eq!(data::numbers(&rows), rows_of(0, 0));
    (cluster, took)
}

fn peer_failures(cluster: &Cluster) -> u64 {
    cluster.workers.iter().map(|worker| worker.inner.stats().peer_failures).sum()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_with_errors_is_replaced() {
    let (cluster, took) = write_beside(4, |cluster, nth| cluster.kill(nth, false)).await;
    assert!(peer_failures(&cluster) > 0 && took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_peer_that_is_silent() {
    for silence in [Silence::Deaf, Silence::Mute] {
        let silent = |cluster: &Cluster, nth: usize| {
            *cluster.workers[nth].silence.lock() = Some(silence);
        };
        let (cluster, took) = write_beside(4, silent).await;
        assert!(peer_failures(&cluster) > 0, "{silence:?}");
        // Each of the workers that push at once may wait for it once.
        let wait = Options::new(ByteCount::mib(8)).peer_wait;
        assert!((wait..wait * 4).contains(&took), "{silence:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_drains_is_replaced() {
    let drains = |cluster: &Cluster, nth: usize| cluster.workers[nth].inner.drain();
    let (cluster, took) = write_beside(4, drains).await;
    assert!(peer_failures(&cluster) > 0 && took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_worker_that_drains_refuses_and_goes_on_serving() {
    let env = Env::seeded(5);
    let cluster = Cluster::new(&env, 0, &Options::new(ByteCount::mib(8)));
    let before = write(&cluster, 0, 1).await;
    cluster.workers[0].inner.drain();
    let after = write(&cluster, 1, 1).await;
    let name = process(1).to_string();
    assert!(after.locations.iter().all(|at| at.worker != name));
    let output = Arc::new(StageOutput { maps: vec![before, after] });
    for partition in 0..PARTITIONS {
        let rows = read(&cluster, &output, partition).await.expect("whole");
        let all: Vec<_> = (0..2).flat_map(|map| rows_of(map, partition)).collect();
        assert_eq!(data::numbers(&rows), all);
    }
}

/// Always the same two.
struct SameTwo;

#[async_trait]
impl Placement for SameTwo {
    async fn locate(&self, _: PartitionId, _: u32) -> Result<Location> {
        Ok(Location { worker: process(1), peer: Some(process(2)) })
    }
}

#[tokio::test]
async fn what_was_pushed_as_a_last_resort_is_said_to_have_one_copy() {
    let env = Env::seeded(6);
    let options = Options { split_hard: ByteCount(500), ..Options::new(ByteCount::mib(8)) };
    let cluster = Cluster::new(&env, 0, &options);
    let options = WriterOptions { block_rows: 8, push_bytes: 1, ..super::options(0, 1) };
    let attempt = options.attempt;
    let writer = ShuffleWriter::new(Arc::clone(&cluster) as _, Arc::new(SameTwo), options);
    let all = rows_of(0, 0);
    for from in (0..40).step_by(8) {
        let rows = data::rows(all[from], all[from] + 8);
        writer.write(PartitionId(0), rows).await.expect("taken, with one copy if need be");
    }
    let written = writer.finish().await.expect("all is taken");
    assert_eq!(written.durability, Some(Durability::Memory), "the level of the last blocks");
    let output = written.into_map_output((0, 1), attempt, shuffle().epoch);
    let copies: u32 = output.partitions[0]
        .parts
        .iter()
        .filter(|part| !output.locations[part.location as usize].peer.is_empty())
        .map(|part| part.blocks)
        .sum();
    assert!((1..5).contains(&copies), "some blocks came before the threshold: {output:?}");
    let maps = vec![MapAttempt { map: 0, attempt }];
    let request = ReadRequest { shuffle: shuffle(), partition: PartitionId(0), maps: Some(maps) };
    let second = cluster.workers[1].inner.read(request).await.expect("known there");
    let second: Vec<_> = second.try_collect().await.expect("readable");
    assert_eq!(second.len() as u32, copies, "the second worker has what is said of it, no more");
}
