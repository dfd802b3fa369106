//! Which stages may run again beside what others have read of them.

use dunlin_planner::CutOptions;

use crate::data::session;

/// The flags of the stages of a query, in the order of their numbers.
async fn flags(sql: &str) -> Vec<bool> {
    let session = session(4, true).await;
    let plan = session.sql(sql).await.expect("a plan");
    let plan = plan.create_physical_plan().await.expect("a physical plan");
    let task = session.task_ctx();
    let header = dunlin_planner::header(task.session_config(), Vec::new());
    let cut = dunlin_planner::cut(plan, header, &CutOptions::default(), task.session_config());
    cut.expect("a graph").stages.iter().map(|stage| stage.determinate).collect()
}

async fn all(sql: &str, determinate: bool) {
    let flags = flags(sql).await;
    assert!(!flags.is_empty(), "{sql}");
    let right = if determinate { flags.iter().all(|f| *f) } else { flags.iter().any(|f| !f) };
    assert!(right, "{sql}: {flags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_joins_and_exact_aggregates_give_the_same_again() {
    for sql in [
        "select l_orderkey, l_quantity * 2 from lineitem where l_quantity > 10",
        "select l_returnflag, sum(l_quantity), avg(l_discount), min(l_shipdate), count(*) \
         from lineitem group by l_returnflag",
        "select o_orderpriority, count(*) from orders join lineitem on l_orderkey = o_orderkey \
         group by o_orderpriority order by o_orderpriority",
        "select n_name from nation union all select r_name from region",
    ] {
        all(sql, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_depends_on_order_or_chance_may_not() {
    for sql in [
        "select l_orderkey from lineitem limit 10",
        "select l_orderkey from lineitem order by l_quantity limit 10",
        "select l_returnflag, sum(cast(l_quantity as double)) from lineitem group by l_returnflag",
        "select l_returnflag, avg(l_linenumber) from lineitem group by l_returnflag",
        "select l_returnflag, first_value(l_comment) from lineitem group by l_returnflag",
        "select l_returnflag, array_agg(l_orderkey) from lineitem group by l_returnflag",
        "select l_orderkey, random() from lineitem",
        "select l_orderkey from lineitem where random() < 0.5",
        "select l_orderkey, row_number() over (partition by l_orderkey order by l_quantity) \
         from lineitem",
    ] {
        all(sql, false).await;
    }
}
