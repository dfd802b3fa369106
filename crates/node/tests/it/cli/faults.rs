//! Damaged files, full disks, missing rights, values out of range: one error that names the thing,
//! the right exit code, and data as they were.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::lab::{Lab, finish};

#[test]
fn damaged_parquet_files_are_named() {
    let lab = Lab::new();
    let whole = std::fs::read(lab.path("data/items.parquet")).expect("a file");
    let mut pages = whole.clone();
    // Behind the magic bytes come the pages; the footer at the end stays whole.
    pages[4..60].fill(0xff);
    let half = &whole[..whole.len() / 2];
    let damaged = [("empty", &[][..]), ("half", half), ("pages", &pages)];
    for (name, bytes) in damaged {
        let file = format!("{name}.parquet");
        lab.write(&format!("{name}/{file}"), bytes);
        let place = lab.path(name).display().to_string();
        let table = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{place}'");
        let query = "SELECT sum(id), max(what) FROM t";
        fails_to_read(&lab, &table, query, &[&file]);
    }
}

#[test]
fn files_whose_schemas_disagree_are_named() {
    let lab = Lab::new();
    lab.write("mixed/a.csv", "id,name\n1,ann\n");
    lab.write("mixed/b.csv", "id,name\nten,bob\n");
    std::fs::create_dir_all(lab.path("both")).expect("a folder");
    std::fs::copy(lab.path("data/items.parquet"), lab.path("both/a.parquet")).expect("copied");
    let other = "SELECT 'x' AS id, DATE '2026-01-01' AS what";
    let out = lab.path("both/b.parquet").display().to_string();
    lab.sql(&["-c", other, "--format", "parquet", "--output", &out]).ok();
    let place = lab.path("both").display().to_string();
    let table = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{place}'");
    fails_to_read(&lab, &table, "SELECT * FROM t", &["'id'", "b.parquet"]);
    let place = lab.path("mixed").display().to_string();
    let table = format!(
        "CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR) STORED AS CSV LOCATION '{place}'"
    );
    fails_to_read(&lab, &table, "SELECT sum(id) FROM t", &["ten", "b.csv"]);
}

#[test]
fn values_that_do_not_fit_fail() {
    let lab = Lab::new();
    let max = "9223372036854775807";
    let cases = [
        (format!("SELECT {max} + 1"), "overflow"),
        (format!("SELECT {max} + id FROM items"), "overflow"),
        (format!("SELECT id * {max} FROM items"), "overflow"),
        (format!("SELECT -{max} - id FROM items"), "overflow"),
        (format!("SELECT count(*) FROM items WHERE id + {max} > 0"), "overflow"),
        (format!("SELECT sum(id - 2 + {max}) FROM items"), "out of range"),
        (format!("SELECT id, sum(id - 2 + {max}) AS s FROM items GROUP BY id"), "out of range"),
        (format!("SELECT sum(id - 2 + {max}) OVER (ORDER BY id) FROM items"), "out of range"),
        ("SELECT CAST(id + 300 AS TINYINT) FROM items".to_owned(), "301"),
        ("SELECT CAST(what AS BIGINT) FROM items".to_owned(), "tea"),
        ("SELECT id % (id - id) FROM items".to_owned(), "zero"),
        ("SELECT CAST(1e30 AS DECIMAL(38, 20)) * id FROM items".to_owned(), "1e30"),
    ];
    for (sql, word) in cases {
        let ran = lab.sql(&["-c", &sql, "--format", "csv"]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{sql}: {ran:?}");
        assert!(ran.err.to_lowercase().contains(&word.to_lowercase()), "{sql}: {ran:?}");
    }
    let fits = format!("SELECT id + {max} - {max} FROM items WHERE id = 0");
    assert_eq!(lab.sql(&["-c", &fits, "--format", "json"]).ok(), "");
}

#[test]
fn a_query_over_its_memory_limit_is_told_how_to_go_on() {
    let lab = Lab::new();
    // A join must hold its build side, and can not spill it.
    let sql = "SELECT count(*) FROM generate_series(1, 3000000) a JOIN \
               generate_series(1, 3000000) b ON a.value = b.value";
    let small = ["--memory", "16MiB", "--threads", "1", "--set", "partitions=1"];
    let ran = lab.sql(&[&["-c", sql][..], &small].concat());
    ran.fails(3, &["memory limit", "hint: "]);
}

#[test]
fn rows_that_nobody_looks_into_are_counted() {
    let lab = Lab::new();
    let cases = [
        ("SELECT count(*) AS n FROM generate_series(1, 1000)", "n\n1000\n"),
        ("SELECT count(*) AS n FROM generate_series(2, 1)", "n\n0\n"),
        ("SELECT sum(value) AS n FROM generate_series(1, 1000)", "n\n500500\n"),
    ];
    for (sql, rows) in cases {
        assert_eq!(lab.sql(&["-c", sql, "--format", "csv"]).ok(), rows, "{sql}");
    }
}

#[test]
fn a_full_disk_fails_the_query_and_no_more() {
    let lab = Lab::new();
    // A file system of 8 MiB, in a mount namespace that ends with the run.
    std::fs::create_dir_all(lab.path("full")).expect("a folder");
    let dunlin = env!("CARGO_BIN_EXE_dunlin");
    let script = format!(
        "mount -t tmpfs -o size=8m tmpfs full && DUNLIN_SHUFFLE_MEMORY=16MiB exec {dunlin} sql --state full/state \
         --memory 64MiB \
         -c 'SELECT value, value * 2 AS twice FROM generate_series(1, 2000000) ORDER BY value % 1000, twice' \
         --format csv --output full/out.csv"
    );
    let mut command = lab.command(&[]);
    let mut shell = std::process::Command::new("unshare");
    shell.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    shell.current_dir(lab.path(""));
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    std::mem::swap(&mut command, &mut shell);
    finish(command, "").fails(3, &["disk is full"]);
}

#[test]
fn a_folder_without_rights_is_named() {
    let lab = Lab::new();
    let closed = lab.path("closed");
    std::fs::create_dir_all(&closed).expect("a folder");
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("rights");
    };
    set(&closed, 0o000);
    set(&lab.path(""), 0o755);
    let place = closed.display();
    let table = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{place}'");
    let state = closed.join("state").display().to_string();
    for arguments in [
        &["sql", "--data", "closed", "-c", "SELECT 1"][..],
        &["sql", "-c", &table],
        &["sql", "--state", &state, "-c", "SELECT 1"],
    ] {
        let mut command = lab.command(arguments);
        // Rights do not bind root: give them up where the test has them.
        if is_root() {
            command = as_nobody(&lab, arguments);
        }
        finish(command, "").fails(1, &["closed", "ermission"]);
    }
    set(&closed, 0o755);
}

