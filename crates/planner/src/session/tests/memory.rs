//! What planning takes and plans hold: limits that are one clear error, and room for what is usual.

use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::scalar::ScalarValue;
use dunlin_base::Kind;

use super::*;

/// A session over a table of texts.
async fn lab() -> Lab {
    let lab = Lab::new();
    let file = lab.text("t.csv", "v,n\na,1\nb,2\nc,3\n");
    lab.plan(&table("t", "csv", &file)).await.expect("created");
    lab
}

fn displayed(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

fn nested(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

fn each(times: usize, between: &str, one: impl Fn(usize) -> String) -> String {
    (0..times).map(one).collect::<Vec<_>>().join(between)
}

/// Planning says so; nobody has run anything.
async fn refused(lab: &Lab, sql: &str, said: &str) {
    let shown: String = sql.chars().take(80).collect();
    let error = lab.plan(sql).await.map(drop).expect_err(&shown);
    assert_eq!(error.kind(), Kind::Exhausted, "{shown}: {error}");
    assert!(error.message().contains(said), "{shown}: {error}");
}

#[tokio::test]
async fn what_becomes_long_in_steps_stays_a_call() {
    let lab = lab().await;
    for (function, times) in [("encode(", 24), ("regexp_replace(", 12)] {
        let close = if times == 24 { ", 'hex')" } else { ", '.', '...', 'g')" };
        let sql = format!("SELECT {}", nested(function, "'abcdefgh'", close, times));
        let plan = lab.query(&sql).await.physical;
        assert!(displayed(&plan).contains(function), "the last steps are left to who runs it");
        let bytes = ProtoCodec.encode(&plan).expect("encoded");
        assert!(bytes.len() < 1 << 20, "{function} {}", bytes.len());
    }
    let few = nested("encode(", "'a'", ", 'hex')", 3);
    assert_eq!(lab.rows(&format!("SELECT {few}")).await.expect("few"), ["33363331"]);
}

#[tokio::test]
async fn every_growing_function_is_refused_when_it_is_run() {
    let lab = lab().await;
    let [long, other] = ["repeat('a', 40000000)", "repeat('b', 40000000)"];
    let half = "repeat('a', 9000000)";
    for sql in [
        format!("SELECT encode({long}, 'hex')"),
        format!("SELECT translate({long}, 'a', '€')"),
        "SELECT to_char(TIMESTAMP '2026-01-01', repeat('%c', 2000000))".to_owned(),
        format!("SELECT string_to_array({half}, NULL)"),
        format!("SELECT regexp_match({half}, '((((((((.*))))))))')"),
        format!("SELECT overlay({long} PLACING {other} FROM 1)"),
        format!("SELECT [{long}, {other}]"),
        format!("SELECT array_append([{long}], {other})"),
        format!("SELECT array_concat([{long}], [{other}])"),
    ] {
        let error = lab.rows(&sql).await.map(drop).expect_err(&sql);
        assert_eq!(error.kind(), Kind::Exhausted, "{sql}: {error}");
        assert!(error.message().contains("would make"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn types_whose_every_value_is_long_are_refused() {
    let lab = lab().await;
    for kind in [
        "FixedSizeBinary(2000000000)",
        "FixedSizeList(500000000, Int64)",
        "List(FixedSizeBinary(2000000000))",
        "Struct(\"a\": FixedSizeList(100000, Int8))",
    ] {
        for function in ["arrow_cast", "arrow_try_cast"] {
            refused(&lab, &format!("SELECT {function}(NULL, '{kind}')"), "would make").await;
        }
    }
    let narrow = "SELECT arrow_cast(arrow_cast('abc', 'Binary'), 'FixedSizeBinary(3)')";
    assert_eq!(lab.rows(narrow).await.expect("narrow"), ["616263"]);
}

#[tokio::test]
async fn a_condition_does_not_repeat_a_long_constant_without_end() {
    let lab = lab().await;
    let sql = |length: usize, times: usize| {
        let terms = each(20, " OR ", |i| {
            format!("concat(v, {}) LIKE 'a{i}%'", vec!["s"; times].join(", "))
        });
        format!("SELECT 1 FROM (SELECT repeat('x', {length}) AS s, v FROM t) WHERE {terms}")
    };
    refused(&lab, &sql(100_000, 50), "the plan would grow by").await;
    lab.plan(&sql(1000, 1)).await.expect("short constants are usual");
    let text = format!(
        "SELECT 1 FROM (SELECT '{}' AS s, v FROM t) WHERE v IN ({})",
        "y".repeat(1_000_000),
        vec!["s"; 200].join(", ")
    );
    refused(&lab, &text, "the plan would grow by").await;
    let unions = format!(
        "SELECT 1 FROM ({}) WHERE v IN ({})",
        vec!["SELECT v FROM t"; 100].join(" UNION ALL "),
        each(10_000, ", ", |i| format!("'{i}'")),
    );
    refused(&lab, &unions, "the plan would grow by").await;
}

#[tokio::test]
async fn expressions_that_double_in_each_layer_have_a_limit() {
    let lab = lab().await;
    let layers = |times| {
        let inside = nested("(SELECT n + n AS n FROM ", "t", ")", times);
        format!("SELECT 1 FROM {inside} WHERE n = 7")
    };
    refused(&lab, &layers(30), "the plan would grow by").await;
    lab.plan(&layers(6)).await.expect("a few layers");
    let coalesce = |times| format!("SELECT {} FROM t", nested("coalesce(", "v", ", 'a')", times));
    refused(&lab, &coalesce(40), "the plan would grow by").await;
    lab.plan(&coalesce(6)).await.expect("a few");
    let between = |times| {
        let more = " BETWEEN false AND true".repeat(times);
        format!("SELECT n BETWEEN 1 AND 2{more} FROM t")
    };
    refused(&lab, &between(40), "the plan would grow by").await;
    lab.plan(&between(6)).await.expect("a few");
}

#[tokio::test]
async fn constants_are_not_copied_for_every_row_without_end() {
    let lab = lab().await;
    let many = each(300, ", ", |i| format!("repeat('x', 200000) AS a{i}"));
    refused(&lab, &format!("SELECT {many} FROM t"), "for each of 8192 rows").await;
    let long = format!("'{}'", "x".repeat(200_000));
    let cases = [
        format!("SELECT {long} AS a FROM t"),
        format!("SELECT CASE WHEN n = 1 THEN {long} END FROM t"),
        format!("SELECT min({long}) FROM t"),
        format!("SELECT v || {long} FROM t"),
        format!("SELECT n FROM t ORDER BY greatest(v, {long})"),
        "SELECT array_repeat(1, 20000) FROM t".to_owned(),
    ];
    for sql in cases {
        refused(&lab, &sql, "for each of 8192 rows").await;
    }
    let usual = [
        format!("SELECT {}", each(300, ", ", |i| format!("repeat('x', 20000) AS a{i}"))),
        format!("SELECT {long} AS a FROM t LIMIT 10"),
        format!("SELECT n FROM t WHERE v = {long} OR v LIKE {long}"),
        format!("SELECT n, v = {long}, strpos(v, {long}) FROM t"),
        format!("SELECT repeat(v, 10), 'some text', [1, 2, 3] FROM t WHERE v IN ({long}, 'a')"),
        format!("VALUES ({long}), ({long})"),
        format!(
            "SELECT CASE {} END FROM t",
            each(100, " ", |i| format!("WHEN n = {i} THEN '{}'", "text".repeat(1000)))
        ),
    ];
    for sql in usual {
        let shown: String = sql.chars().take(80).collect();
        lab.plan(&sql).await.map(drop).expect(&shown);
    }
}

#[tokio::test]
async fn values_of_parameters_count_as_often_as_they_are_used() {
    let lab = lab().await;
    let planned = async |sql: &str| {
        let statement = lab.session.prepare(sql).expect("it parses").pop().expect("a statement");
        let value = ScalarValue::Utf8(Some("x".repeat(4 << 20)));
        lab.session.plan(&statement.with_values(vec![value]).expect("one value")).await
    };
    let said = |result: Result<Planned>| result.map(drop).expect_err("too much").to_string();
    let list = |times| format!("SELECT n FROM t WHERE v IN ({})", vec!["$1"; times].join(", "));
    assert!(said(planned(&list(20)).await).starts_with("the values of the parameters would take"));
    planned(&list(3)).await.expect("12 MiB");
    let with = |times| {
        let tables = each(times, ", ", |i| format!("c AS c{i}"));
        format!("WITH c AS (SELECT v FROM t WHERE v = $1) SELECT 1 FROM {tables}")
    };
    assert!(said(planned(&with(20)).await).starts_with("the values of the parameters would take"));
    planned(&with(2)).await.expect("8 MiB");
}
