//! One buffer for the rows of all partitions: by itself, and in a writer.

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::record_batch::RecordBatch;
use dunlin_base::{ByteCount, PartitionId};
use dunlin_proto::output::StageOutput;
use dunlin_shuffle_service::{Options, ShuffleWorker};
use futures::TryStreamExt;

use super::*;
use crate::read_partition;
use crate::sorted::{Sorted, split};

fn seventh(numbers: &[i64]) -> Vec<u32> {
    numbers.iter().map(|n| (n * n % 7) as u32).collect()
}

fn expected(numbers: &[i64], partition: u32) -> Vec<i64> {
    let all = numbers.iter().zip(seventh(numbers));
    all.filter(|(_, of)| *of == partition).map(|(n, _)| *n).collect()
}

#[test]
fn a_run_has_each_partition_in_order_and_cuts_large_ones() {
    let mut sorted = Sorted::default();
    let mut numbers = Vec::new();
    for from in [0, 400, 410, 1500] {
        let batch = data::rows(from, from + from / 5 + 1);
        let some = data::numbers(std::slice::from_ref(&batch));
        let (before, after) = (sorted.bytes(), sorted.add(batch, seventh(&some)));
        assert!(after > before);
        numbers.extend(some);
    }
    let mut run = sorted.take(9);
    assert_eq!(sorted.bytes(), 0);
    let mut groups = Vec::new();
    while let Some(chunk) = run.chunk(50) {
        let (rows, ranges) = chunk.expect("one schema");
        let cut = ranges.iter().map(|(id, range)| (*id, rows.slice(range.start, range.len())));
        groups.extend(cut);
    }
    assert!(groups.is_sorted_by_key(|(partition, _)| *partition));
    assert!(groups.iter().all(|(_, rows)| (1..=50).contains(&rows.num_rows())));
    for partition in 0..9 {
        let mine = groups.iter().filter(|(id, _)| *id == partition);
        let mine: Vec<_> = mine.map(|(_, rows)| rows.clone()).collect();
        assert_eq!(data::numbers(&mine), expected(&numbers, partition), "{partition}");
    }
}

#[test]
fn a_batch_is_split_with_the_order_kept() {
    let batch = data::rows(3, 90);
    let numbers = data::numbers(std::slice::from_ref(&batch));
    let groups = split(&batch, &seventh(&numbers), 9).expect("in range");
    assert_eq!(groups.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>(), 87);
    for (partition, rows) in groups {
        assert_eq!(data::numbers(&[rows]), expected(&numbers, partition));
    }
}

/// Writes `rows` rows by scattering batches over `partitions`, and reads all of them again.
async fn scattered(options: WriterOptions, rows: i64) -> (Vec<Vec<i64>>, usize) {
    let partitions = options.partitions;
    let worker = ShuffleWorker::new(Options::new(ByteCount::mib(64)), Env::seeded(1));
    let worker = worker.expect("no disk");
    let workers = LocalWorkers::new();
    workers.insert(process(1), Arc::clone(&worker) as Arc<dyn ShuffleApi>);
    let writer = writer_to(worker, process(1), options);
    let mut most = 0;
    for from in (0..rows).step_by(500) {
        let batch = data::rows(from, rows.min(from + 500));
        let to = |n: &i64| (n * 31 % i64::from(partitions)) as u32;
        let to = data::numbers(std::slice::from_ref(&batch)).iter().map(to).collect();
        writer.scatter(batch, to).await.expect("stored");
        most = most.max(writer.buffered_bytes());
    }
    let map = writer.finish().await.expect("stored");
    let map = map.into_map_output((0, 1), Attempt(1), shuffle().epoch);
    let output = Arc::new(StageOutput { maps: vec![map] });
    let mut read = Vec::new();
    for partition in (0..partitions).map(PartitionId) {
        let rows = read_partition(&workers, of(), partition, Arc::clone(&output), data::schema());
        read.push(data::numbers(&rows.try_collect::<Vec<_>>().await.expect("whole")));
    }
    (read, most)
}

