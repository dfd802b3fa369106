//! The end of a task: rows of a stream go to shuffle partitions.

use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::create_hashes;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr_common::utils::evaluate_expressions_to_arrays;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;
use dunlin_base::{Env, PartitionId, Result, fail};
use dunlin_planner::TaskOutput;
use dunlin_planner::errors::from_datafusion;
use dunlin_shuffle::ShuffleWriter;
use futures::StreamExt;

use crate::memory::Charge;

/// Writes all rows of stream number `index` to the partitions that `output` names, and charges the
/// task for what the writer holds.
pub(crate) async fn write_stream(
    env: &Env,
    mut rows: SendableRecordBatchStream,
    index: usize,
    output: &TaskOutput,
    (writer, charge): (&ShuffleWriter, &Charge),
) -> Result<()> {
    let mut hashed = match output {
        TaskOutput::Hash { keys, partitions } if *partitions > 1 => {
            Some(Hashed { keys, partitions: u64::from(*partitions), hashes: Vec::new() })
        }
        _ => None,
    };
    let fixed = match output {
        TaskOutput::Streams(streams) => streams.get(index).copied().unwrap_or_default(),
        _ => 0,
    };
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(from_datafusion)?;
        match &mut hashed {
            None => writer.write(PartitionId(fixed), batch).await?,
            Some(hashed) => {
                let partitions = hashed.partitions_of(&batch)?;
                writer.scatter(batch, partitions).await?;
            }
        }
        if !charge.set(writer.buffered_bytes()) {
            writer.relieve().await?;
            charge.must_be(writer.buffered_bytes());
        }
        fail::point(env, fail::IN_SLICE).await?;
    }
    Ok(())
}

/// Chooses partitions as DataFusion's own partitioner does: aggregates and joins of the reading
/// stage rely on its hash function.
struct Hashed<'a> {
    keys: &'a [Arc<dyn PhysicalExpr>],
    partitions: u64,
    hashes: Vec<u64>,
}

impl Hashed<'_> {
    fn partitions_of(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let keys = evaluate_expressions_to_arrays(self.keys, batch).map_err(from_datafusion)?;
        self.hashes.clear();
        self.hashes.resize(batch.num_rows(), 0);
        create_hashes(&keys, REPARTITION_RANDOM_STATE.random_state(), &mut self.hashes)
            .map_err(from_datafusion)?;
        Ok(self.hashes.iter().map(|hash| (hash % self.partitions) as u32).collect())
    }
}

#[cfg(test)]
mod tests;
