//! What a task did, from the metrics of its plan: DataFusion's metrics do not travel, this does.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use dunlin_base::Env;
use dunlin_proto::output::{OperatorStats, PartitionOutput, TaskStats};

/// Sums the metrics of a finished plan, one row for each operator in pre-order.
pub(crate) fn collect(env: &Env, plan: &Arc<dyn ExecutionPlan>, stats: &mut TaskStats) {
    visit(env, plan, 0, stats);
}

fn visit(env: &Env, plan: &Arc<dyn ExecutionPlan>, depth: u32, stats: &mut TaskStats) {
    let mut operator = OperatorStats { name: plan.name().to_owned(), depth, ..Default::default() };
    if let Some(metrics) = plan.metrics() {
        operator.rows_out = metrics.output_rows().unwrap_or(0) as u64;
        let elapsed_us = metrics.elapsed_compute().unwrap_or(0) as u64 / 1000;
        operator.elapsed_compute_us = env.measured(elapsed_us);
        stats.spilled_bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
        stats.spill_count += metrics.spill_count().unwrap_or(0) as u64;
        stats.bytes_in += metrics.sum_by_name("bytes_scanned").map_or(0, |v| v.as_usize()) as u64;
    }
    stats.operators.push(operator);
    for child in plan.children() {
        visit(env, child, depth + 1, stats);
    }
}

/// Adds what was written.
pub(crate) fn add_output(partitions: &[PartitionOutput], stats: &mut TaskStats) {
    stats.rows_out = partitions.iter().map(|p| p.rows).sum();
    stats.bytes_out = partitions.iter().map(|p| p.bytes).sum();
}
