//! The round-trip gate: every stage plan of every TPC-H and TPC-DS query comes back from its bytes
//! with the same schema, partitions, order and text.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use datafusion::prelude::SessionContext;
use dunlin_corpus::{oracle, tpcds, tpch};
use dunlin_planner::{Contexts, PlanCodec, ProtoCodec, cut, header};
use tempfile::TempDir;

use crate::data::session;
use crate::tpch::finest;

/// All that must survive.
fn face(plan: &Arc<dyn ExecutionPlan>) -> String {
    format!(
        "{:?}\n{}\n{:?}\n{}",
        plan.schema(),
        plan.output_partitioning(),
        plan.output_ordering(),
        displayable(plan.as_ref()).indent(true)
    )
}

/// The lines of a face, each with whether it is a projection right below a union.
fn lines(face: &str) -> Vec<(bool, &str)> {
    let mut unions: Vec<usize> = Vec::new();
    let mut lines = Vec::new();
    for line in face.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        unions.retain(|union| *union < depth);
        let branch = unions.last().is_some_and(|union| union + 2 == depth);
        lines.push((branch && text.starts_with("ProjectionExec"), text));
        if text.starts_with("UnionExec") {
            unions.push(depth);
        }
    }
    lines
}

/// One silent change is known and pinned here: a union puts a projection over a branch whose
/// constants say after decoding that they are never null, where the planner said they may be. The
/// rows are the same. One change is meant: arithmetic that travels fails on overflow.
fn assert_same(what: &str, before: &Arc<dyn ExecutionPlan>, after: &Arc<dyn ExecutionPlan>) {
    let unchecked = |plan| face(plan).replace("fail_on_overflow: true", "fail_on_overflow: false");
    let (before, after) = (unchecked(before), unchecked(after));
    let mut after = lines(&after).into_iter().peekable();
    for (_, line) in lines(&before) {
        if after.peek().is_some_and(|(branch, other)| *branch && *other != line) {
            after.next();
        }
        let other = after.next().map(|(_, other)| other);
        assert_eq!(Some(line), other, "{what}: first line that differs");
    }
    assert_eq!(after.next(), None, "{what}: more operators than before");
}

/// Sizes of the plan blob.
async fn gate(name: &str, session: &SessionContext, sql: &str) -> usize {
    let frame = session.sql(sql).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let plan = frame.create_physical_plan().await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let task = session.task_ctx();
    let contexts = Contexts::new(session.runtime_env()).expect("contexts");
    let head = header(task.session_config(), Vec::new());
    let graph = cut(Arc::clone(&plan), head.clone(), &finest(1).cut, task.session_config())
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let pool = Arc::new(datafusion::execution::memory_pool::UnboundedMemoryPool::default());
    let context = contexts.for_header(&head, pool).expect("contexts").decode;
    let whole = ProtoCodec.encode(&plan).unwrap_or_else(|e| panic!("{name}: {e}"));
    let back = ProtoCodec.decode(&whole, &context).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_same(&format!("{name}, uncut"), &plan, &back);
    for spec in &graph.stages {
        let once = ProtoCodec.decode(&spec.plan, &context);
        let once = once.unwrap_or_else(|e| panic!("{name} stage {}: {e}", spec.id));
        let bytes = ProtoCodec.encode(&once).expect("it was encoded before");
        let twice = ProtoCodec.decode(&bytes, &context).expect("it was decoded before");
        assert_same(&format!("{name} stage {}", spec.id), &once, &twice);
    }
    graph.stages.iter().map(|spec| spec.plan.len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tpch_plan_survives() {
    let session = session(8, true).await;
    let mut largest = 0;
    for (number, sql) in tpch::QUERIES {
        largest = largest.max(gate(&format!("TPC-H q{number}"), &session, sql).await);
    }
    println!("largest set of stage plans: {largest} bytes");
}

fn tpcds_data() -> PathBuf {
    static DATA: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DATA.get_or_init(|| {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = tpcds::cached(root.path(), 0.01).expect("data");
        (root, path)
    });
    path.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tpcds_plan_survives() {
    let queries = tpcds::load_queries().expect("the query texts");
    let session = oracle::open(&tpcds_data(), 8).await.expect("a session");
    let state = session.state_ref();
    {
        let mut state = state.write();
        let optimizer = &mut state.config_mut().options_mut().optimizer;
        optimizer.enable_round_robin_repartition = false;
        optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    }
    for query in &queries {
        gate(&format!("TPC-DS q{}", query.number), &session, &query.text).await;
    }
}
