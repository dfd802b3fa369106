//! Queries that work, and what is answered without one.

use super::*;

async fn lab() -> Lab {
    let lab = Lab::new();
    let people = lab.text("people.csv", "id,name\n1,ada\n2,bob\n3,cy\n");
    let scores = lab.parquet("scores/a.parquet", "score", numbers(&[1, 2, 3]));
    let folder = scores.parent().expect("a folder").to_owned();
    lab.plan(&table("people", "csv", &people)).await.expect("created");
    lab.plan(&table("scores", "parquet", &folder)).await.expect("created");
    lab
}

#[tokio::test]
async fn queries_over_files_give_rows() {
    let lab = lab().await;
    let rows = lab.rows("SELECT name, score FROM people JOIN scores ON id = score ORDER BY id");
    assert_eq!(rows.await.expect("runs"), ["ada|1", "bob|2", "cy|3"]);
    let query = lab.query("SELECT count(*) AS \"How Many\" FROM people").await;
    assert_eq!(query.schema.field(0).name(), "How Many");
    assert_eq!(query.settings.partitions, 2);
}

#[tokio::test]
async fn a_subquery_as_a_value_gives_one_row_or_an_error() {
    let lab = lab().await;
    let good = [
        ("SELECT (SELECT max(score) FROM scores)", vec!["3"]),
        ("SELECT (SELECT score FROM scores WHERE score = 2)", vec!["2"]),
        ("SELECT (SELECT score FROM scores WHERE score > 9)", vec!["NULL"]),
        ("SELECT (SELECT score FROM scores ORDER BY score LIMIT 1) + 1", vec!["2"]),
        (
            "SELECT name FROM people WHERE id = (SELECT score FROM scores WHERE score = 3)",
            vec!["cy"],
        ),
        (
            "SELECT name FROM people WHERE id > (SELECT count(*) FROM scores WHERE score = id) \
             ORDER BY id",
            vec!["bob", "cy"],
        ),
        ("SELECT 1 WHERE EXISTS (SELECT score FROM scores)", vec!["1"]),
        (
            "SELECT id FROM people ORDER BY id * (SELECT -max(score) FROM scores)",
            vec!["3", "2", "1"],
        ),
        ("SELECT sum(id + (SELECT max(score) FROM scores)) AS s FROM people", vec!["15"]),
        (
            "SELECT id % (SELECT max(score) - 1 FROM scores) AS k, count(*) FROM people \
             GROUP BY id % (SELECT max(score) - 1 FROM scores) ORDER BY k",
            vec!["0|1", "1|2"],
        ),
        (
            "SELECT id FROM people p ORDER BY (SELECT -max(score) FROM scores WHERE score = p.id)",
            vec!["3", "2", "1"],
        ),
        ("SELECT count(*) FROM people WHERE id IN (SELECT score FROM scores)", vec!["3"]),
    ];
    for (sql, rows) in good {
        assert_eq!(lab.rows(sql).await.expect(sql), rows, "{sql}");
    }
    let many = [
        "SELECT (SELECT score FROM scores)",
        "SELECT name FROM people WHERE id = (SELECT score FROM scores)",
        "SELECT name FROM people WHERE id = (SELECT score FROM scores WHERE score > 1)",
        "SELECT CASE WHEN (SELECT score FROM scores) = 1 THEN 1 END",
        "WITH w AS (SELECT (SELECT score FROM scores) AS x) SELECT x FROM w",
        "SELECT count(*) FROM people GROUP BY id HAVING count(*) < (SELECT score FROM scores)",
    ];
    for sql in many {
        let (message, hint) = lab.error(sql).await;
        assert_eq!(message, "a subquery that is used as a value gave more than one row", "{sql}");
        assert_eq!(hint, "aggregate it, such as max(x), or add LIMIT 1");
    }
    lab.plan("CREATE VIEW w AS SELECT (SELECT score FROM scores) AS x").await.expect("created");
    let (message, _) = lab.error("SELECT x FROM w").await;
    assert_eq!(message, "a subquery that is used as a value gave more than one row");
}

