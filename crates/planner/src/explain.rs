//! `EXPLAIN`: a stage graph as text, one block for each stage, the last stage first.

use std::fmt::Write;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::displayable;
use dunlin_base::{ByteCount, Result};
use dunlin_proto::plan::slice_source::Kind as SliceKind;
use dunlin_proto::plan::{EdgeKind, Graph, StageSpec};

use crate::codec::{PlanCodec, ProtoCodec, decode_expr};

/// The graph as text.
pub fn explain(graph: &Graph, context: &TaskContext) -> Result<String> {
    let mut text = String::new();
    let bytes: usize = graph.stages.iter().map(|s| s.plan.len()).sum();
    let _ = writeln!(text, "{} stages, {} of plans", graph.stages.len(), ByteCount(bytes as u64));
    for spec in graph.stages.iter().rev() {
        let plan = ProtoCodec.decode(&spec.plan, context)?;
        let to = edge(spec, &plan.schema(), context)?;
        let _ = writeln!(text, "\nStage {}: {} -> {to}", spec.id, slices(spec));
        let inputs: Vec<String> = spec.inputs.iter().map(|i| i.stage.to_string()).collect();
        if !inputs.is_empty() {
            let _ = writeln!(text, "  after stages {}", inputs.join(", "));
        }
        if !spec.after.is_empty() {
            let builds: Vec<String> = spec.after.iter().map(|s| s.to_string()).collect();
            let _ = writeln!(text, "  waits for the build side in stage {}", builds.join(", "));
        }
        for line in displayable(plan.as_ref()).indent(false).to_string().lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    Ok(text)
}

fn slices(spec: &StageSpec) -> String {
    match spec.slices.as_ref().and_then(|s| s.kind.as_ref()) {
        Some(SliceKind::Files(files)) => {
            format!("{} slices of {}", files.slices.len(), ByteCount(spec.scan_bytes))
        }
        Some(SliceKind::HashPartitions(n)) => format!("up to {n} slices of hash partitions"),
        Some(SliceKind::Forward(_)) => "a slice for each stream of its inputs".to_owned(),
        Some(SliceKind::Whole(_)) | None => "one slice".to_owned(),
    }
}

fn edge(
    spec: &StageSpec,
    schema: &arrow::datatypes::SchemaRef,
    context: &TaskContext,
) -> Result<String> {
    Ok(match EdgeKind::try_from(spec.output) {
        Ok(EdgeKind::Hash) => {
            let mut keys = Vec::new();
            for key in &spec.hash_keys {
                keys.push(decode_expr(key, schema, context)?.to_string());
            }
            format!("hash({}) in {} partitions", keys.join(", "), spec.output_partitions)
        }
        Ok(EdgeKind::Gather) => "gather".to_owned(),
        Ok(EdgeKind::OrderedGather) => "ordered gather".to_owned(),
        Ok(EdgeKind::Broadcast) => "broadcast".to_owned(),
        Ok(EdgeKind::Forward) => "forward".to_owned(),
        Ok(EdgeKind::Result) => "result".to_owned(),
        Ok(EdgeKind::Unspecified) | Err(_) => "unknown".to_owned(),
    })
}
