//! CREATE and DROP through SQL.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use dunlin_base::Revision;

use super::*;
use crate::catalog::{CatalogStore, Loaded, Name, Object, Swapped};

#[tokio::test]
async fn tables_and_views_come_and_go() {
    let lab = Lab::new();
    let a = lab.text("a.csv", "x\n1\n");
    let b = lab.text("b.csv", "x\n2\n");
    let create = table("t", "csv", &a);
    let replace = table("t", "csv", &b).replace("CREATE", "CREATE OR REPLACE");
    let keep = table("t", "csv", &b).replace("TABLE t", "TABLE IF NOT EXISTS t");
    let steps = [
        (create.as_str(), "CREATE EXTERNAL TABLE"),
        (keep.as_str(), "CREATE EXTERNAL TABLE ('public.t' was there already)"),
        ("SELECT x FROM t", "1"),
        (replace.as_str(), "CREATE EXTERNAL TABLE"),
        ("SELECT x FROM t", "2"),
        ("CREATE VIEW v (y) AS SELECT x + 1 FROM t", "CREATE VIEW"),
        ("SELECT y FROM public.v", "3"),
        ("CREATE OR REPLACE VIEW v AS SELECT x * 10 AS z FROM t", "CREATE VIEW"),
        ("SELECT z FROM dunlin.public.v", "20"),
        ("CREATE SCHEMA lab", "CREATE SCHEMA"),
        ("CREATE VIEW lab.w AS SELECT * FROM v", "CREATE VIEW"),
        ("SET datafusion.catalog.default_schema = 'lab'", "SET"),
        ("SELECT z FROM w", "20"),
        ("RESET datafusion.catalog.default_schema", "RESET"),
        ("DROP SCHEMA lab CASCADE", "DROP SCHEMA"),
        ("DROP VIEW v", "DROP VIEW"),
        ("DROP VIEW IF EXISTS v", "DROP VIEW ('public.v' was not there)"),
        ("DROP TABLE t", "DROP TABLE"),
        ("BEGIN", "BEGIN"),
        ("COMMIT", "COMMIT"),
    ];
    for (sql, answer) in steps {
        assert_eq!(lab.rows(sql).await.expect(sql), [answer], "{sql}");
    }
}

#[tokio::test]
async fn views_keep_the_schema_they_were_made_in() {
    let lab = Lab::new();
    let a = lab.text("a.csv", "x\n1\n");
    lab.plan("CREATE SCHEMA lab; SET datafusion.catalog.default_schema = lab").await.expect("ok");
    lab.plan(&table("t", "csv", &a)).await.expect("created");
    lab.plan("CREATE VIEW v AS SELECT x FROM t").await.expect("created");
    lab.plan("SET datafusion.catalog.default_schema = public").await.expect("set");
    assert_eq!(lab.rows("SELECT x FROM lab.v").await.expect("runs"), ["1"]);
}

#[tokio::test]
async fn a_view_means_the_same_to_readers_with_other_parser_settings() {
    let lab = Lab::new();
    let a = lab.text("a.csv", "x,Y\n1,2\n");
    lab.plan(&table("t", "csv", &a)).await.expect("created");
    lab.plan("CREATE VIEW v AS SELECT X, \"Y\" FROM T").await.expect("created");
    lab.plan("SET datafusion.sql_parser.enable_ident_normalization = false").await.expect("set");
    assert_eq!(lab.rows("SELECT x, Y FROM v").await.expect("runs"), ["1|2"]);
    let (message, _) = lab.error("CREATE VIEW w AS SELECT Y FROM t").await;
    assert!(message.contains('y'), "what could not be read later is not made: {message}");
}

