//! `dunlin config`.

use crate::cli::Format;
use crate::config::{self, Loaded};
use crate::output::Output;
use crate::report::{Failure, note, text};

/// Prints the effective configuration.
pub(super) fn dump(loaded: &Loaded) -> Result<(), Failure> {
    let mut output = Output::open(Format::Table, None, 0)?;
    output.line(config::dump(loaded).trim_end())
}

/// Fails on the last unknown key and reports those before it; values were checked while reading.
pub(super) fn check(loaded: &Loaded) -> Result<(), Failure> {
    let Some((last, others)) = loaded.unknown.split_last() else { return Ok(()) };
    for unknown in others {
        note(&text(unknown));
    }
    Err(Failure::Usage(last.clone()))
}
