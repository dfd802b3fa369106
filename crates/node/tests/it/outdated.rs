//! A plan that is out of date when it is published: what the text means now is what is answered.

use std::sync::Arc;

use dunlin_gateway::{MetadataCatalog, Reply, Session};
use dunlin_planner::{Planner, Settings};
use futures::TryStreamExt;

use crate::cluster::{Cluster, Shape, tpch};

#[test]
fn a_view_that_has_become_one_of_what_gateways_answer_themselves_is_answered() {
    let shape = Shape { partitions: 2, executors: 1, fine: false };
    let cluster = Cluster::start(&tpch(), shape);
    let engine = &cluster.engine;
    cluster.rows("CREATE VIEW v AS SELECT n_name AS name FROM nation").expect("made");
    let rows = || {
        let batches = cluster.rows("SELECT name FROM v").expect("rows");
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>()
    };
    // The second time it is published without a look at the catalog.
    assert_eq!((rows(), rows()), (25, 25));
    // Another gateway makes it another view; this one has not heard of it.
    let catalog = Arc::new(MetadataCatalog::new(Arc::clone(engine.store())));
    let stores = Arc::clone(engine.planner().stores());
    let planner = Planner::new(engine.env().clone(), Settings::default(), catalog, stores);
    let planner = planner.expect("a planner");
    let session = planner.session().expect("a session");
    let other = Session::new(engine.gateway().expect("a gateway"), session, "test".to_owned());
    let replace = "CREATE OR REPLACE VIEW v AS \
         SELECT schema_name AS name FROM information_schema.schemata";
    engine.block_on(async {
        match other.sql(replace).await.expect("replaced") {
            Reply::Done(_) => {}
            Reply::Rows(rows) => drop(rows.batches.try_collect::<Vec<_>>().await),
        }
    });
    assert_eq!(rows(), 1, "there is one schema");
    cluster.assert_nothing_left();
}
