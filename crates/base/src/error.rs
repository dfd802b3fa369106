//! The one error type that crosses every boundary of Dunlin, with the kind that tells the caller
//! what to do.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What the caller of a failed operation should do. Code branches on this, never on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Transient: the same input may succeed later. Back off and try again.
    Retry,
    /// The caller lost its claim or lease to a newer owner: stop, do not retry.
    Fenced,
    /// The caller must change something: its SQL, an option, a file, a permission.
    Invalid,
    /// A budget or limit is used up: back off, or raise the limit named in the message.
    Exhausted,
    /// Data that should exist are gone or corrupt: recompute them.
    Lost,
    /// Dunlin broke a promise to itself. Worth a report.
    Bug,
}

impl Kind {
    /// The stable lower-case word for this kind, used in records, logs and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fenced => "fenced",
            Self::Invalid => "invalid",
            Self::Exhausted => "exhausted",
            Self::Lost => "lost",
            Self::Bug => "bug",
        }
    }

    /// The kind for a word written by [`Kind::as_str`]; unknown words are [`Kind::Bug`].
    pub fn parse(word: &str) -> Self {
        match word {
            "retry" => Self::Retry,
            "fenced" => Self::Fenced,
            "invalid" => Self::Invalid,
            "exhausted" => Self::Exhausted,
            "lost" => Self::Lost,
            _ => Self::Bug,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure with its kind, one sentence, an optional hint and the cause.
///
/// The message is lower case, without a full stop, and names the thing that failed. The hint says
/// what a person can do. Cloning is cheap; a clone shares the cause.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The result of every fallible operation of Dunlin.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Shorthand for [`Kind::Retry`].
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(Kind::Retry, message)
    }

    /// Shorthand for [`Kind::Fenced`].
    pub fn fenced(message: impl Into<String>) -> Self {
        Self::new(Kind::Fenced, message)
    }

    /// Shorthand for [`Kind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Shorthand for [`Kind::Exhausted`].
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(Kind::Exhausted, message)
    }

    /// Shorthand for [`Kind::Lost`].
    pub fn lost(message: impl Into<String>) -> Self {
        Self::new(Kind::Lost, message)
    }

    /// Shorthand for [`Kind::Bug`].
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }

    /// The same error with the cause attached.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error with a sentence that tells a person what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with `context: ` before its message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence, without hint and cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn StdError + 'static))
    }
}
