//! What cannot be written says why, and changes nothing.

use dunlin_base::Kind;

use super::Lab;
use crate::cluster::Shape;

const SHAPE: Shape = Shape { partitions: 3, executors: 2, fine: true };

/// A lab with tables of every kind that takes no rows, and one that does.
fn lab() -> Lab {
    let lab = Lab::new(SHAPE);
    lab.run("COPY nation TO 'OUT/full/' STORED AS CSV");
    lab.run("COPY nation TO 'OUT/one.csv'");
    lab.run("COPY nation TO 'OUT/parts/p=1/' STORED AS CSV");
    std::fs::create_dir(lab.path("typed")).expect("a folder");
    for table in [
        "CREATE EXTERNAL TABLE folder STORED AS CSV LOCATION 'OUT/full'",
        "CREATE EXTERNAL TABLE one STORED AS CSV LOCATION 'OUT/one.csv'",
        "CREATE EXTERNAL TABLE parts STORED AS CSV LOCATION 'OUT/parts'",
        "CREATE EXTERNAL TABLE star STORED AS CSV LOCATION 'OUT/full/*.csv'",
        "CREATE EXTERNAL TABLE sorted STORED AS CSV WITH ORDER (n_nationkey) LOCATION 'OUT/full'",
        "CREATE EXTERNAL TABLE typed (n BIGINT NOT NULL, s VARCHAR) STORED AS PARQUET LOCATION 'OUT/typed'",
        "CREATE VIEW v AS SELECT * FROM folder",
    ] {
        lab.run(table);
    }
    lab
}

const INVALID: [(&str, &str); 26] = [
    ("INSERT INTO one SELECT * FROM nation", "it is one file"),
    ("INSERT INTO parts SELECT *, 1 FROM nation", "it has columns in the names of folders"),
    ("INSERT INTO star SELECT * FROM nation", "its files are named by a wildcard"),
    ("INSERT INTO sorted SELECT * FROM nation", "its files are declared to be in order"),
    ("INSERT INTO v SELECT * FROM nation", "view"),
    ("INSERT INTO nope SELECT * FROM nation", "unknown table 'nope'"),
    ("INSERT INTO typed SELECT 1", "another number of columns"),
    ("INSERT INTO typed (n, x) VALUES (1, 'x')", "unknown column 'x'"),
    ("INSERT INTO typed VALUES ('one', 'x')", "cannot cast string 'one' to value of Int64 type"),
    ("INSERT INTO typed (s) VALUES ('x')", "column 'n' does not take NULL"),
    ("INSERT INTO typed SELECT n_nationkey / 0, 'x' FROM nation", "division by zero"),
    ("INSERT OVERWRITE folder SELECT * FROM nation", "INSERT that replaces rows"),
    ("INSERT INTO folder SELECT 1, concat('a', chr(10), 'b'), 2, 'x'", "a line break"),
    ("COPY nation TO 'OUT/full/' STORED AS CSV", "the target is not empty"),
    ("COPY nation TO 'OUT/full' STORED AS CSV", "the target is not empty"),
    ("COPY nation TO 'OUT/one.csv'", "the target is not empty"),
    ("COPY nation TO 'OUT/x/*.csv' STORED AS CSV", "is a wildcard"),
    ("COPY nation TO 'OUT/x'", "says no format"),
    ("COPY nation TO 'OUT/x.csv.gz'", "files '.csv.gz' cannot be written"),
    ("COPY nation TO 'OUT/x/' STORED AS AVRO", "avro files cannot be written"),
    ("COPY nation TO 'OUT/x/' STORED AS ORC", "there is no file format 'ORC'"),
    ("COPY nation TO 'OUT/x/' STORED AS CSV OPTIONS (delimitr ';')", "delimitr"),
    ("COPY nation TO 'https://example.com/x/' STORED AS CSV", "is read-only"),
    ("COPY (SELECT [1, 2] AS x) TO 'OUT/x.csv'", "ested type"),
    ("COPY (SELECT 1 AS x, 2 AS x) TO 'OUT/x.csv'", "x"),
    ("COPY nation TO 'OUT/one.csv/x/' STORED AS CSV", "a file is where a folder must be"),
];

