//! Writers, the real worker with little memory, and readers.

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::output::StageOutput;
use dunlin_proto::shuffle::ShuffleApi;
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::TryStreamExt;
use futures::future::try_join_all;
use proptest::prelude::*;

use super::*;
use crate::{Encoding, LocalWorkers, read_partition};

const PARTITIONS: u32 = 3;

/// What one map task writes: (partition, rows) for each batch, and where.
#[derive(Clone, Debug)]
struct Task {
    batches: Vec<(u32, usize)>,
    worker: u128,
    inline: bool,
    encoding: usize,
    /// A first attempt that wrote something and never finished.
    loser: bool,
}

fn task() -> impl Strategy<Value = Task> {
    let rows = prop_oneof![6 => 0..40_usize, 1 => 100..700_usize];
    let batches = prop::collection::vec((0..PARTITIONS, rows), 0..25);
    (batches, 1..3_u128, any::<bool>(), 0..4_usize, any::<bool>()).prop_map(
        |(batches, worker, inline, encoding, loser)| Task {
            batches,
            worker,
            inline,
            encoding,
            loser,
        },
    )
}

fn batches(map: u32, task: &Task) -> Vec<(PartitionId, RecordBatch)> {
    // Slices of one big batch: what a partitioner hands out.
    let total: usize = task.batches.iter().map(|(_, rows)| rows).sum();
    let first = i64::from(map) * 100_000;
    let parent = data::rows(first, first + total as i64);
    let mut from = 0;
    let cut = |(partition, rows): &(u32, usize)| {
        from += rows;
        (PartitionId(*partition), parent.slice(from - rows, *rows))
    };
    task.batches.iter().map(cut).collect()
}

async fn run(tasks: &[Task], directory: &std::path::Path) -> (LocalWorkers, StageOutput) {
    let workers = LocalWorkers::new();
    for id in 1..3 {
        let folder = directory.join(id.to_string());
        let options = Options::in_folder(ByteCount(100_000), folder);
        let worker = ShuffleWorker::new(options, Env::seeded(1)).expect("a usable directory");
        workers.insert(process(id), worker);
    }
    let tasks = (0..).zip(tasks).map(|(map, task)| write(&workers, map, task));
    let maps = try_join_all(tasks).await.expect("all written");
    (workers, StageOutput { maps })
}

async fn write(
    workers: &LocalWorkers,
    map: u32,
    task: &Task,
) -> Result<dunlin_proto::output::MapOutput> {
    use crate::Workers;
    let id = process(task.worker);
    let api: Arc<dyn ShuffleApi> = workers.connect(id)?;
    let inline_max = if task.inline { 30_000 } else { 0 };
    let encodings = [Encoding::Plain, Encoding::Lz4, Encoding::Zstd, Encoding::Auto];
    let options = WriterOptions {
        encoding: encodings[task.encoding],
        inline_max,
        block_rows: 64,
        push_bytes: 8_000,
        ..options(map, PARTITIONS)
    };
    if task.loser {
        let options = WriterOptions { attempt: Attempt(0), push_bytes: 1, ..options.clone() };
        let loser = writer_to(Arc::clone(&api), id, options);
        loser.write(PartitionId(0), data::rows(0, 64)).await?;
    }
    let writer = writer_to(api, id, options);
    for (partition, batch) in batches(map, task) {
        writer.write(partition, batch).await?;
    }
    let written = writer.finish().await?;
    Ok(written.into_map_output((map, 1), Attempt(1), shuffle().epoch))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_map_by_map_in_order(tasks in prop::collection::vec(task(), 1..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a place to write");
        runtime.block_on(async {
            let (workers, output) = run(&tasks, directory.path()).await;
            let output = Arc::new(output);
            for partition in (0..PARTITIONS).map(PartitionId) {
                let read = read_partition(
                    &workers, of(), partition, Arc::clone(&output), data::schema());
                let read: Vec<_> = read.try_collect().await.expect("whole");
                let written = (0..).zip(&tasks).flat_map(|(map, task)| batches(map, task));
                let written: Vec<_> = written
                    .filter(|(to, _)| *to == partition).map(|(_, batch)| batch).collect();
                let concat = |b: &[RecordBatch]| concat_batches(&data::schema(), b).expect("fits");
                assert_eq!(concat(&read), concat(&written));
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_streams_write_to_one_writer_at_once() {
    let env = Env::seeded(1);
    let worker =
        ShuffleWorker::new(Options::new(ByteCount::mib(64)), env.clone()).expect("no disk");
    let workers = LocalWorkers::new();
    workers.insert(process(1), Arc::clone(&worker) as Arc<dyn ShuffleApi>);
    let options = WriterOptions { block_rows: 100, push_bytes: 10_000, ..options(0, 2) };
    let writer = Arc::new(writer_to(worker, process(1), options));
    let streams = (0..4_i64).map(|stream| {
        let writer = Arc::clone(&writer);
        env.spawn("writer", async move {
            for n in (0..2000).step_by(20) {
                let rows = data::rows(stream * 10_000 + n, stream * 10_000 + n + 20);
                writer.write(PartitionId((n / 20 % 2) as u32), rows).await?;
            }
            Ok::<_, Error>(())
        })
    });
    for stream in streams.collect::<Vec<_>>() {
        stream.join().await.expect("no panic").expect("stored");
    }
    let writer = Arc::into_inner(writer).expect("all streams have ended");
    let map =
        writer.finish().await.expect("stored").into_map_output((0, 1), Attempt(1), shuffle().epoch);
    let output = Arc::new(StageOutput { maps: vec![map] });
    for partition in 0..2 {
        let id = PartitionId(partition);
        let read = read_partition(&workers, of(), id, Arc::clone(&output), data::schema());
        let numbers = data::numbers(&read.try_collect::<Vec<_>>().await.expect("whole"));
        for stream in 0..4_i64 {
            let mine: Vec<_> = numbers.iter().filter(|n| **n / 10_000 == stream).copied().collect();
            let expected = (0..2000).filter(|n| n / 20 % 2 == i64::from(partition));
            let expected: Vec<_> = expected.map(|n| stream * 10_000 + n).collect();
            assert_eq!(mine, expected, "stream {stream} keeps its order");
        }
    }
}
