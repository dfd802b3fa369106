//! Two copies over real connections that break, and with a worker that is deaf in one direction: all
//! rows are right, in bounded time.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_trait::async_trait;
use dunlin_base::{Kind, PartitionId};
use dunlin_proto::output::{MapOutput, StageOutput};
use dunlin_proto::shuffle::Durability;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::network::{Fate, Network, Way};
use super::*;
use crate::{
    Candidate, Location, Placement, PushFault, ReadFault, Standing, place, read_partition,
};

const WORKERS: u128 = 3;
const PARTITIONS: u32 = 6;
const MAPS: u32 = 4;
const ROWS: i64 = 400;

/// Nothing here takes longer: no wait for a silence is over 2 s, and few follow one another.
const LONG: Duration = Duration::from_secs(60);

/// All workers, those that failed last in reserve.
#[derive(Default)]
struct Ranked(Mutex<BTreeSet<ProcessId>>);

#[async_trait]
impl Placement for Ranked {
    async fn locate(&self, partition: PartitionId, moves: u32) -> Result<Location> {
        let failed = self.0.lock();
        let live = (1..=WORKERS).map(process).filter(|id| !failed.contains(id));
        let new = |id| Candidate { id, host: String::new(), standing: Standing::Takes };
        let live: Vec<_> = live.map(new).collect();
        place(&live, of(), (partition, PARTITIONS), moves, 2).ok_or_else(|| Error::retry("none"))
    }

    fn failed(&self, worker: ProcessId) {
        let mut failed = self.0.lock();
        failed.insert(worker);
        if failed.len() as u128 > WORKERS - 2 {
            failed.clear();
            failed.insert(worker);
        }
    }
}

fn first_row(map: u32, partition: u32) -> i64 {
    i64::from(map * 1_000_000 + partition * 10_000)
}

/// One map; an attempt that fails for a reason of the workers is made again, as a task is.
async fn write(network: &Network, map: u32) -> MapOutput {
    for attempt in 1..20 {
        let attempt = Attempt(attempt);
        let options =
            WriterOptions { attempt, block_rows: 50, push_bytes: 4000, ..options(map, PARTITIONS) };
        let placement = Arc::new(Ranked::default());
        let writer = ShuffleWriter::new(Arc::clone(&network.clients) as _, placement, options);
        let written = async {
            for from in (0..ROWS).step_by(50) {
                for partition in 0..PARTITIONS {
                    let first = first_row(map, partition) + from;
                    writer.write(PartitionId(partition), data::rows(first, first + 50)).await?;
                }
            }
            writer.finish().await
        };
        match written.await {
            Ok(written) => {
                let twice = written.locations.iter().all(|at| at.peer.is_some());
                let level = written.durability.expect("something was pushed");
                assert!(twice || level == Durability::Memory, "no level without its copies");
                return written.into_map_output((map, 1), attempt, shuffle().epoch);
            }
            Err(error) => assert!(PushFault::of(&error).is_some(), "{error}"),
        }
    }
    panic!("no attempt of map {map} succeeded");
}

/// One partition; a slice that could not read is run again.
async fn read(network: &Network, output: &Arc<StageOutput>, partition: u32) -> Vec<i64> {
    for _ in 0..20 {
        let (id, output) = (PartitionId(partition), Arc::clone(output));
        let stream = read_partition(network.clients.as_ref(), of(), id, output, data::schema());
        match stream.try_collect::<Vec<_>>().await {
            Ok(batches) => return data::numbers(&batches),
            Err(error) => {
                assert!(matches!(error.kind(), Kind::Retry | Kind::Lost), "{error}");
                let fault = ReadFault::of(&error).expect("it says what is missing");
                assert!(!fault.all_gone(), "nobody is gone: {error}");
            }
        }
    }
    panic!("partition {partition} cannot be read");
}

/// Writes and reads all of it. How many connections broke.
async fn run(name: String, fate: impl Fn(usize, usize) -> Fate + Send + Sync + 'static) -> usize {
    let network = Network::start(WORKERS, fate).await;
    let all = async {
        let maps = futures::future::join_all((0..MAPS).map(|map| write(&network, map))).await;
        let output = Arc::new(StageOutput { maps });
        for partition in 0..PARTITIONS {
            let due: Vec<_> = (0..MAPS)
                .map(|map| first_row(map, partition))
                .flat_map(|first| first..first + ROWS)
                .collect();
            assert_eq!(read(&network, &output, partition).await, due, "{name}: {partition}");
        }
    };
    let done = Env::seeded(1).timeout(LONG, all).await;
    done.unwrap_or_else(|| panic!("{name} hangs"));
    network.broken.load(SeqCst)
}

fn some(chance: &Env) -> (Way, usize) {
    let way = [Way::ToWorker, Way::ToClient][chance.random_below(2) as usize];
    // Pushes of a few kilobytes, answers of some dozens of bytes.
    let most = if way == Way::ToWorker { 60_000 } else { 3000 };
    (way, chance.random_below(most) as usize)
}

#[tokio::test]
async fn connections_that_break_all_the_time_cost_no_row_of_two_copies() {
    let runs = stream::iter(0..16_u64).map(|seed| async move {
        let chance = Env::seeded(seed);
        // Each worker's first connections, until one lives.
        let fate = move |_, number| {
            if number < 6 && chance.random_below(4) > 0 {
                let (way, at) = some(&chance);
                Fate::Cut(way, at)
            } else {
                Fate::Whole
            }
        };
        run(format!("seed {seed}"), fate).await
    });
    let broken: Vec<_> = runs.buffer_unordered(4).collect().await;
    assert!(broken.iter().sum::<usize>() > 16, "{broken:?} connections broke");
}

#[tokio::test]
async fn a_worker_that_is_deaf_in_one_direction_costs_time_and_no_row_of_two_copies() {
    let runs = stream::iter(0..6_u64).map(|seed| async move {
        let chance = Env::seeded(100 + seed);
        let sick = seed as usize % WORKERS as usize;
        let way = [Way::ToWorker, Way::ToClient][seed as usize / 3];
        let at = 200 + chance.random_below(8000) as usize;
        // The others' connections break at times, too.
        let fate = move |worker, number| match (worker == sick, number) {
            (true, _) => Fate::Deaf(way, at),
            (false, 0) => {
                let (way, at) = some(&chance);
                Fate::Cut(way, at)
            }
            (false, _) => Fate::Whole,
        };
        run(format!("seed {seed}, worker {sick} deaf {way:?} from {at} on"), fate).await
    });
    let broken: Vec<_> = runs.buffer_unordered(6).collect().await;
    assert!(broken.iter().all(|count| *count > 0), "{broken:?} connections broke");
}
