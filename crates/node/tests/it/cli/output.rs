//! Formats, files and the ways in which SQL comes in.

use super::lab::{Lab, finish};

const ALL: &str = "SELECT id, what FROM items ORDER BY id, what";

#[test]
fn a_table_is_for_people() {
    let out = Lab::new().sql(&["-c", ALL]).ok();
    let expected = "\
+----+-----------+
| id | what      |
+================+
|  1 | tea       |
|  2 | pot, blue |
|  2 | NULL      |
+----+-----------+
";
    assert_eq!(out, expected);
}

#[test]
fn csv_and_json_are_for_programs() {
    let lab = Lab::new();
    let csv = lab.sql(&["-c", ALL, "--format", "csv"]).ok();
    assert_eq!(csv, "id,what\n1,tea\n2,\"pot, blue\"\n2,\n");
    let none = lab.sql(&["-c", "SELECT id FROM items WHERE id > 9", "--format", "csv"]).ok();
    assert_eq!(none, "id\n");
    let json = lab.sql(&["-c", ALL, "--format", "json"]).ok();
    let expected = "{\"id\":1,\"what\":\"tea\"}\n{\"id\":2,\"what\":\"pot, blue\"}\n\
                    {\"id\":2,\"what\":null}\n";
    assert_eq!(json, expected);
}

#[test]
fn a_parquet_file_can_be_queried() {
    let lab = Lab::new();
    let out = lab.sql(&["-c", ALL, "--format", "parquet", "--output", "data/copy.parquet"]).ok();
    assert!(out.is_empty(), "{out}");
    let sql = "SELECT count(*) AS n, sum(id) AS s FROM copy";
    let csv = lab.sql(&["-c", sql, "--format", "csv"]).ok();
    assert_eq!(csv, "n,s\n3,5\n");
}

/// `n,word`, `1,one`, `2,two`, compressed by gzip.
const GZIPPED: [u8; 39] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 211, 41, 207, 47, 74, 225, 50, 212, 201, 207, 75, 229,
    50, 210, 41, 41, 207, 231, 2, 0, 185, 241, 211, 231, 19, 0, 0, 0,
];

#[test]
fn a_compressed_file_is_a_table() {
    let lab = Lab::new();
    lab.write("data/packed.csv.gz", GZIPPED);
    let sql = "SELECT sum(n) AS n, max(word) AS w FROM packed";
    assert_eq!(lab.sql(&["-c", sql, "--format", "csv"]).ok(), "n,w\n3,two\n");
}

#[test]
fn a_failed_run_leaves_the_file_as_it_was() {
    let lab = Lab::new();
    lab.write("out.csv", "before");
    let before = lab.names();
    let both = ["-c", ALL, "-c", "SELECT 1 / (id - 1) FROM items"];
    let failed = lab.sql(&[&both[..], &["--format", "csv", "--output", "out.csv"]].concat());
    failed.fails(1, &["zero"]);
    assert_eq!(std::fs::read_to_string(lab.path("out.csv")).expect("there"), "before");
    assert_eq!(lab.names(), before);
    lab.sql(&["-c", ALL, "--format", "csv", "--output", "out.csv"]).ok();
    let written = std::fs::read_to_string(lab.path("out.csv")).expect("there");
    assert!(written.starts_with("id,what\n1,tea"), "{written}");
}

#[test]
fn sql_comes_from_options_files_and_standard_input() {
    let lab = Lab::new();
    lab.write("two.sql", "SELECT 2 AS x; SELECT 3 AS x;");
    let csv = ["--format", "csv"];
    let options = ["sql", "-c", "SELECT 1 AS x", "-f", "two.sql"];
    assert_eq!(lab.run(&[&options[..], &csv].concat()).ok(), "x\n1\nx\n2\nx\n3\n");
    for arguments in [&["sql", "--format", "csv"][..], &["sql", "-f", "-", "--format", "csv"]] {
        let ran = finish(lab.command(arguments), "SELECT 4 AS x;\n-- the end\n");
        assert_eq!(ran.ok(), "x\n4\n");
    }
}

#[test]
fn settings_and_timing() {
    let lab = Lab::new();
    let show = ["-c", "SHOW dunlin.partitions", "--format", "csv"];
    let ran = lab.sql(&[&show[..], &["--set", "partitions=3", "--timing"]].concat());
    assert!(ran.out.contains("3"), "{ran:?}");
    assert!(ran.err.contains("1 row in "), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_join_of_two_files() {
    let sql = "SELECT name, count(*) AS n FROM orders JOIN items USING (id) GROUP BY name \
               ORDER BY name";
    let out = Lab::new().sql(&["-c", sql, "--format", "csv", "--executors", "2"]).ok();
    assert_eq!(out, "name,n\nann,1\nbob,2\n");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let lab = Lab::new();
    let sql = "SELECT value FROM generate_series(1, 2000000)";
    let mut command = lab.command(&["sql", "-c", sql, "--format", "csv"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdout(writer);
    drop(reader);
    let ran = finish(command, "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
}
