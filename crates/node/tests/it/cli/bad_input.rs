//! What people get wrong: one error that names it, the right exit code, nothing written.

use super::lab::Lab;

#[test]
fn wrong_sql_is_explained() {
    let lab = Lab::new();
    let cases: [(&str, &[&str]); 5] = [
        ("SELECT 1; SELEC 2", &["line 1", "column 11"]),
        ("SELECT * FROM ordres", &["ordres", "hint: ", "orders"]),
        ("SELECT nme FROM orders", &["nme", "name"]),
        ("SELECT 1 / (id - 1) FROM items", &["zero"]),
        ("SELECT * FROM 'nowhere.parquet'", &["nowhere.parquet"]),
    ];
    for (sql, words) in cases {
        for format in ["csv", "table"] {
            lab.sql(&["-c", sql, "--format", format]).fails(1, words);
        }
    }
}

#[test]
fn a_corrupt_file_is_named() {
    let lab = Lab::new();
    lab.write("bad.parquet", "PAR1 this is not a footer");
    let place = lab.path("bad.parquet").display().to_string();
    let sql = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{place}'");
    lab.run(&["sql", "-c", &sql, "-c", "SELECT * FROM t"]).fails(1, &["bad.parquet"]);
}

#[test]
fn files_that_are_no_tables_are_noted() {
    let lab = Lab::new();
    lab.write("data/readme.docx", "hello");
    lab.write("data/broken.parquet", "PAR1");
    let ran = lab.sql(&["-c", "SELECT count(*) AS n FROM orders", "--format", "csv"]);
    assert!(ran.err.contains("readme"), "{ran:?}");
    assert_eq!(ran.ok(), "n\n3\n");
}

#[test]
fn wrong_command_lines_end_with_2() {
    let lab = Lab::new();
    let cases: [(&[&str], &str); 9] = [
        (&["sql", "--frmat", "csv"], "--format"),
        (&["sql", "--format", "xml", "-c", "SELECT 1"], "xml"),
        (&["sql", "--memory", "lots", "-c", "SELECT 1"], "lots"),
        (&["sql", "--memory", "1KiB", "-c", "SELECT 1"], "memory must be at least"),
        (&["sql", "--threads", "0", "-c", "SELECT 1"], "threads"),
        (&["sql", "--set", "x", "-c", "SELECT 1"], "key=value"),
        (&["sql", "--format", "parquet", "-c", "SELECT 1"], "--output"),
        (&["sql", "-f", "nothere.sql"], "nothere.sql"),
        (&["sql", "--log-level", "a=b=c", "-c", "SELECT 1"], "log-level"),
    ];
    for (arguments, word) in cases {
        lab.run(arguments).fails(2, &[word]);
    }
    assert_eq!(lab.names(), ["data"]);
}

#[test]
fn wrong_settings_and_folders() {
    let lab = Lab::new();
    lab.sql(&["-c", "SELECT 1", "--set", "partitons=3"]).fails(1, &["partitons", "partitions"]);
    lab.run(&["sql", "--data", "nothere", "-c", "SELECT 1"]).fails(1, &["nothere"]);
    lab.sql(&["-c", "SELECT 1", "--output", "no/folder.csv"]).fails(1, &["no/folder.csv"]);
    lab.sql(&["-c", "SELECT 1", "--output", "data"]).fails(1, &["data"]);
    lab.sql(&["-c", "SELECT 1", "--state", "data/orders.csv"]).fails(1, &["orders.csv"]);
    lab.run(&["queries", "--state", "data"]).fails(1, &["data is not a state folder"]);
    lab.run(&["queries"]).fails(2, &["--state"]);
}

#[test]
fn csv_refuses_nested_columns_before_it_writes() {
    let lab = Lab::new();
    let sql = "SELECT make_array(id) AS ids FROM items";
    lab.sql(&["-c", sql, "--format", "csv"]).fails(1, &["ids", "--format json"]);
    assert!(lab.sql(&["-c", sql, "--format", "json"]).ok().contains("{\"ids\":[1]}"));
}

#[test]
fn a_parquet_file_takes_one_result() {
    let lab = Lab::new();
    let two = ["-c", "SELECT 1 AS x; SELECT 2 AS x"];
    let out = ["--format", "parquet", "--output", "out.parquet"];
    lab.sql(&[&two[..], &out].concat()).fails(1, &["one statement"]);
    assert_eq!(lab.names(), ["data"]);
}