#[tokio::test]
async fn many_partitions_take_one_buffer_and_no_more_than_it() {
    const ROWS: i64 = 15_000;
    let buffer_bytes = 512 << 10;
    for partitions in [3, 400] {
        let options = WriterOptions { buffer_bytes, block_rows: 1024, ..options(0, partitions) };
        let (read, most) = scattered(options, ROWS).await;
        for (partition, numbers) in (0..).zip(read) {
            let mine = (0..ROWS).filter(|n| n * 31 % i64::from(partitions) == partition);
            assert_eq!(numbers, mine.collect::<Vec<_>>(), "partition {partition} of {partitions}");
        }
        // Blocks that wait to be pushed come on top.
        let limit = buffer_bytes + (1 << 20);
        assert!(most > 0 && most <= limit, "{most} bytes for {partitions} partitions");
    }
}

#[tokio::test]
async fn a_writer_that_changes_to_one_buffer_keeps_the_order_of_rows() {
    let batch = |numbers: std::ops::Range<u32>, width: usize| {
        let texts = StringArray::from_iter_values(numbers.map(|n| format!("{n:0width$}")));
        let texts: ArrayRef = Arc::new(texts);
        RecordBatch::try_from_iter([("text", texts)]).expect("one column")
    };
    let schema = batch(0..1, 1).schema();
    let worker = ShuffleWorker::new(Options::new(ByteCount::mib(64)), Env::seeded(1));
    let worker = worker.expect("no disk");
    let workers = LocalWorkers::new();
    workers.insert(process(1), Arc::clone(&worker) as Arc<dyn ShuffleApi>);
    let options = WriterOptions {
        schema: Arc::clone(&schema),
        buffer_bytes: 256 << 10,
        block_rows: 1024,
        ..options(0, 4)
    };
    let writer = writer_to(worker, process(1), options);
    writer.write(PartitionId(3), batch(0..500, 1)).await.expect("gathered");
    assert!(!writer.layout.is_sorted(), "four buffers of narrow rows are small");
    for from in (500..6_000).step_by(100) {
        writer.scatter(batch(from..from + 100, 200), vec![3; 100]).await.expect("stored");
    }
    assert!(writer.layout.is_sorted(), "those of wide rows are not");
    let map = writer.finish().await.expect("stored");
    let map = map.into_map_output((0, 1), Attempt(1), shuffle().epoch);
    let output = Arc::new(StageOutput { maps: vec![map] });
    let rows = read_partition(&workers, of(), PartitionId(3), output, schema);
    let read: Vec<_> = rows.try_collect().await.expect("whole");
    let texts = read.iter().flat_map(|batch| batch.column(0).as_string::<i32>());
    let numbers: Vec<u32> = texts.flatten().map(|text| text.parse().expect("a number")).collect();
    assert_eq!(numbers, (0..6_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_gathered_is_pushed_when_memory_is_short() {
    for partitions in [2, 3_000] {
        let worker = ShuffleWorker::new(Options::new(ByteCount::mib(64)), Env::seeded(1));
        let worker = worker.expect("no disk");
        let writer = writer_to(Arc::clone(&worker) as _, process(1), options(0, partitions));
        let of = (0..1000).map(|n| n % partitions).collect();
        writer.scatter(data::rows(0, 1000), of).await.expect("gathered");
        assert!(writer.buffered_bytes() > 10_000 && worker.stats().blocks == 0);
        writer.relieve().await.expect("stored");
        assert_eq!(writer.buffered_bytes(), 0);
        assert_eq!(worker.stats().blocks, u64::from(partitions.min(1000)));
    }
}

#[tokio::test]
async fn rows_without_a_partition_of_the_shuffle_are_a_bug() {
    let worker = ShuffleWorker::new(Options::new(ByteCount::mib(1)), Env::seeded(1));
    let writer = writer_to(worker.expect("no disk"), process(1), options(0, 2));
    for of in [vec![0; 2], vec![0, 1, 2], vec![0; 4]] {
        let outcome = writer.scatter(data::rows(0, 3), of).await;
        assert_eq!(error(outcome).kind(), dunlin_base::Kind::Bug);
    }
}
