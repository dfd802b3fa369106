//! Parameters: found, described, bound, refused.

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use dunlin_base::Kind;

use super::*;

fn one(lab: &Lab, sql: &str) -> Statement {
    lab.session.prepare(sql).expect("it parses").pop().expect("a statement")
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.text("t/a.csv", "id,name\n1,one\n2,two\n3,three\n");
    lab
}

async fn created(lab: &Lab) {
    let folder = lab.folder.path().join("t").display().to_string();
    let sql = format!(
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{folder}/' OPTIONS ('has_header' 'true')"
    );
    lab.plan(&sql).await.expect("a table");
}

#[tokio::test]
async fn both_forms_are_numbered_and_described() {
    let lab = lab();
    created(&lab).await;
    for sql in [
        "SELECT name FROM t WHERE id = ? AND name = ?",
        "SELECT name FROM t WHERE id = $1 AND name = $2",
    ] {
        let statement = one(&lab, sql);
        assert_eq!(statement.parameters(), 2, "{sql}");
        let described = lab.session.describe(&statement).await.expect("a description");
        let types: Vec<_> =
            described.parameters.fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types[0], DataType::Int64, "{sql}");
        assert!(matches!(types[1], DataType::Utf8 | DataType::Utf8View), "{sql}");
        let result = described.result.expect("rows");
        assert_eq!(result.field(0).name(), "name");
    }
}

#[tokio::test]
async fn a_parameter_that_is_cast_has_the_type_that_it_is_cast_to() {
    let lab = lab();
    created(&lab).await;
    let sql = "SELECT CAST(? AS DECIMAL(10, 2)), CAST(? AS DATE), ? FROM t WHERE id IN \
               (SELECT CAST(? AS BIGINT) FROM t)";
    let described = lab.session.describe(&one(&lab, sql)).await.expect("a description");
    let types: Vec<_> =
        described.parameters.fields().iter().map(|f| f.data_type().clone()).collect();
    let expected = [DataType::Decimal128(10, 2), DataType::Date32, DataType::Utf8, DataType::Int64];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn a_bound_statement_is_planned_with_its_values() {
    let lab = lab();
    created(&lab).await;
    let statement = one(&lab, "SELECT name FROM t WHERE id = ? OR name = ? ORDER BY id LIMIT ?");
    let values = vec![
        ScalarValue::Int32(Some(2)),
        ScalarValue::Utf8(Some("three' OR 1=1 --".to_owned())),
        ScalarValue::Int64(Some(5)),
    ];
    let bound = statement.with_values(values).expect("three values");
    let Planned::Query(plan) = lab.session.plan(&bound).await.expect("a plan") else {
        panic!("no query")
    };
    let context = datafusion::prelude::SessionContext::new();
    let batches = collect(plan.physical, context.task_ctx()).await.expect("rows");
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 1, "a value is never SQL");
}

#[tokio::test]
async fn a_plan_with_values_is_for_one_run() {
    let lab = lab();
    created(&lab).await;
    let statement = one(&lab, "SELECT name FROM t WHERE id = ?");
    for (value, name) in [(1, "one"), (2, "two"), (2, "two"), (1, "one")] {
        let bound = statement.with_values(vec![ScalarValue::Int64(Some(value))]).expect("a value");
        let Planned::Query(plan) = lab.session.plan(&bound).await.expect("a plan") else {
            panic!("no query")
        };
        assert!(lab.session.known_plan(&bound).await.is_none(), "it is not kept");
        let context = datafusion::prelude::SessionContext::new();
        let batches = collect(plan.physical, context.task_ctx()).await.expect("rows");
        let batch = batches.iter().find(|batch| batch.num_rows() == 1).expect("a row");
        let shown = arrow::util::display::array_value_to_string(batch.column(0), 0);
        assert_eq!(shown.expect("text"), name);
    }
}

#[tokio::test]
async fn what_is_missing_or_out_of_place_is_said() {
    let lab = lab();
    created(&lab).await;
    let unbound = lab.session.plan(&one(&lab, "SELECT ?")).await.expect_err("no value");
    assert_eq!(unbound.kind(), Kind::Invalid);
    assert_eq!(unbound.message(), "parameter $1 has no value");
    let error = one(&lab, "SELECT ?, ?").with_values(vec![ScalarValue::Null]).expect_err("one");
    assert_eq!(error.message(), "the statement has 2 parameters, and 1 values were given");
    for (sql, said) in [
        ("SELECT ?, $1", "parameters are ? or $1, not both in one statement"),
        ("SELECT $x", "'$x' is no parameter: write ? or $1"),
        ("SELECT $0", "'$0' is no parameter: write ? or $1"),
        ("CREATE VIEW v AS SELECT ?", "only queries have parameters"),
        ("SET dunlin.partitions = ?", "only queries have parameters"),
    ] {
        let error = lab.session.prepare(sql).expect_err(sql);
        assert!(error.message().starts_with(said), "{sql}: {error}");
    }
}

#[tokio::test]
async fn kinds_are_told_without_planning() {
    let lab = lab();
    for (sql, kind) in [
        ("SELECT 1", StatementKind::Rows),
        ("EXPLAIN SELECT 1", StatementKind::Rows),
        ("SHOW TABLES", StatementKind::Rows),
        ("DESCRIBE t", StatementKind::Rows),
        ("CREATE SCHEMA s", StatementKind::Change),
        ("DROP TABLE t", StatementKind::Change),
        ("SET dunlin.partitions = 3", StatementKind::Session),
        ("RESET dunlin.partitions", StatementKind::Session),
    ] {
        assert_eq!(one(&lab, sql).kind(), kind, "{sql}");
    }
}

#[tokio::test]
async fn options_travel_as_data() {
    let lab = lab();
    lab.plan("SET dunlin.partitions = 3; SET datafusion.sql_parser.parse_float_as_decimal = true")
        .await
        .expect("set");
    let changes = lab.session.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    let other = lab.planner.session().expect("a session");
    other.apply(changes.iter().map(|(n, v)| (n.as_str(), v.as_str()))).expect("the same options");
    assert_eq!(other.settings(), lab.session.settings());
    let error = other.apply([("dunlin.partitions", "5"), ("dunlin.nothing", "1")]);
    assert_eq!(error.expect_err("unknown").kind(), Kind::Invalid);
    assert_eq!(other.settings().partitions, 3, "all or none");
}
