//! Where rows go, and who pays for what the writer holds.

use std::collections::BTreeMap;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use dunlin_base::{Attempt, ByteCount, ProcessId, QueryId, StageEpoch, StageId};
use dunlin_proto::block::ShuffleId;
use dunlin_shuffle::{LocalWorkers, OneWorker, WriterOptions};
use dunlin_shuffle_service::{Options, ShuffleWorker};

use super::*;
use crate::memory::TaskPool;

fn batch(from: i64, to: i64) -> RecordBatch {
    let key: ArrayRef =
        Arc::new((from..to).map(|n| (n % 9 > 0).then_some(n)).collect::<Int64Array>());
    let text: ArrayRef =
        Arc::new((from..to).map(|n| Some(format!("{n:0100}"))).collect::<StringArray>());
    RecordBatch::try_from_iter([("key", key), ("text", text)]).expect("two columns")
}

fn keys() -> Vec<Arc<dyn PhysicalExpr>> {
    vec![Arc::new(Column::new("key", 0)), Arc::new(Column::new("text", 1))]
}

#[test]
fn rows_go_where_datafusions_own_partitioner_sends_them() {
    let (batch, keys) = (batch(0, 5000), keys());
    for partitions in [2_u32, 7, 64, 1000] {
        let mut hashed =
            Hashed { keys: &keys, partitions: u64::from(partitions), hashes: Vec::new() };
        let ours = hashed.partitions_of(&batch).expect("keys are there");
        let texts = batch.column(1).as_string::<i32>();
        let ours: BTreeMap<_, _> = texts.iter().flatten().zip(ours).collect();
        let mut theirs =
            BatchPartitioner::new_hash_partitioner(keys.clone(), partitions as usize, Time::new())
                .expect("more than none");
        let same = |partition: usize, rows: RecordBatch| {
            let texts = rows.column(1).as_string::<i32>();
            assert!(texts.iter().flatten().all(|text| ours[text] == partition as u32));
            Ok(())
        };
        theirs.partition(batch.clone(), same).expect("keys are there");
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().len(), ours.len());
    }
}

/// Writes 80,000 rows of about 110 bytes to 2,000 partitions. The peak of the pool.
async fn peak(pool_bytes: usize) -> u64 {
    let env = Env::seeded(1);
    let worker = ShuffleWorker::new(Options::new(ByteCount::mib(64)), env.clone());
    let (id, workers) = (ProcessId::from_u128(1), LocalWorkers::new());
    workers.insert(id, worker.expect("no disk"));
    let shuffle =
        ShuffleId { query: QueryId::from_u128(1), stage: StageId(1), epoch: StageEpoch(0) };
    let schema = batch(0, 1).schema();
    let options = WriterOptions::new(shuffle, 0, Attempt(1), Arc::clone(&schema), 2000);
    let writer = ShuffleWriter::new(Arc::new(workers), Arc::new(OneWorker(id)), options);
    let pool = TaskPool::new(pool_bytes);
    let charge = Charge::new(&pool);
    let batches = (0..80_000).step_by(4000).map(|from| Ok(batch(from, from + 4000)));
    let rows = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)));
    let output = TaskOutput::Hash { keys: keys(), partitions: 2000 };
    write_stream(&env, rows, 0, &output, (&writer, &charge)).await.expect("stored");
    assert_eq!(pool.pool.reserved(), writer.buffered_bytes(), "charged for what is held");
    let written = writer.finish().await.expect("stored");
    assert_eq!(written.partitions.iter().map(|p| p.rows).sum::<u64>(), 80_000);
    drop(charge);
    assert_eq!(pool.pool.reserved(), 0, "and no longer than that");
    pool.peak()
}

#[tokio::test]
async fn a_task_pays_for_the_buffers_of_its_writer_and_empties_them_when_it_is_poor() {
    let rich = peak(64 << 20).await;
    assert!(rich > 8 << 20, "all rows are gathered: {rich}");
    let poor = peak(2 << 20).await;
    assert!(poor <= 2 << 20, "{poor}");
}
