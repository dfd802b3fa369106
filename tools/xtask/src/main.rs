//! Chores of the repository: `cargo xtask tidy` checks the house rules that no compiler knows.
//!
//! Run by `./dev check`. It depends on none of our crates, so that it builds in seconds and can
//! judge a tree that does not compile.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask tidy [--bless]

  tidy           check the house rules; prints each breach as `path: what to do`
  tidy --bless   also lower or remove the entries of tools/xtask/ratchet.toml that have shrunk";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// True if nothing was found to complain about.
fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bless = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => false,
        ["tidy", "--bless"] => true,
        _ => bail!("{USAGE}"),
    };
    // Asked at run time: a target folder may be shared by several checkouts.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run it by cargo")?;
    let root = Path::new(&manifest)
        .ancestors()
        .nth(2)
        .context("xtask lives two folders below the root")?;
    if bless {
        tidy::bless(root)?;
    }
    let findings = tidy::check(root)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        eprintln!("tidy: {} breaches of the house rules (see STYLE.md)", findings.len());
    }
    Ok(findings.is_empty())
}
