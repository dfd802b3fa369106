//! A writer whose worker acknowledges in the object store and dies, and a reader of what it wrote at the
//! worker that adopts it.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use dunlin_base::{
    Attempt, ByteCount, Env, Error, Kind, PartitionId, ProcessId, QueryId, Result, StageEpoch,
    StageId,
};
use dunlin_proto::block::ShuffleId;
use dunlin_proto::output::StageOutput;
use dunlin_shuffle::{
    LocalWorkers, OneWorker, ReadFault, ShuffleWriter, WriterOptions, read_partition,
};
use dunlin_shuffle_service::{ObjectOptions, Options, ShuffleWorker, Tier};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// The worker that writes.
fn x() -> ProcessId {
    ProcessId::from_u128(7)
}

fn worker(store: &Arc<InMemory>, name: &str, env: &Env) -> Arc<ShuffleWorker> {
    let options = Options {
        objects: Some(ObjectOptions::new(Arc::clone(store) as _, "", name)),
        tiers: vec![Tier::Objects],
        sync_pushes: true,
        ..Options::new(ByteCount::mib(16))
    };
    ShuffleWorker::new(options, env.clone()).expect("no folder to fail")
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn shuffle() -> ShuffleId {
    let query = QueryId::from_u128(1 << 80);
    ShuffleId { query, stage: StageId(3), epoch: StageEpoch(0) }
}

/// Two maps with a thousand rows for each of two partitions, all at worker X.
async fn written(workers: &Arc<LocalWorkers>) -> Result<StageOutput> {
    let mut maps = Vec::new();
    for map in 0..2 {
        let options = WriterOptions::new(shuffle(), map, Attempt(1), schema(), 2);
        let workers = Arc::clone(workers) as _;
        let writer = ShuffleWriter::new(workers, Arc::new(OneWorker(x())), options);
        for partition in 0..2 {
            let rows = Int64Array::from_iter_values(rows(map, partition));
            let batch = RecordBatch::try_new(schema(), vec![Arc::new(rows)]).expect("fits");
            writer.write(PartitionId(partition), batch).await?;
        }
        maps.push(writer.finish().await?.into_map_output((map, 1), Attempt(1), StageEpoch(0)));
    }
    Ok(StageOutput { maps })
}

fn rows(map: u32, partition: u32) -> std::ops::Range<i64> {
    let from = i64::from(map * 2 + partition) * 1000;
    from..from + 1000
}

async fn read(
    workers: &LocalWorkers,
    partition: u32,
    output: &Arc<StageOutput>,
) -> Result<Vec<i64>> {
    let of = (shuffle().query, shuffle().stage);
    let output = Arc::clone(output);
    let batches = read_partition(workers, of, PartitionId(partition), output, schema());
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let numbers =
        |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    Ok(batches.iter().flat_map(numbers).collect())
}

fn assert_all(read: Result<Vec<i64>>, partition: u32) {
    let due: Vec<_> = (0..2).flat_map(|map| rows(map, partition)).collect();
    assert_eq!(read.expect("all of it"), due, "partition {partition}");
}

/// The error of a reader that says what it missed.
fn missed(read: Result<Vec<i64>>) -> (Error, ReadFault) {
    let error = read.expect_err("it is not there");
    assert_eq!(error.kind(), Kind::Lost, "{error}");
    let fault = ReadFault::of(&error).expect("it says what").clone();
    (error, fault)
}

async fn objects(store: &InMemory) -> Vec<(Path, Vec<u8>)> {
    let mut all: Vec<_> = store.list(None).try_collect().await.expect("in memory");
    all.sort_by(|a, b| a.location.cmp(&b.location));
    let mut found = Vec::new();
    for object in all {
        let bytes = store.get(&object.location).await.expect("there").bytes().await;
        found.push((object.location, bytes.expect("in memory").to_vec()));
    }
    found
}

#[test]
fn a_reader_finds_at_the_adopter_what_was_acknowledged_in_the_object_store() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let env = Env::real(Some(runtime.handle().clone()));
    runtime.block_on(async {
        let (store, workers) = (Arc::new(InMemory::new()), Arc::new(LocalWorkers::new()));
        workers.insert(x(), worker(&store, "x", &env));
        let output = written(&workers).await.expect("written");
        let locations = || output.maps.iter().flat_map(|map| &map.locations);
        assert!(locations().count() > 0 && locations().all(|at| at.in_object_store));
        let output = Arc::new(output);
        workers.remove(x());
        let (_, fault) = missed(read(&workers, 0, &output).await);
        assert!(fault.holders.iter().all(|holder| holder.gone && holder.stored), "{fault:?}");
        let adopted = |name: &'static str| {
            let (store, env) = (Arc::clone(&store), env.clone());
            async move {
                let y = worker(&store, name, &env);
                y.adopt(&["x".to_owned()]).await.expect("the store works");
                y
            }
        };
        workers.insert(x(), adopted("y").await);
        for partition in 0..2 {
            assert_all(read(&workers, partition, &output).await, partition);
        }
        // The same with an object that is not what it was: of partition 1, by its name.
        let whole = objects(&store).await;
        let of_one = |(path, _): &&(Path, Vec<u8>)| path.as_ref().contains("/3.0.1.");
        let (path, bytes) = whole.iter().find(of_one).expect("an object").clone();
        let other = whole.iter().find(|one| !of_one(one)).expect("another").1.clone();
        let cut = bytes[..bytes.len() - 10].to_vec();
        for (n, damage) in [Some(cut), Some(other), None].into_iter().enumerate() {
            match damage {
                Some(bytes) => drop(store.put(&path, bytes.into()).await.expect("in memory")),
                None => store.delete(&path).await.expect("in memory"),
            }
            workers.insert(x(), adopted(["cut", "other", "missing"][n]).await);
            assert_all(read(&workers, 0, &output).await, 0);
            let (error, fault) = missed(read(&workers, 1, &output).await);
            assert!(error.message().contains("partition 1"), "{error}");
            assert!(!fault.all_gone() && !fault.maps.is_empty(), "{fault:?}");
        }
    });
}