/// A planner that knows no store, with a table of a store that cannot be reached.
async fn with_options(table: bool) -> (Arc<Planner>, Session) {
    use crate::catalog::{CatalogStore, Definition, Name};
    let catalog = Arc::new(MemoryCatalog::default());
    if table {
        let option = |(key, value): (&str, &str)| dunlin_proto::catalog::v1::Option {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let definition = dunlin_proto::catalog::v1::ExternalTable {
            locations: vec!["s3://lake/t/".to_owned()],
            format: "csv".to_owned(),
            options: REACHED.map(option).into(),
            ..Default::default()
        };
        let object = Definition::Table(Box::new(definition)).into();
        catalog.swap(&Name::object("public", "t"), None, Some(object)).await.expect("kept");
    }
    let env = Env::seeded(1);
    let limits = StoreLimits { retries: 0, ..StoreLimits::default() };
    let stores = ObjectStores::new(env.clone(), limits);
    let planner = Planner::new(env, Settings::default(), catalog, stores).expect("valid");
    let session = planner.session().expect("a session");
    (planner, session)
}

const REACHED: [(&str, &str); 3] = [
    ("aws.endpoint", "http://127.0.0.1:1"),
    ("aws.region", "us-east-1"),
    ("aws.skip_signature", "true"),
];

#[tokio::test]
async fn a_table_that_was_not_made_leaves_no_options_of_its_store() {
    let (planner, session) = with_options(false).await;
    let said = REACHED.map(|(key, value)| format!("'{key}' '{value}'")).join(", ");
    for sql in [
        format!("CREATE EXTERNAL TABLE u STORED AS csv LOCATION 's3://lake/u/' OPTIONS ({said})"),
        format!("COPY (SELECT 1 AS x) TO 's3://lake/u/' STORED AS csv OPTIONS ({said})"),
    ] {
        let error = Lab::plan_in(&session, &sql).await.expect_err("out of reach");
        assert_eq!(error.kind(), dunlin_base::Kind::Retry, "{sql}: {error}");
        assert_eq!(planner.stores().options_for("s3://lake/"), None, "{sql}");
    }
}

#[tokio::test]
async fn the_options_of_a_store_go_with_its_last_table() {
    let (planner, session) = with_options(true).await;
    let error = Lab::plan_in(&session, "SELECT * FROM t").await.expect_err("out of reach");
    assert_eq!(error.kind(), dunlin_base::Kind::Retry, "{error}");
    assert!(planner.stores().options_for("s3://lake/").is_some());
    Lab::plan_in(&session, "DROP TABLE t").await.expect("dropped");
    Lab::plan_in(&session, "SHOW TABLES").await.expect("shown");
    assert_eq!(planner.stores().options_for("s3://lake/"), None);
}

#[tokio::test]
async fn secrets_stay_out_of_sight() {
    let lab = Lab::new();
    let a = lab.text("a.csv", "x\n1\n");
    let sql = format!("{} OPTIONS ('format.delimiter' ';')", table("t", "csv", &a));
    let sql = sql.replace(&format!("LOCATION '{}' ", a.display()), "")
        + &format!(" LOCATION '{}'", a.display());
    lab.plan(&sql).await.expect("created");
    let shown = lab.rows("SHOW CREATE TABLE t").await.expect("known").join("\n");
    assert!(shown.contains("CREATE EXTERNAL TABLE t STORED AS CSV"), "{shown}");
    assert!(!shown.contains("delimiter"), "{shown}");
}

#[tokio::test]
async fn two_planners_share_one_catalog() {
    let lab = Lab::new();
    let a = lab.text("a.csv", "x\n1\n");
    let catalog: CatalogStoreRef = Arc::new(MemoryCatalog::default());
    let planner = || {
        let env = Env::seeded(1);
        let stores = ObjectStores::new(env.clone(), StoreLimits::default());
        Planner::new(env, Settings::default(), Arc::clone(&catalog), stores).expect("valid")
    };
    let (one, two) = (planner().session().expect("ok"), planner().session().expect("ok"));
    let run = async |session: &Session, sql: &str| {
        let statement = session.prepare(sql).expect(sql).remove(0);
        session.plan(&statement).await
    };
    run(&one, &table("t", "csv", &a)).await.expect("created");
    let planned = run(&two, "SELECT x FROM t").await.expect("seen by the other");
    assert!(matches!(planned, Planned::Query(_)));
    run(&two, "DROP TABLE t").await.expect("dropped");
    let error = run(&one, "SELECT x FROM t").await.expect_err("gone");
    assert!(error.message().starts_with("unknown table 't'"), "{error}");
}

/// A catalog from which another session drops `lab` while objects are made in it.
#[derive(Debug, Default)]
struct Dropping {
    inner: MemoryCatalog,
    armed: AtomicBool,
}

#[async_trait]
impl CatalogStore for Dropping {
    async fn version(&self) -> Result<Revision> {
        self.inner.version().await
    }

    async fn load(&self) -> Result<Loaded> {
        self.inner.load().await
    }

    async fn swap(
        &self,
        name: &Name,
        expected: Option<Revision>,
        new: Option<Object>,
    ) -> Result<Swapped> {
        if self.armed.swap(false, Ordering::SeqCst) {
            let lab = Name::schema("lab");
            let all = self.load().await?.objects;
            let there = all.iter().find(|stored| stored.name == lab).expect("the schema");
            self.inner.swap(&lab, Some(there.revision), None).await?;
        }
        self.inner.swap(name, expected, new).await
    }
}

#[tokio::test]
async fn nothing_is_made_in_a_schema_that_is_dropped_meanwhile() {
    let catalog = Arc::new(Dropping::default());
    let env = Env::seeded(1);
    let stores = ObjectStores::new(env.clone(), StoreLimits::default());
    let store: CatalogStoreRef = Arc::clone(&catalog) as CatalogStoreRef;
    let planner = Planner::new(env, Settings::default(), store, stores).expect("valid");
    let session = planner.session().expect("a session");
    let run = async |sql: &str| session.plan(&session.prepare(sql).expect(sql).remove(0)).await;
    run("CREATE SCHEMA lab").await.expect("a schema");
    catalog.armed.store(true, Ordering::SeqCst);
    let error = run("CREATE VIEW lab.v AS SELECT 1 AS x").await.expect_err("no schema");
    assert_eq!(error.message(), "there is no schema 'lab' any more");
    assert_eq!(catalog.load().await.expect("loaded").objects, []);
}
