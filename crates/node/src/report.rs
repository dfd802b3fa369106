//! How a command fails: what people read on standard error, and the exit code.

use std::error::Error as _;
use std::io;
use std::process::ExitCode;

use dunlin_base::{Error, Kind};

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine said no.
    Engine(Error),
    /// The command line or the configuration is wrong.
    Usage(Error),
    /// Ctrl-C.
    Interrupted,
    /// The reader of our output has gone: nothing to say, nobody to say it to.
    OutputClosed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// A failed write to `what`.
    pub(crate) fn writing(what: &str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => return Self::OutputClosed,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
            _ => Kind::Invalid,
        };
        Self::Engine(Error::new(kind, format!("cannot write {what}: {error}")))
    }

    /// A failed read of `what`.
    pub(crate) fn reading(what: &str, error: &io::Error) -> Self {
        Self::Usage(Error::invalid(format!("cannot read {what}: {error}")))
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Engine(error) => match error.kind() {
                Kind::Invalid => 1,
                Kind::Exhausted => 3,
                Kind::Retry | Kind::Fenced => 4,
                Kind::Lost | Kind::Bug => 5,
            },
            Self::Usage(_) => 2,
            Self::Interrupted => 130,
            Self::OutputClosed => 0,
        })
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        match self {
            Self::Engine(error) | Self::Usage(error) => note(&text(error)),
            Self::Interrupted => note("cancelled"),
            Self::OutputClosed => {}
        }
    }
}

/// An error for people: the sentence, the causes that add something, the hint.
pub(crate) fn text(error: &Error) -> String {
    let mut text = format!("error: {}", error.message());
    let mut said = error.message().to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        let words = words.trim();
        if !words.is_empty() && !said.contains(words) {
            text.push_str("\n  caused by: ");
            text.push_str(words);
            said.push_str(words);
        }
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    text
}

/// A line on standard error. Unlike `eprintln!` it does not panic when nobody listens.
pub(crate) fn note(line: &str) {
    use io::Write as _;
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let inner = Error::invalid("disk on fire");
        let outer = Error::invalid("cannot read t: disk on fire").with_source(inner.clone());
        assert_eq!(text(&outer), "error: cannot read t: disk on fire");
        let outer = Error::invalid("cannot read t").with_source(inner).with_hint("use water");
        let expected = "error: cannot read t\n  caused by: disk on fire\nhint: use water";
        assert_eq!(text(&outer), expected);
    }
}
