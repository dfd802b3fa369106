//! `EXPLAIN` shows stages and edges, `EXPLAIN ANALYZE` what each stage did.

use arrow::util::pretty::pretty_format_batches;

use crate::cluster::{Cluster, Shape, tpch};

const SQL: &str = "select o_orderpriority, count(*) from orders, lineitem \
                   where o_orderkey = l_orderkey group by o_orderpriority order by 1";

fn text(cluster: &Cluster, sql: &str) -> String {
    let rows = cluster.rows(sql).expect("an explanation");
    pretty_format_batches(&rows).expect("a table").to_string()
}

#[test]
fn a_plan_is_shown_by_stages_and_edges() {
    let cluster = Cluster::start(&tpch(), Shape { partitions: 4, executors: 1, fine: true });
    let plan = text(&cluster, &format!("explain {SQL}"));
    for part in ["Stage 0", "hash(", "in 4 partitions", "ordered gather", "-> result", "slices of"]
    {
        assert!(plan.contains(part), "no '{part}' in\n{plan}");
    }
}

#[test]
fn an_analysis_runs_the_query_and_shows_every_stage() {
    let cluster = Cluster::start(&tpch(), Shape { partitions: 4, executors: 2, fine: true });
    let plan = text(&cluster, &format!("explain analyze {SQL}"));
    for part in ["5 rows in", "attempts", "spilled", "min / median / max", "AggregateExec"] {
        assert!(plan.contains(part), "no '{part}' in\n{plan}");
    }
    cluster.assert_nothing_left();
}