#[tokio::test]
async fn what_asks_about_tables_is_answered_here() {
    let lab = lab().await;
    lab.plan("CREATE VIEW v AS SELECT table_name FROM information_schema.tables")
        .await
        .expect("ok");
    let answers = [
        (
            "SHOW TABLES",
            vec!["public|people|BASE TABLE", "public|scores|BASE TABLE", "public|v|VIEW"],
        ),
        ("SHOW SCHEMAS", vec!["public"]),
        ("DESCRIBE scores", vec!["score|Int64|NO"]),
        ("SHOW COLUMNS FROM scores", vec!["dunlin|public|scores|score|Int64|NO"]),
        ("SHOW dunlin.partitions", vec!["dunlin.partitions|2"]),
        (
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'people' \
             ORDER BY ordinal_position",
            vec!["id", "name"],
        ),
        ("SELECT table_name FROM v WHERE table_name = 'scores'", vec!["scores"]),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM information_schema.tables)", vec!["1"]),
    ];
    for (sql, rows) in answers {
        assert!(matches!(lab.plan(sql).await.expect(sql), Planned::Local(..)), "{sql}");
        assert_eq!(lab.rows(sql).await.expect(sql), rows, "{sql}");
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_left_out_of_information_schema() {
    let lab = lab().await;
    std::fs::remove_file(lab.path("people.csv")).expect("removed");
    let columns = lab.rows("SELECT DISTINCT table_name FROM information_schema.columns");
    assert_eq!(columns.await.expect("the rest"), ["scores"]);
    let tables = lab.rows("SHOW TABLES").await.expect("names need no files");
    assert_eq!(tables.len(), 2);
}

#[tokio::test]
async fn settings_are_the_sessions_own() {
    let lab = lab().await;
    let other = lab.planner.session().expect("a session");
    for sql in ["SET dunlin.partitions = 5", "SET datafusion.execution.batch_size = '10'"] {
        assert!(matches!(lab.plan(sql).await.expect(sql), Planned::Done(done) if done == "SET"));
    }
    assert_eq!(lab.session.settings().partitions, 5);
    assert_eq!(lab.session.settings().batch_size, 10);
    assert_eq!(other.settings().partitions, 2);
    let shown = lab.rows("SHOW datafusion.execution.target_partitions").await.expect("known");
    assert_eq!(shown, ["datafusion.execution.target_partitions|5"]);
    assert_eq!(lab.rows("RESET dunlin.partitions").await.expect("known"), ["RESET"]);
    assert_eq!(lab.session.settings().partitions, 2);
    lab.plan("SET TIME ZONE = '+02:00'").await.expect("an alias");
    assert_eq!(lab.session.settings().time_zone.as_deref(), Some("+02:00"));
}

#[tokio::test]
async fn explain_hands_the_query_over() {
    let lab = lab().await;
    for (sql, flags) in [
        ("EXPLAIN SELECT 1", (false, false)),
        ("EXPLAIN ANALYZE SELECT * FROM scores", (true, false)),
        ("EXPLAIN VERBOSE SELECT 1", (false, true)),
    ] {
        match lab.plan(sql).await.expect(sql) {
            Planned::Explain { analyze, verbose, .. } => assert_eq!((analyze, verbose), flags),
            other => panic!("{sql} is {other:?}"),
        }
    }
}

#[tokio::test]
async fn now_is_the_clock_of_the_process() {
    let lab = lab().await;
    let rows = lab.rows("SELECT now() = now(), extract(year FROM now())").await.expect("runs");
    assert_eq!(rows, ["true|2023"], "the seeded world begins in November 2023");
}

#[tokio::test]
async fn a_text_is_split_into_statements_with_their_places() {
    let lab = lab().await;
    let sql = "SELECT 1;;\n -- only a comment\n;SELECT ';' AS \"é;\";\n\nSELECT 3";
    let statements = lab.session.prepare(sql).expect("parses");
    let texts: Vec<_> = statements.iter().map(Statement::sql).collect();
    assert_eq!(texts, ["SELECT 1", "SELECT ';' AS \"é;\"", "SELECT 3"]);
    assert!(lab.session.prepare("  ;\n").expect("nothing").is_empty());
    let (message, _) = lab.error("SELECT 1;\nSELECT nope FROM scores").await;
    assert!(message.contains("(line 2, column 8)"), "{message}");
}

#[tokio::test]
async fn planning_can_move_between_threads_and_be_dropped() {
    let lab = lab().await;
    let statement = lab.session.prepare("SELECT * FROM scores").expect("parses").remove(0);
    let session = Arc::new(lab.planner.session().expect("a session"));
    let planning = {
        let (session, statement) = (Arc::clone(&session), statement.clone());
        async move { session.plan(&statement).await }
    };
    let env = Env::seeded(1);
    let task = env.spawn("plan", planning);
    assert!(matches!(task.join().await.expect("no panic"), Ok(Planned::Query(_))));
    // Dropped after its first step, wherever that is.
    let mut dropped = Box::pin(session.plan(&statement));
    let _ = futures::poll!(dropped.as_mut());
    drop(dropped);
    assert!(session.plan(&statement).await.is_ok());
}

#[tokio::test]
async fn views_may_be_as_deep_as_statements() {
    let lab = lab().await;
    let deep = format!("CREATE VIEW deep AS SELECT {}1{} AS x", "abs(".repeat(60), ")".repeat(60));
    lab.plan(&deep).await.expect("created");
    assert_eq!(lab.rows("SELECT x FROM deep").await.expect("runs"), ["1"]);
    // A chain of views: the limit is the scope's, not the stack's.
    lab.plan("CREATE VIEW v0 AS SELECT 1 AS x").await.expect("created");
    for i in 1..40 {
        let sql = format!("CREATE VIEW v{i} AS SELECT x FROM v{}", i - 1);
        if let Err(error) = lab.plan(&sql).await {
            assert!(error.message().ends_with("more than 32 views on each other"), "{error}");
            assert_eq!(i, 32);
            return;
        }
    }
    panic!("no limit");
}

#[tokio::test]
async fn what_the_gateway_answers_itself_has_a_limit() {
    let lab = Lab::new();
    let sql = "SELECT * FROM information_schema.df_settings a, information_schema.df_settings b, \
         information_schema.df_settings c LIMIT 300000";
    let error = lab.rows(sql).await.expect_err("too much for one process");
    assert_eq!(error.kind(), dunlin_base::Kind::Exhausted, "{error}");
    assert!(error.message().contains("more than 64"), "{error}");
}

#[tokio::test]
async fn what_grows_beyond_all_memory_is_refused_before_it_does() {
    let lab = Lab::new();
    for sql in [
        "SELECT array_repeat(1, 9000000)",
        "SELECT array_repeat(array_repeat(1, 3000), 3000)",
        "SELECT list_repeat('x', 9000000)",
        "SELECT array_resize([1], 9000000, 2)",
        "SELECT range(9000000)",
        "SELECT generate_series(0, 90000000, 10)",
        "SELECT generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1 millisecond')",
        "SELECT repeat('abcdefghij', 9000000)",
        "SELECT lpad('a', 70000000, 'xy')",
        "SELECT rpad('a', 70000000)",
        "SELECT replace(repeat('a', 9000), 'a', repeat('b', 9000))",
        "SELECT regexp_replace(repeat('a', 9000), '.', repeat('b', 9000), 'g')",
        "SELECT array_to_string(array_repeat('a', 9000), repeat('b', 9000))",
        "SELECT array_replace_all(array_repeat('a', 9000), 'a', repeat('b', 9000))",
        "SELECT concat(repeat('a', 30000000), repeat('b', 30000000), repeat('c', 30000000))",
    ] {
        let error = lab.rows(sql).await.map(drop).expect_err(sql);
        assert_eq!(error.kind(), dunlin_base::Kind::Exhausted, "{sql}: {error}");
        assert!(error.message().contains("would make"), "{sql}: {error}");
    }
    let back = "SELECT range(DATE '2026-02-01', DATE '2026-03-01', INTERVAL '1 month -28 days')";
    assert!(lab.rows(back).await.is_err(), "it would never end");
    assert_eq!(lab.rows("SELECT list_repeat(repeat('a', 2), 2)").await.expect("few"), ["[aa, aa]"]);
    assert_eq!(lab.rows("SELECT concat_ws('-', 'a', 'b')").await.expect("few"), ["a-b"]);
}

#[tokio::test]
async fn all_that_is_computed_while_planning_has_one_limit() {
    let lab = Lab::new();
    let folded = async |sql: &str| lab.query(sql).await.physical;
    let shown = |plan: Arc<dyn ExecutionPlan>| {
        datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string()
    };
    let few = folded("SELECT length(repeat('a', 90000)) AS n").await;
    assert!(!shown(few).contains("repeat("), "it is a constant");
    let calls: Vec<String> =
        (100..800).map(|n| format!("length(repeat('{n}', 40000)) AS n{n}")).collect();
    let many = folded(&format!("SELECT {}", calls.join(", "))).await;
    assert!(shown(many).contains("repeat("), "the last are left to who runs the plan");
}