#[test]
fn an_object_store_that_is_not_there_is_named() {
    let lab = Lab::new();
    let table = "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://nobody/here/' OPTIONS (\
                 'aws.endpoint' 'http://127.0.0.1:9', 'aws.allow_http' 'true', \
                 'aws.region' 'eu-north-1', 'aws.access_key_id' 'a', 'aws.secret_access_key' 'b')";
    lab.run(&["sql", "-c", table]).fails(4, &["s3://nobody"]);
}

#[test]
fn long_and_deep_statements_are_answered() {
    let lab = Lab::new();
    let sum = vec!["1"; 2000].join(" + ");
    let sql = format!("SELECT {sum} AS n");
    assert_eq!(lab.sql(&["-c", &sql, "--format", "csv"]).ok(), "n\n2000\n");
    // Beyond the hundred levels that a decoder of nested messages follows.
    let sum = vec!["id + 1"; 150].join(" - ");
    let sql = format!("SELECT {sum} AS n FROM items WHERE id = 1");
    assert_eq!(lab.sql(&["-c", &sql, "--format", "csv"]).ok(), "n\n2\n");
    let either = (0..2000).map(|i| format!("id = {i}")).collect::<Vec<_>>().join(" OR ");
    let sql = format!("SELECT count(*) AS n FROM items WHERE {either}");
    assert_eq!(lab.sql(&["-c", &sql, "--format", "csv"]).ok(), "n\n3\n");
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    lab.sql(&["-c", &deep]).fails(1, &["nested too deeply"]);
}

/// Asserts that the table or the query fails with one error that has these words, and no rows.
#[track_caller]
fn fails_to_read(lab: &Lab, table: &str, query: &str, words: &[&str]) {
    let mut ran = lab.run(&["sql", "--format", "csv", "-c", table, "-c", query]);
    ran.out = ran.out.replace("CREATE EXTERNAL TABLE\n", "");
    ran.fails(1, words);
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The binary under a user without rights, from a place that this user can read.
fn as_nobody(lab: &Lab, arguments: &[&str]) -> std::process::Command {
    let binary = lab.path("dunlin");
    if !binary.exists() {
        let from = env!("CARGO_BIN_EXE_dunlin");
        if std::fs::hard_link(from, &binary).is_err() {
            std::fs::copy(from, &binary).expect("a copy");
        }
    }
    let mut command = std::process::Command::new(binary);
    command.current_dir(lab.path("")).args(arguments).uid(65534).gid(65534);
    command.env("HOME", lab.path("")).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}
