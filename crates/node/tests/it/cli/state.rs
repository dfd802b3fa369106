//! What a state folder keeps, and who may use it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use super::lab::Lab;
use crate::processes::send;

#[test]
fn the_catalog_and_the_history_stay() {
    let lab = Lab::new();
    let view = "CREATE VIEW v AS SELECT 41 + 1 AS x";
    lab.sql(&["--state", "state", "-c", view]).ok();
    let csv = ["--state", "state", "-c", "SELECT x FROM v", "--format", "csv"];
    assert_eq!(lab.sql(&csv).ok(), "x\n42\n");
    lab.sql(&["--state", "state", "-c", "SELECT 1 / (id - 1) FROM items"]).fails(1, &["zero"]);
    let listed = lab.run(&["queries", "--state", "state"]).ok();
    assert!(listed.contains("SELECT x FROM v") && listed.contains("done"), "{listed}");
    assert!(listed.contains("failed"), "{listed}");
    let one = lab.run(&["queries", "--state", "state", "--limit", "1"]).ok();
    assert!(!one.contains("SELECT x FROM v"), "{one}");
}

#[test]
fn nothing_stays_without_a_state_folder() {
    let lab = Lab::new();
    lab.write("tmp/keep", "");
    let mut command = lab.command(&["sql", "-c", "SELECT 1 AS x", "--format", "csv"]);
    command.env("TMPDIR", lab.path("tmp"));
    assert_eq!(super::lab::finish(command, "").ok(), "x\n1\n");
    let left: Vec<_> = std::fs::read_dir(lab.path("tmp")).expect("there").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_state_folder_is_for_one_process() {
    let lab = Lab::new();
    // Its output is longer than a pipe holds: it stays until somebody reads or leaves.
    let sql = "SELECT value FROM generate_series(1, 2000000)";
    let arguments = ["sql", "--state", "state", "-c", sql, "--format", "csv"];
    let mut first = lab.command(&arguments).stderr(Stdio::null()).spawn().expect("starts");
    let mut out = BufReader::new(first.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a header");
    assert_eq!(line, "value\n");
    lab.run(&["sql", "--state", "state", "-c", "SELECT 1"]).fails(1, &["state"]);
    drop(out);
    assert!(first.wait().expect("ends").success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_and_ends_with_130() {
    let lab = Lab::new();
    let sql = "SELECT count(x) FROM generate_series(1, 1000000000000) AS t(x) WHERE x % 7 = 3";
    let arguments = ["sql", "--progress", "always", "--state", "state", "-c", sql];
    let mut child = lab.command(&arguments).spawn().expect("starts");
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    err.read_line(&mut line).expect("progress");
    assert!(line.starts_with("progress: stage 0: "), "{line}");
    send(child.id(), Signal::INT).expect("it runs");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    let listed = lab.run(&["queries", "--state", "state"]).ok();
    assert!(listed.contains("cancelled"), "{listed}");
}