#[test]
fn bad_input_changes_nothing() {
    let lab = lab();
    let before = lab.files();
    for (sql, says) in INVALID {
        let error = lab.rows(sql).expect_err(sql);
        assert_eq!(error.kind(), Kind::Invalid, "{sql}: {error}");
        assert!(error.message().contains(says), "{sql}: {error}");
        lab.assert_clean();
        assert_eq!(lab.files(), before, "{sql}");
    }
    assert_eq!(lab.count("folder"), 25);
}

#[test]
fn new_tables_need_a_free_name_and_a_place() {
    let lab = lab();
    let before = lab.files();
    for (sql, says) in [
        ("CREATE TABLE folder AS SELECT 1 AS x", "table 'public.folder' already exists"),
        ("CREATE TABLE v AS SELECT 1 AS x", "view 'public.v' already exists"),
        ("CREATE TABLE nation AS SELECT 1 AS x", "a file of the folder that was opened"),
        ("CREATE TABLE lab.t AS SELECT 1 AS x", "there is no schema 'lab'"),
        ("CREATE OR REPLACE TABLE t AS SELECT 1 AS x", "is not supported yet"),
        ("CREATE TABLE t (x INT) AS SELECT 1", "has the columns of its query"),
        ("CREATE TABLE t WITH (colour = 'red') AS SELECT 1 AS x", "no option 'colour'"),
        ("CREATE TABLE t WITH (location = 'OUT/full') AS SELECT 1 AS x", "is not empty"),
        ("CREATE TABLE t AS SELECT * FROM information_schema.tables", "information_schema"),
        ("CREATE TABLE t AS SELECT n_nationkey / 0 AS x FROM nation", "division by zero"),
    ] {
        let error = lab.rows(sql).expect_err(sql);
        assert_eq!(error.kind(), Kind::Invalid, "{sql}: {error}");
        assert!(error.message().contains(says), "{sql}: {error}");
        lab.assert_clean();
        assert_eq!(lab.files(), before, "{sql}");
    }
    lab.run("CREATE TABLE IF NOT EXISTS folder AS SELECT 1 AS x");
    lab.run("SET dunlin.warehouse = ''");
    let error = lab.rows("CREATE TABLE t AS SELECT 1 AS x").expect_err("no place");
    assert_eq!(error.message(), "there is no place for the files of new tables");
    lab.run("SET dunlin.warehouse = 'OUT/tables'");
    assert_eq!(lab.written("CREATE TABLE t AS SELECT 1 AS x"), 1);
    assert_eq!(lab.count("t"), 1);
}

#[test]
fn places_that_are_not_allowed_are_not_written_to() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let allowed = elsewhere.path().join("allowed");
    std::fs::create_dir_all(&allowed).expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(outside.path(), allowed.join("link")).expect("a link");
    let cluster = crate::cluster::Cluster::with(&crate::cluster::tpch(), SHAPE, |options| {
        let data = crate::cluster::tpch().display().to_string();
        let places = [data, allowed.display().to_string()];
        options.allowed = dunlin_planner::Allowed::only(places).expect("folders");
    });
    let allowed = allowed.display();
    let forbidden = outside.path().join("forbidden");
    for target in [format!("{}/", forbidden.display()), format!("{allowed}/link/forbidden/")] {
        let sql = format!("COPY nation TO '{target}' STORED AS CSV");
        let error = cluster.rows(&sql).expect_err(&target);
        assert!(error.message().contains("is not among those"), "{target}: {error}");
        assert!(!forbidden.exists(), "{target} was written");
    }
    cluster.rows(&format!("COPY nation TO '{allowed}/n/' STORED AS CSV")).expect("allowed");
}
