//! The length of files and functions, with a ratchet: `ratchet.toml` lists those that are too long
//! today, and their numbers may only fall. The tail of long files is where a codebase gets ugly.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Finding, lexer, tree::File, tree::Tree};

/// Lines of product code in a file; in-file tests do not count.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// `base` is what everybody depends on: it may not become the drawer for everything.
const BASE_LINES_MAX: usize = 5_000;

/// Where the exceptions are.
pub(crate) const RATCHET: &str = "tools/xtask/ratchet.toml";

const RATCHET_HEADER: &str = "\
# Files and functions that are longer than the limits (600 and 70 lines of product code).
# A number may only fall: `cargo xtask tidy --bless` lowers it. A new entry needs a reason in review.
";

type Lengths = BTreeMap<String, usize>;

/// The exceptions, or what the exceptions would have to be.
#[derive(Default)]
pub(crate) struct Ratchet {
    files: Lengths,
    functions: Lengths,
}

impl Ratchet {
    /// The committed exceptions.
    pub(crate) fn of(tree: &Tree) -> Result<Self> {
        let table: toml::Table = tree.text(RATCHET).unwrap_or_default().parse().context(RATCHET)?;
        let lengths = |key: &str| -> Result<Lengths> {
            let entries = table.get(key).and_then(|value| value.as_table());
            entries
                .into_iter()
                .flatten()
                .map(|(name, value)| {
                    let lines = value.as_integer().and_then(|lines| usize::try_from(lines).ok());
                    Ok((name.clone(), lines.with_context(|| format!("{RATCHET}: {name}"))?))
                })
                .collect()
        };
        Ok(Self { files: lengths("files")?, functions: lengths("functions")? })
    }

    /// The entries that the tree still needs, at their present length if that is lower.
    pub(crate) fn lowered(&self, tree: &Tree) -> Self {
        let now = too_long(tree);
        let lower = |old: &Lengths, now: &Lengths| {
            let kept = old.iter().filter_map(|(name, old)| Some((name, *old, *now.get(name)?)));
            kept.map(|(name, old, now)| (name.clone(), old.min(now))).collect()
        };
        Self {
            files: lower(&self.files, &now.files),
            functions: lower(&self.functions, &now.functions),
        }
    }
}

impl std::fmt::Display for Ratchet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(RATCHET_HEADER)?;
        for (title, lengths) in [("files", &self.files), ("functions", &self.functions)] {
            writeln!(f, "\n[{title}]")?;
            for (name, lines) in lengths {
                writeln!(f, "{name:?} = {lines}")?;
            }
        }
        Ok(())
    }
}

pub(crate) fn check(tree: &Tree, ratchet: &Ratchet) -> Vec<Finding> {
    let now = too_long(tree);
    let mut findings = compare(&now.files, &ratchet.files, FILE_LINES_MAX);
    findings.extend(compare(&now.functions, &ratchet.functions, FUNCTION_LINES_MAX));
    let base = tree.files.iter().filter(|file| file.member() == Some("crates/base"));
    let lines: usize = base.map(product_lines).sum();
    if lines > BASE_LINES_MAX {
        findings.push(Finding::new(
            "crates/base",
            format!(
                "{lines} lines, more than {BASE_LINES_MAX}: find the noun that this belongs to"
            ),
        ));
    }
    findings
}

fn compare(now: &Lengths, ratchet: &Lengths, limit: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, lines) in now {
        let allowed = ratchet.get(name).copied().unwrap_or(limit);
        if *lines > allowed {
            let message = format!("{lines} lines, more than {allowed}: split it");
            findings.push(Finding::new(name.clone(), message));
        }
    }
    for (name, allowed) in ratchet {
        let lines = now.get(name).copied().unwrap_or(0);
        if lines < *allowed {
            let message = format!("`{name}` has shrunk below its {allowed} lines: tidy --bless");
            findings.push(Finding::new(RATCHET, message));
        }
    }
    findings
}

/// What is over the limits today.
fn too_long(tree: &Tree) -> Ratchet {
    let mut now = Ratchet::default();
    for file in tree.files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let lines = product_lines(file);
        if lines > FILE_LINES_MAX {
            now.files.insert(file.path.clone(), lines);
        }
        let code = lexer::blank(file.text.as_deref().unwrap_or_default());
        let tests = lexer::test_lines(&code);
        for function in lexer::functions(&code) {
            if function.lines > FUNCTION_LINES_MAX && !tests.contains(&function.line) {
                let name = format!("{}::{}", file.path, function.name);
                let longest = now.functions.entry(name).or_default();
                *longest = function.lines.max(*longest);
            }
        }
    }
    now
}

/// Lines without in-file tests; 0 for a file that only tests use.
fn product_lines(file: &File) -> usize {
    let Some(text) = file.text.as_deref().filter(|_| file.is_rust() && !file.is_test()) else {
        return 0;
    };
    text.lines().count() - lexer::test_lines(&lexer::blank(text)).len()
}
