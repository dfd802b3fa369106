//! Each case in which running a share of a plan goes wrong for engines that do it naively: every
//! test names one, runs it cut as finely as possible, and compares with plain DataFusion.

use std::time::Duration;

use datafusion::physical_plan::displayable;
use dunlin_base::{ByteCount, Env};
use dunlin_corpus::compare;
use dunlin_planner::Template;
use dunlin_proto::plan::{Header, StageSpec, StageTemplate};
use prost::Message;

use crate::data::session;
use crate::mini::{Trace, run};
use crate::tpch::finest;

/// The rows of `sql` cut over eight partitions are DataFusion's own; a hang is a failure.
async fn same(sql: &str) -> Trace {
    let mut variant = finest(11);
    let plain = session(8, false).await;
    let ours = session(8, true).await;
    let expected = plain.sql(sql).await.expect("a plan").collect().await.expect("an answer");
    let mut last = Trace::default();
    // Build-side-emitting joins have two ways: both sides hashed, or one task.
    for whole_join_bytes in [0, u64::MAX] {
        variant.cut.whole_join_bytes = ByteCount(whole_join_bytes);
        let answer = run(&ours, sql, &variant);
        let answer = Env::seeded(1).timeout(Duration::from_secs(60), answer).await;
        let (rows, trace) = answer.expect("no hang").unwrap_or_else(|e| panic!("{sql}: {e}"));
        compare::same_rows(&expected, &rows).unwrap_or_else(|d| panic!("{sql}: {d}"));
        last = trace;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_that_share_work_are_not_read_twice() {
    let trace = same("select l_orderkey, l_linenumber from lineitem").await;
    assert!(trace.tasks > 1, "the scan was shared out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_wait_for_all_partitions_of_a_dynamic_filter_do_not_hang() {
    same(
        "select count(*) from lineitem join orders on l_orderkey = o_orderkey \
          where o_orderpriority = '1-URGENT'",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_collected_build_side_come_out_once() {
    for join in ["left", "full"] {
        same(&format!(
            "select n_name, c_custkey from nation {join} join customer \
             on n_nationkey = c_nationkey and c_acctbal > 9000"
        ))
        .await;
    }
    same(
        "select n_name from nation where exists \
          (select 1 from customer where c_nationkey = n_nationkey and c_acctbal > 9000)",
    )
    .await;
    same(
        "select n_name from nation where not exists \
          (select 1 from customer where c_nationkey = n_nationkey and c_acctbal > 9900)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_without_equal_keys_are_right() {
    same("select count(*) from supplier left join nation on s_nationkey < n_nationkey").await;
    same("select count(*) from nation a, supplier b where a.n_nationkey <> b.s_nationkey").await;
    same("select count(*), sum(r_regionkey) from region, customer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_in_knows_of_nulls_anywhere() {
    let maybe_null = "(select case when c_custkey % 7 = 0 then null else c_nationkey end \
                      from customer where c_acctbal > 9900)";
    same(&format!("select n_name from nation where n_nationkey not in {maybe_null}")).await;
    same(
        "select n_name from nation where n_nationkey not in \
          (select c_nationkey from customer where c_acctbal > 9900)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scalar_subqueries_are_joined_before_the_cut() {
    same("select count(*) from orders where o_totalprice > (select avg(o_totalprice) from orders)")
        .await;
    same(
        "select n_name, (select count(*) from customer where c_nationkey = n_nationkey) \
          from nation",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_for_all_tasks_together() {
    for sql in [
        "select o_orderkey from orders order by o_orderkey limit 10",
        "select o_orderkey from orders order by o_orderkey limit 10 offset 100",
        "select count(*) from (select o_orderkey from orders limit 17)",
        "select count(*) from (select o_orderkey from orders offset 14990)",
        "select o_orderkey from orders order by o_orderkey limit 0",
    ] {
        same(sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_of_unions_are_not_multiplied() {
    for sql in [
        "select n_name from nation union all select r_name from region",
        "select count(*), sum(k) from (select o_orderkey k from orders union all \
         select l_orderkey from lineitem union all select 1)",
        "select k, count(*) from (select o_custkey k from orders union all \
         select c_custkey from customer) group by k order by k limit 50",
        "select n_nationkey from nation union select c_nationkey from customer",
        "select c_nationkey from customer intersect select n_nationkey from nation",
    ] {
        same(sql).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recursive_queries_are_kept_whole() {
    same("with recursive t(n, m) as (select 1 as n, 1 as m union all select n + 1, m * 2 from t where n < 20) \
          select sum(n), max(m) from t")
    .await;
    same("with recursive walk(k, depth) as (select n_regionkey as k, 0 as depth from nation where n_nationkey = 3 \
          union all select k + 1, depth + 1 from walk where depth < 4) \
          select r_name, depth from walk, region where r_regionkey = k")
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_values_and_empty_inputs_are_right() {
    for sql in [
        "select o_custkey, row_number() over (partition by o_custkey order by o_orderkey) r \
         from orders where o_orderkey < 5000",
        "select * from (values (1, 'a'), (2, 'b')) v(a, b)",
        "select count(*), sum(o_totalprice) from orders where o_orderkey < 0",
        "select o_custkey, count(*) from orders where o_orderkey < 0 group by o_custkey",
        "select count(distinct l_suppkey), count(distinct l_partkey) from lineitem",
        "select l_returnflag, l_linestatus, sum(l_quantity) from lineitem \
         group by rollup(l_returnflag, l_linestatus)",
    ] {
        same(sql).await;
    }
}

#[test]
fn a_plan_of_another_build_is_refused() {
    for (version, build) in [(0, dunlin_planner::BUILD), (dunlin_planner::CODEC_VERSION, "0.0.1")] {
        let header = Header {
            codec_version: version,
            build: build.to_owned(),
            datafusion: dunlin_planner::DATAFUSION_VERSION.to_owned(),
            ..Header::default()
        };
        let template = StageTemplate { header: Some(header), spec: Some(StageSpec::default()) };
        let error = Template::decode(&template.encode_to_vec()).err().expect("refused");
        assert_eq!(error.kind(), dunlin_base::Kind::Invalid);
        assert!(error.message().contains("another build"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn semi_joins_move_below_the_joins_that_they_are_about() {
    let few = "(select l_orderkey from lineitem group by l_orderkey having sum(l_quantity) > 250)";
    // The keys of one side, found by the condition, through a SELECT, on the kept side of an outer
    // join; on its other side, of both sides, below a condition and of an anti join they stay.
    for (sql, moves) in [
        (
            "select c_name, o_orderkey, l_tax from customer, orders, lineitem where c_custkey = \
          o_custkey and o_orderkey = l_orderkey and o_orderkey in FEW",
            true,
        ),
        (
            "select o_totalprice, l_tax from orders, lineitem where o_orderkey = l_orderkey and \
          l_orderkey in FEW",
            true,
        ),
        (
            "select * from (select o_orderkey as k, l_tax from orders, lineitem where o_orderkey = \
          l_orderkey) where k in FEW",
            true,
        ),
        (
            "select o_totalprice, l_tax from orders, lineitem where o_orderkey = l_orderkey and \
          o_orderkey in FEW and o_custkey in (select c_custkey from customer where c_acctbal > 9000)",
            true,
        ),
        (
            "select o_orderkey, l_tax from orders left join lineitem on o_orderkey = l_orderkey and \
          l_tax > 0.07 where o_orderkey in FEW",
            true,
        ),
        (
            "select c_name, o_totalprice from customer left join orders on c_custkey = o_custkey where \
          exists (select 1 from lineitem where l_orderkey = o_orderkey and l_quantity > 49)",
            false,
        ),
        (
            "select o_orderkey from orders, lineitem where o_orderkey = l_orderkey and exists (select 1 \
          from partsupp where ps_partkey = l_partkey and ps_suppkey = o_custkey)",
            false,
        ),
        (
            "select l_tax from orders, lineitem where o_orderkey = l_orderkey and not exists (select 1 \
          from FEW f where f.l_orderkey = o_orderkey)",
            false,
        ),
    ] {
        let sql = sql.replace("FEW", few);
        let ours = session(8, true).await;
        let plan =
            ours.sql(&sql).await.expect("a plan").create_physical_plan().await.expect("a plan");
        let plan = displayable(plan.as_ref()).indent(false).to_string();
        let joins: Vec<&str> = plan.lines().filter(|line| line.contains("HashJoinExec")).collect();
        let first = joins.first().expect("a join");
        assert_eq!(!first.contains("Semi") && plan.contains("Semi"), moves, "{sql}\n{plan}");
        if moves {
            same(&sql).await;
        }
    }
}
