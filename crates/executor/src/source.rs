//! Exchange reads on the shuffle: the winning attempts of sealed stages, verified while read.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use dunlin_base::{PartitionId, QueryId};
use dunlin_planner::errors::into_datafusion;
use dunlin_planner::nodes::{ExchangeSource, Part};
use dunlin_queue::InputStage;
use dunlin_shuffle::{Share, Workers, read_shares};
use futures::{StreamExt, TryStreamExt};

/// The inputs of one task.
pub(crate) struct ShuffleSource {
    query: QueryId,
    inputs: HashMap<u32, InputStage>,
    workers: Arc<dyn Workers>,
}

impl ShuffleSource {
    pub(crate) fn new(query: QueryId, inputs: &[InputStage], workers: Arc<dyn Workers>) -> Self {
        let inputs = inputs.iter().map(|input| (input.stage.0, input.clone())).collect();
        Self { query, inputs, workers }
    }

    fn input(&self, stage: u32) -> Result<&InputStage> {
        match self.inputs.get(&stage) {
            Some(input) => Ok(input),
            None => internal_err!("stage {stage} is read but is no input of this stage"),
        }
    }
}

impl std::fmt::Debug for ShuffleSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShuffleSource({})", self.query)
    }
}

impl ExchangeSource for ShuffleSource {
    fn partitions(&self, stage: u32) -> Result<Vec<u32>> {
        let maps = &self.input(stage)?.output.maps;
        Ok(maps.iter().flat_map(|m| m.partitions.iter().map(|p| p.partition)).collect())
    }

    fn open(&self, parts: &[Part], schema: SchemaRef) -> Result<SendableRecordBatchStream> {
        let mut streams = Vec::new();
        // Small partitions of one stage that follow one another are read together.
        for parts in parts.chunk_by(|one, next| one.stage == next.stage) {
            let Some(first) = parts.first() else { continue };
            let input = self.input(first.stage)?;
            let share = |part: &Part| Share::whole(PartitionId(part.partition));
            let shares: Vec<_> = parts.iter().map(share).collect();
            streams.push(read_shares(
                self.workers.as_ref(),
                (self.query, input.stage),
                &shares,
                Arc::clone(&input.output),
                Arc::clone(&schema),
            ));
        }
        let rows = futures::stream::iter(streams).flatten().map_err(into_datafusion);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
