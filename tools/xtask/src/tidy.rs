//! The house rules. Each rule is a function from the tree to findings, so that a made-up tree can
//! show it failing; `tidy/tests.rs` does so for every rule.

mod house;
mod length;
mod lexer;
mod manifest;
mod source;
mod tree;

use std::path::Path;

use anyhow::Result;

use length::Ratchet;
use tree::Tree;

/// A breach: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    message: String,
}

impl Finding {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Every breach in the tree at `root`, in the order of rules.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let mut findings = manifest::check(&tree)?;
    findings.extend(source::check(&tree));
    findings.extend(length::check(&tree, &Ratchet::of(&tree)?));
    findings.extend(house::check(&tree));
    Ok(findings)
}

/// Lowers the ratchet to what the tree needs. It never adds an entry: a new exception is a
/// decision, to be written by hand and reviewed.
pub(crate) fn bless(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let lowered = Ratchet::of(&tree)?.lowered(&tree);
    std::fs::write(root.join(length::RATCHET), lowered.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests;
