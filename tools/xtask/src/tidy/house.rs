//! Rules on the tree as a whole.

use std::collections::BTreeSet;

use super::{Finding, tree::Tree};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const ARCHITECTURE_LINES_MAX: usize = 400;
const FILE_BYTES_MAX: u64 = 500_000;

/// Settings that hold for the whole workspace and so exist once.
const ONLY_AT_THE_ROOT: [&str; 5] =
    ["clippy.toml", ".clippy.toml", "rustfmt.toml", ".rustfmt.toml", "deny.toml"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = architecture(tree);
    findings.extend(one_test_binary(tree));
    for file in &tree.files {
        let mut find = |message: String| findings.push(Finding::new(file.path.clone(), message));
        if file.bytes > FILE_BYTES_MAX {
            find(format!("{} bytes, more than {FILE_BYTES_MAX}: generate or fetch it", file.bytes));
        }
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if name != file.path && ONLY_AT_THE_ROOT.contains(&name) {
            find(format!("a second {name}: the one at the root holds for all"));
        }
    }
    findings
}

/// The map names every crate, and stays short enough to be read.
fn architecture(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(ARCHITECTURE) else {
        return vec![Finding::new(ARCHITECTURE, "is missing")];
    };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        let message =
            format!("{lines} lines, more than {ARCHITECTURE_LINES_MAX}: nobody reads that");
        findings.push(Finding::new(ARCHITECTURE, message));
    }
    for (member, _) in tree.manifests() {
        let name = member.rsplit('/').next().unwrap_or(member);
        let row = format!("| `{name}` |");
        if !text.contains(&row) {
            let message = format!("the crate table has no row for `{name}` (`{member}`)");
            findings.push(Finding::new(ARCHITECTURE, message));
        }
    }
    findings
}

/// Every integration-test binary links all of DataFusion: 0.25 GB and seconds each.
fn one_test_binary(tree: &Tree) -> Vec<Finding> {
    let mut binaries = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let rest = file.member().and_then(|member| file.path.strip_prefix(member));
        let Some(below) = rest.and_then(|rest| rest.strip_prefix("/tests/")) else { continue };
        if below != "it/main.rs" && (!below.contains('/') || below.ends_with("/main.rs")) {
            binaries.insert(file.path.clone());
        }
    }
    let message = "one integration-test binary per crate: make it a module of tests/it/main.rs";
    binaries.into_iter().map(|path| Finding::new(path, message)).collect()
}
