//! The catalogue of bad input: each gives one error that names the thing.

use super::*;

/// The hint of every statement that is not supported.
const READS: &str = "there are SELECT, EXPLAIN, SHOW, SET, INSERT, COPY, CREATE TABLE AS, GRANT, \
     REVOKE, and CREATE and DROP of tables, views and schemas";

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
        assert_eq!((found.as_str(), found_hint.as_str()), (*message, *hint), "{sql}");
    }
}

#[tokio::test]
async fn syntax_errors_show_their_place() {
    refuses(
        &lab().await,
        &[
            ("SELECT 1 + FROM people", "unknown column 'from' (line 1, column 12)\n  1 | SELECT 1 + FROM people\n                 ^^^^", ""),
            ("SELECT 1 +", "syntax error: expected an expression, found the end of the text (line 1, column 11)\n  1 | SELECT 1 +\n                ^", ""),
            ("SELECT (1", "syntax error: expected ), found the end of the text (line 1, column 10)\n  1 | SELECT (1\n               ^", ""),
            ("SELECT 1 2 3", "syntax error: expected end of statement, found 2 (line 1, column 10)\n  1 | SELECT 1 2 3\n               ^", ""),
            ("SELECT\n  'open", "syntax error: unterminated string literal (line 2, column 3)\n  2 |   'open\n        ^", ""),
            ("SELEC 1", "syntax error: expected an SQL statement, found SELEC (line 1, column 1)\n  1 | SELEC 1\n      ^", ""),
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
            ("SELECT 1 FROM customers", "unknown table 'customers' (line 1, column 15)\n  1 | SELECT 1 FROM customers\n                    ^^^^^^^^^", "there are: nums, people"),
            ("SELECT 1 FROM lab.people", "there is no schema 'lab' (line 1, column 15)\n  1 | SELECT 1 FROM lab.people\n                    ^^^^^^^^^^", "there are: public"),
            ("SELECT 1 FROM other.public.people", "there is no catalog 'other' (line 1, column 15)\n  1 | SELECT 1 FROM other.public.people\n                    ^^^^^^^^^^^^^^^^^^^", "there is one: 'dunlin'"),
            ("SELECT nmae FROM people", "unknown column 'nmae' (line 1, column 8)\n  1 | SELECT nmae FROM people\n             ^^^^", "did you mean 'name'?"),
            ("SELECT p.id FROM people AS q", "unknown column 'p.id' (line 1, column 8)\n  1 | SELECT p.id FROM people AS q\n             ^^^^", "did you mean 'q.id'?"),
            ("SELECT id FROM people WHERE\n  agee > 3", "unknown column 'agee' (line 2, column 3)\n  2 |   agee > 3\n        ^^^^", "there are: id, name"),
            ("SELECT id FROM people a JOIN people b ON a.id = b.id", "column 'id' is in more than one table (line 1, column 8)\n  1 | SELECT id FROM people a JOIN people b ON a.id = b.id\n             ^^", "write the table before it, such as t.x"),
            ("SELECT abss(id) FROM people", "invalid function 'abss' (line 1, column 8)\n  1 | SELECT abss(id) FROM people\n             ^^^^", "did you mean 'abs'?"),
            ("SELECT \"ID\" FROM people", "unknown column 'ID' (line 1, column 8)\n  1 | SELECT \"ID\" FROM people\n             ^^^^", "did you mean 'id'?"),
        ],
    )
    .await;
}

#[tokio::test]
async fn wrong_types_and_arithmetic() {
    refuses(
        &lab().await,
        &[
            ("SELECT n / 0 FROM nums", "division by zero", "guard the divisor, such as a / NULLIF(b, 0)"),
            ("SELECT 1 / n FROM nums", "division by zero", "guard the divisor, such as a / NULLIF(b, 0)"),
            ("SELECT CAST(name AS BIGINT) FROM people", "cannot cast string 'ada' to value of Int64 type", "TRY_CAST gives NULL for values that do not fit"),
            ("SELECT CAST('x' AS BIGINT)", "cannot cast string 'x' to value of Int64 type", "TRY_CAST gives NULL for values that do not fit"),
            ("SELECT sum(name) FROM people", "no function takes sum(Utf8)", "there are: sum(Decimal) sum(UInt64) sum(Int64) sum(Float64) sum(Duration) sum(Interval)"),
            ("SELECT name, count(*) FROM people", "'people.name' is neither in GROUP BY nor in an aggregate (line 1, column 8)\n  1 | SELECT name, count(*) FROM people\n             ^^^^", "add it to GROUP BY, or take any of its values: min(people.name)"),
            ("SELECT id FROM people ORDER BY (SELECT n FROM nums)", "a subquery that is used as a value gave more than one row", "aggregate it, such as max(x), or add LIMIT 1"),
            ("SELECT a.id FROM people a JOIN people b ON a.id = b.id + (SELECT max(n) FROM nums)", "a subquery that is used as a value is not supported in this place", "put it in WITH, and join that"),
            ("SELECT $1", "parameter $1 has no value", "bind values to the statement's parameters before it is run"),
            ("SELECT date '2024-13-45'", "cannot cast string '2024-13-45' to value of Date32 type", "TRY_CAST gives NULL for values that do not fit"),
        ],
    )
    .await;
}

