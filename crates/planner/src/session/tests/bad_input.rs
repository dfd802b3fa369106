//! The catalogue of bad input: each gives one error that names the thing.

use super::*;

/// A session over small tables, and the broken ones beside them.
async fn lab() -> Lab {
    let lab = Lab::new();
    let people = lab.text("people.csv", "id,name\n1,ada\n2,bob\n");
    let nums = lab.parquet("nums.parquet", "n", numbers(&[1, 0, i64::MAX]));
    lab.plan(&table("people", "csv", &people)).await.expect("created");
    lab.plan(&table("nums", "parquet", &nums)).await.expect("created");
    lab
}

/// Runs each statement and compares its error, with `\n` for line ends, and its hint.
async fn refuses(lab: &Lab, cases: &[(&str, &str, &str)]) {
    for (sql, message, hint) in cases {
        let (found, found_hint) = lab.error(sql).await;
        if message.is_empty() {
            println!("CASE {sql:?}\n  {found:?}\n  {found_hint:?}");
            continue;
        }
        assert_eq!((found.as_str(), found_hint.as_str()), (*message, *hint), "{sql}");
    }
}

#[tokio::test]
async fn syntax_errors_show_their_place() {
    refuses(
        &lab().await,
        &[
            (
                "SELECT FROM WHERE",
                "syntax error: expected an expression, found FROM (line 1, column 8)\n  1 | SELECT FROM WHERE\n             ^",
                "",
            ),
            (
                "SELECT 1 +",
                "",
                "",
            ),
            ("SELECT\n  'open", "", ""),
            ("SELEC 1", "", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn unknown_names_are_marked_and_suggested() {
    refuses(
        &lab().await,
        &[
            (
                "SELECT id FROM poeple",
                "unknown table 'poeple' (line 1, column 16)\n  1 | SELECT id FROM poeple\n                     ^^^^^^",
                "did you mean 'people'?",
            ),
            ("SELECT 1 FROM customers", "", ""),
            ("SELECT 1 FROM lab.people", "", ""),
            ("SELECT 1 FROM other.public.people", "", ""),
            ("SELECT nmae FROM people", "", ""),
            ("SELECT p.id FROM people AS q", "", ""),
            ("SELECT id FROM people WHERE\n  agee > 3", "", ""),
            ("SELECT id FROM people a JOIN people b ON a.id = b.id", "", ""),
            ("SELECT abss(id) FROM people", "", ""),
            ("SELECT \"ID\" FROM people", "", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn wrong_types_and_arithmetic() {
    refuses(
        &lab().await,
        &[
            ("SELECT n / 0 FROM nums", "", ""),
            ("SELECT 1 / n FROM nums", "", ""),
            ("SELECT n + 1 FROM nums", "", ""),
            ("SELECT CAST(name AS BIGINT) FROM people", "", ""),
            ("SELECT CAST('x' AS BIGINT)", "", ""),
            ("SELECT sum(name) FROM people", "", ""),
            ("SELECT name, count(*) FROM people", "", ""),
            ("SELECT id FROM people ORDER BY (SELECT n FROM nums)", "", ""),
            ("SELECT sum((SELECT max(n) FROM nums)) FROM people", "", ""),
            ("SELECT $1", "", ""),
            ("SELECT date '2024-13-45'", "", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn statements_that_are_not_supported_say_so() {
    refuses(
        &lab().await,
        &[
            ("INSERT INTO people VALUES (1, 'x')", "", ""),
            ("DELETE FROM people", "", ""),
            ("UPDATE people SET id = 1", "", ""),
            ("CREATE TABLE t AS SELECT 1", "", ""),
            ("CREATE TABLE t (x INT)", "", ""),
            ("COPY people TO '/tmp/x.parquet'", "", ""),
            ("ALTER TABLE people RENAME TO p", "", ""),
            ("TRUNCATE TABLE people", "", ""),
            ("DROP INDEX i", "", ""),
            ("PREPARE p AS SELECT 1", "", ""),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", "", ""),
            ("EXPLAIN INSERT INTO people VALUES (1, 'x')", "", ""),
            ("GRANT SELECT ON people TO bob", "", ""),
            ("SET GLOBAL x = 1", "", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn ddl_that_does_not_fit_the_catalog() {
    let lab = lab().await;
    lab.plan("CREATE VIEW v AS SELECT id FROM people").await.expect("created");
    refuses(
        &lab,
        &[
            ("CREATE VIEW v AS SELECT 1", "", ""),
            ("CREATE VIEW people AS SELECT 1", "", ""),
            ("CREATE OR REPLACE VIEW people AS SELECT 1", "", ""),
            ("CREATE OR REPLACE VIEW v AS SELECT * FROM v", "", ""),
            ("CREATE VIEW w (a, b) AS SELECT 1", "", ""),
            ("CREATE VIEW w AS SELECT nope FROM people", "", ""),
            ("DROP VIEW people", "", ""),
            ("DROP TABLE v", "", ""),
            ("DROP TABLE poeple", "", ""),
            ("DROP SCHEMA public", "", ""),
            ("DROP SCHEMA lab", "", ""),
            ("CREATE SCHEMA public", "", ""),
            ("CREATE VIEW lab.v AS SELECT 1", "", ""),
            ("SET dunlin.partitoins = 3", "", ""),
            ("SHOW dunlin.partitoins", "", ""),
            ("SET datafusion.catalog.information_schema = false", "", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn files_that_cannot_be_a_table_are_named() {
    let lab = lab().await;
    std::fs::create_dir(lab.folder.path().join("empty")).expect("created");
    lab.text("zero.parquet", "");
    lab.text("noise.parquet", "this is certainly not a Parquet file at all");
    let whole = std::fs::read(lab.path("nums.parquet")).expect("read");
    std::fs::write(lab.path("cut.parquet"), &whole[..whole.len() / 2]).expect("written");
    std::fs::write(lab.path("tail.parquet"), &whole[whole.len() - 20..]).expect("written");
    lab.parquet("mix/a.parquet", "x", numbers(&[1]));
    lab.parquet("mix/b.parquet", "x", words(&["one"]));
    lab.text("csvs/a.csv", "x,y\n1,2\n");
    lab.text("csvs/b.csv", "y,x\n1,2\n");
    lab.text("only/readme.txt", "hello");
    lab.text("both/a.csv", "x\n1\n");
    lab.text("both/b.csv.gz", "x\n1\n");
    lab.text("bad.json", "{\"x\": 1}\n{broken\n");
    lab.text("bad.avro", "no Avro");
    lab.text("bad.arrow", "no Arrow");
    lab.text("blank.csv", "");
    let at = |format: &str, name: &str| table("t", format, &lab.folder.path().join(name));
    let cases = [
        (at("parquet", "nope.parquet"), "", ""),
        (at("parquet", "empty"), "", ""),
        (at("parquet", "none*.parquet"), "", ""),
        (at("parquet", "zero.parquet"), "", ""),
        (at("parquet", "noise.parquet"), "", ""),
        (at("parquet", "cut.parquet"), "", ""),
        (at("parquet", "tail.parquet"), "", ""),
        (at("parquet", "mix"), "", ""),
        (at("csv", "csvs"), "", ""),
        (at("parquet", "only"), "", ""),
        (at("csv", "both"), "", ""),
        (at("json", "bad.json"), "", ""),
        (at("avro", "bad.avro"), "", ""),
        (at("arrow", "bad.arrow"), "", ""),
        (at("csv", "blank.csv"), "", ""),
        (at("orc", "people.csv"), "", ""),
        (at("csv", "people.csv") + " OPTIONS ('format.delimitr' ';')", "", ""),
        (at("csv", "people.csv").replace("LOCATION '", "LOCATION 'ftp://host/"), "", ""),
        ("CREATE EXTERNAL TABLE t STORED AS csv LOCATION ''".to_owned(), "", ""),
        (
            "CREATE EXTERNAL TABLE t STORED AS csv LOCATION 's3://b/x.csv' OPTIONS ('aws.nope' '1')"
                .to_owned(),
            "",
            "",
        ),
    ];
    for (sql, message, hint) in &cases {
        refuses(&lab, &[(sql, message, hint)]).await;
    }
    std::fs::write(lab.path("people.csv"), "id,name\n1,ada,extra\n").expect("written");
    refuses(&lab, &[("SELECT * FROM people", "", "")]).await;
    std::fs::remove_file(lab.path("nums.parquet")).expect("removed");
    refuses(&lab, &[("SELECT * FROM nums", "", "")]).await;
}
