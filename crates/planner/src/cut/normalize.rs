//! Rewrites before cutting: joins and recursive queries in shapes that can be cut or can travel.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, plan_err};
use datafusion::execution::config::SessionConfig;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::memory::{LazyBatchGenerator, LazyMemoryExec};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use parking_lot::RwLock;

use super::roles::emits_build_rows;
use super::{CutOptions, files, partitions_of};

type Plan = Arc<dyn ExecutionPlan>;
type Generator = Arc<RwLock<dyn LazyBatchGenerator>>;

/// All rewrites, in order.
pub(super) fn normalize(plan: Plan, options: &CutOptions, config: &SessionConfig) -> Result<Plan> {
    let partitions = config.target_partitions();
    let plan = plan.transform_down(|node| match node.downcast_ref::<HashJoinExec>() {
        Some(join) if wants_both_hashed(join, options) => {
            Ok(Transformed::yes(hash_both_sides(join, partitions)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    let plan =
        plan.data.transform_down(|node| match node.downcast_ref::<RecursiveQueryExec>() {
            Some(query) => Ok(Transformed::yes(widen_work_tables(query)?)),
            None => Ok(Transformed::no(node)),
        })?;
    let plan = plan.data.transform_down(|node| match node.downcast_ref::<LazyMemoryExec>() {
        Some(series) if series.schema().fields().is_empty() => {
            Ok(Transformed::yes(widen_series(series)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// Generated rows of which no column is used: datafusion-proto would forget that, so the rows are
/// read whole and projected above.
fn widen_series(series: &LazyMemoryExec) -> Result<Plan> {
    let fresh = |generator: &Generator| generator.read().reset_state();
    let generators: Vec<Generator> = series.generators().iter().map(fresh).collect();
    let Some(first) = generators.first() else {
        return Ok(Arc::new(EmptyExec::new(series.schema())));
    };
    // Only a batch tells which columns a generator really makes.
    let Some(batch) = fresh(first).write().generate_next_batch()? else {
        return Ok(Arc::new(EmptyExec::new(series.schema())));
    };
    let wide = LazyMemoryExec::try_new(batch.schema(), generators)?;
    Ok(Arc::new(ProjectionExec::try_new(Vec::<ProjectionExpr>::new(), Arc::new(wide))?))
}

/// A join that collects its build side and emits rows of it can not run in several tasks. If its
/// probe side is large, hashing both sides costs less than running it in one, the more so as the
/// probe side may be reduced before ([`crate::decide`]).
fn wants_both_hashed(join: &HashJoinExec, options: &CutOptions) -> bool {
    *join.partition_mode() == PartitionMode::CollectLeft
        && emits_build_rows(*join.join_type())
        && !join.null_aware
        && partitions_of(join.right()) > 1
        && files::scan_bytes(join.right()) > options.whole_join_bytes.0
}

fn hash_both_sides(join: &HashJoinExec, partitions: usize) -> Result<Plan> {
    let build = match join.left().downcast_ref::<CoalescePartitionsExec>() {
        Some(merge) if merge.fetch().is_none() => merge.input(),
        _ => join.left(),
    };
    let (left, right): (Vec<_>, Vec<_>) = join.on().iter().cloned().unzip();
    let hashed = |input: &Plan, keys: Vec<Arc<dyn PhysicalExpr>>| -> Result<Plan> {
        if is_hashed(input, &keys, partitions) {
            return Ok(Arc::clone(input));
        }
        let partitioning = Partitioning::Hash(keys, partitions);
        Ok(Arc::new(RepartitionExec::try_new(Arc::clone(input), partitioning)?))
    };
    let children = vec![hashed(build, left)?, hashed(join.right(), right)?];
    join.builder()
        .with_partition_mode(PartitionMode::Partitioned)
        .with_new_children(children)?
        .build_exec()
}

/// True if the rows come hashed by just these keys, as those of an aggregate over them do.
fn is_hashed(input: &Plan, keys: &[Arc<dyn PhysicalExpr>], partitions: usize) -> bool {
    match input.output_partitioning() {
        Partitioning::Hash(by, n) => *n == partitions && by.as_slice() == keys,
        _ => false,
    }
}

/// A work table's projection is private to DataFusion and would be lost on the way: read the table
/// whole and project above it.
fn widen_work_tables(query: &RecursiveQueryExec) -> Result<Plan> {
    let full = query.static_term().schema();
    let step = Arc::clone(query.recursive_term()).transform_down(|node| {
        let Some(table) = node.downcast_ref::<WorkTableExec>() else {
            return Ok(Transformed::no(node));
        };
        let schema = table.schema();
        if table.name() != query.name() || schema.fields().len() == full.fields().len() {
            return Ok(Transformed::no(node));
        }
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        for field in schema.fields() {
            let same = |f: &&Arc<Field>| f.name() == field.name();
            if full.fields().iter().filter(same).count() != 1 {
                return plan_err!("recursive query {} has two columns of one name", query.name());
            }
            let index = full.index_of(field.name())?;
            columns.push((Arc::new(Column::new(field.name(), index)), field.name().clone()));
        }
        let wide = WorkTableExec::new(table.name().to_owned(), Arc::clone(&full), None)?;
        let narrow = ProjectionExec::try_new(columns, Arc::new(wide))?;
        Ok(Transformed::yes(Arc::new(narrow) as Plan))
    })?;
    let base = Arc::clone(query.static_term());
    let name = query.name().to_owned();
    let distinct = query.is_distinct();
    Ok(Arc::new(RecursiveQueryExec::try_new(name, query.schema(), base, step.data, distinct)?))
}