#[tokio::test]
async fn statements_that_are_not_supported_say_so() {
    refuses(
        &lab().await,
        &[
            (
                "REPLACE INTO people VALUES (1, 'x')",
                "INSERT that replaces rows is not supported yet",
                READS,
            ),
            ("DELETE FROM people", "DELETE is not supported yet", READS),
            ("UPDATE people SET id = 1", "UPDATE is not supported yet", READS),
            (
                "CREATE OR REPLACE TABLE t AS SELECT 1",
                "CREATE OR REPLACE TABLE is not supported yet",
                "DROP TABLE first",
            ),
            ("CREATE TABLE t (x INT)", "CREATE TABLE is not supported yet", READS),
            (
                "COPY people TO 'x/' STORED AS CSV PARTITIONED BY (id)",
                "COPY PARTITIONED BY is not supported yet",
                READS,
            ),
            ("ALTER TABLE people RENAME TO p", "ALTER TABLE is not supported yet", READS),
            ("TRUNCATE TABLE people", "TRUNCATE is not supported yet", READS),
            ("DROP INDEX i", "DROP INDEX is not supported yet", READS),
            ("PREPARE p AS SELECT 1", "PREPARE is not supported yet", READS),
            (
                "CREATE MATERIALIZED VIEW v AS SELECT 1",
                "a materialized or temporary view is not supported yet",
                READS,
            ),
            ("EXPLAIN INSERT INTO people VALUES (1, 'x')", "only queries can be explained", ""),
            ("CREATE ROLE readers", "CREATE ROLE is not supported yet", READS),
            ("SET GLOBAL x = 1", "SET with scope modifiers is not supported", ""),
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
            ("CREATE VIEW v AS SELECT 1", "view 'public.v' already exists", "use OR REPLACE, or IF NOT EXISTS"),
            ("CREATE VIEW people AS SELECT 1", "table 'public.people' already exists", "DROP TABLE first"),
            ("CREATE OR REPLACE VIEW people AS SELECT 1", "table 'public.people' already exists", "DROP TABLE first"),
            ("CREATE OR REPLACE VIEW v AS SELECT * FROM v", "view 'public.v': it reads itself", ""),
            ("CREATE VIEW w (a, b) AS SELECT 1", "the view names 2 columns, but its query has 1", ""),
            ("CREATE VIEW w AS SELECT nope FROM people", "unknown column 'nope' (line 1, column 25)\n  1 | CREATE VIEW w AS SELECT nope FROM people\n                              ^^^^", "there are: id, name"),
            ("DROP VIEW people", "'public.people' is a table, not a view", "use DROP TABLE"),
            ("DROP TABLE v", "'public.v' is a view, not a table", "use DROP VIEW"),
            ("DROP TABLE poeple", "there is no table 'public.poeple'", "did you mean 'people'?"),
            ("DROP SCHEMA public", "schema 'public' cannot be dropped", ""),
            ("DROP SCHEMA lab", "there is no schema 'lab'", "there are: public"),
            ("CREATE SCHEMA public", "schema 'public' already exists", ""),
            ("CREATE VIEW lab.v AS SELECT 1", "there is no schema 'lab'", "there are: public"),
            ("SET dunlin.partitoins = 3", "there is no option 'dunlin.partitoins'", "did you mean 'dunlin.partitions'?"),
            ("SHOW dunlin.partitoins", "there is no option 'dunlin.partitoins'", "did you mean 'dunlin.partitions'?"),
            ("SET datafusion.catalog.information_schema = false", "datafusion.catalog.information_schema is fixed at true: SHOW needs it", ""),
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
        (at("parquet", "nope.parquet"), "table 'public.t': no such file or folder: DIR/nope.parquet", ""),
        (at("parquet", "empty"), "table 'public.t': folder DIR/empty is empty", "declare the columns in CREATE EXTERNAL TABLE if files come later"),
        (at("parquet", "none*.parquet"), "table 'public.t': no file matches DIR/none*.parquet", ""),
        (at("parquet", "zero.parquet"), "table 'public.t': 'DIR/zero.parquet' is empty: not a parquet file", ""),
        (at("parquet", "noise.parquet"), "table 'public.t': 'DIR/noise.parquet': cannot read Parquet data: invalid Parquet file. Corrupt footer", ""),
        (at("parquet", "cut.parquet"), "table 'public.t': 'DIR/cut.parquet': cannot read Parquet data: invalid Parquet file. Corrupt footer", ""),
        (at("parquet", "tail.parquet"), "table 'public.t': 'DIR/tail.parquet': its footer is longer than the file", "the file was cut: write it again"),
        (at("parquet", "mix"), "table 'public.t': column 'x' is Int64 in 'DIR/mix/a.parquet' and Utf8View in 'DIR/mix/b.parquet'", "make the files agree, or read them as two tables"),
        (at("csv", "csvs"), "table 'public.t': column 1 is 'x' in 'DIR/csvs/a.csv' and 'y' in 'DIR/csvs/b.csv'", ""),
        (at("parquet", "only"), "table 'public.t': folder DIR/only has no parquet files: there is 'DIR/only/readme.txt'", "name other files by a wildcard, such as '/folder/*'"),
        (at("csv", "both"), "table 'public.t': folder DIR/both mixes .csv and .csv.gz files", "name one kind by a wildcard, such as '/folder/*.csv'"),
        (at("json", "bad.json"), "table 'public.t': 'DIR/bad.json': cannot read JSON data: not valid JSON: key must be a string at line 1 column 2", ""),
        (at("avro", "bad.avro"), "table 'public.t': 'DIR/bad.avro': cannot read Avro data: parser error: Incorrect avro magic", ""),
        (at("arrow", "bad.arrow"), "table 'public.t': 'DIR/bad.arrow': failed to parse Arrow file as either file format or stream format. File format error: Io error: Invalid argument (os error 22). Stream format error: Io error: failed to fill whole buffer", ""),
        (at("csv", "blank.csv"), "table 'public.t': all files are empty: there are no columns", ""),
        (at("orc", "people.csv"), "there is no file format 'ORC'", "there are: parquet, csv, json, avro, arrow"),
        (at("csv", "people.csv") + " OPTIONS ('format.delimitr' ';')", "table 'public.t': options of csv files: config value \"delimitr\" not found on CsvOptions", ""),
        ("CREATE EXTERNAL TABLE t STORED AS csv LOCATION 'ftp://host/x.csv'".to_owned(), "table 'public.t': there are no stores of scheme 'ftp://'", "use a path, or a URL with file, s3, gs, az, abfs, http or https"),
        ("CREATE EXTERNAL TABLE t STORED AS csv LOCATION ''".to_owned(), "table 'public.t': the location is empty", "give a path or URL of a file or a folder"),
        ("CREATE EXTERNAL TABLE t STORED AS csv LOCATION 's3://b/x.csv' OPTIONS ('aws.nope' '1')".to_owned(), "table 'public.t': stores such as s3://b have no option 'aws.nope'", "they begin with 'aws.'"),
    ];
    for (sql, message, hint) in &cases {
        refuses(&lab, &[(sql, message, hint)]).await;
    }
    std::fs::write(lab.path("people.csv"), "id,name\n1,ada,extra\n").expect("written");
    refuses(&lab, &[("SELECT * FROM people", "table 'public.people': 'DIR/people.csv': cannot read CSV data: encountered unequal lengths between records on CSV file. Expected 2 records, found 3 records at line 2", "")]).await;
    std::fs::remove_file(lab.path("nums.parquet")).expect("removed");
    refuses(
        &lab,
        &[(
            "SELECT * FROM nums",
            "table 'public.nums': no such file or folder: DIR/nums.parquet",
            "",
        )],
    )
    .await;
}
