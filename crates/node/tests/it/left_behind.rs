//! Nothing of a query is left after it ended, however it ended.

use dunlin_base::Kind;
use dunlin_gateway::Reply;

use crate::cluster::{Cluster, Shape, tpch};

const SHAPE: Shape = Shape { partitions: 4, executors: 2, fine: true };

#[test]
fn of_a_query_that_failed() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    let error = cluster
        .rows("select l_orderkey / (l_linenumber - l_linenumber) from lineitem")
        .expect_err("a division by zero");
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(error.message().to_lowercase().contains("division by zero"), "{error}");
    cluster.assert_nothing_left();
}

#[test]
fn of_a_query_that_nobody_wanted_any_more() {
    let cluster = Cluster::start(&tpch(), SHAPE);
    cluster.engine.block_on(async {
        let sql = "select count(*) from lineitem a, lineitem b where a.l_comment < b.l_comment";
        let reply = cluster.session.sql(sql).await.expect("a query starts");
        assert!(matches!(reply, Reply::Rows(_)));
        drop(reply);
    });
    cluster.assert_nothing_left();
    let rows = cluster.rows("select count(*) from nation").expect("the process goes on");
    assert_eq!(rows.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
}
