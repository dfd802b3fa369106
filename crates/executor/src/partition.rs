//! The end of a task: rows of a stream go to shuffle partitions.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use dunlin_base::{Env, PartitionId, Result, fail};
use dunlin_planner::TaskOutput;
use dunlin_planner::errors::from_datafusion;
use dunlin_shuffle::ShuffleWriter;
use futures::StreamExt;

/// Writes all rows of stream number `index` to the partitions that `output` names.
///
/// Hash partitions are chosen by DataFusion's own partitioner: aggregates and joins of the reading
/// stage rely on its hash function.
pub(crate) async fn write_stream(
    env: &Env,
    mut rows: SendableRecordBatchStream,
    index: usize,
    output: &TaskOutput,
    writer: &Arc<ShuffleWriter>,
) -> Result<()> {
    let mut partitioner = match output {
        TaskOutput::Hash { keys, partitions } if *partitions > 1 => {
            let n = *partitions as usize;
            let made = BatchPartitioner::new_hash_partitioner(keys.clone(), n, Time::new());
            Some(made.map_err(from_datafusion)?)
        }
        _ => None,
    };
    let fixed = match output {
        TaskOutput::Streams(streams) => streams.get(index).copied().unwrap_or_default(),
        _ => 0,
    };
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(from_datafusion)?;
        match &mut partitioner {
            None => writer.write(PartitionId(fixed), batch).await?,
            Some(partitioner) => {
                for (partition, rows) in split(partitioner, batch)? {
                    writer.write(PartitionId(partition), rows).await?;
                }
            }
        }
        fail::point(env, fail::IN_SLICE).await?;
    }
    Ok(())
}

fn split(
    partitioner: &mut BatchPartitioner,
    batch: RecordBatch,
) -> Result<Vec<(u32, RecordBatch)>> {
    let mut parts = Vec::new();
    partitioner
        .partition(batch, |partition, rows| {
            parts.push((partition as u32, rows));
            Ok(())
        })
        .map_err(from_datafusion)?;
    Ok(parts)
}
