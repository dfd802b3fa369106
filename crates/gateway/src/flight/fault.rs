//! Errors on the wire: kinds as gRPC codes and back, with hints.
//!
//! The one thing to know: the kind travels beside the code, since codes are shared with proxies and
//! libraries; a code alone decides only where no gateway of ours spoke.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use dunlin_base::{Error, Kind};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

const KIND: &str = "dunlin-kind";
const HINT: &str = "dunlin-hint-bin";
const ELSEWHERE: &str = "dunlin-elsewhere";

/// Longest message and hint; headers have little room.
const TEXT_MAX: usize = 4096;

/// An error with the code that the protocol wants for it, if that is not the kind's.
#[derive(Debug)]
pub(super) struct Fault {
    code: Option<Code>,
    error: Error,
    /// Another gateway can go on.
    elsewhere: bool,
}

impl Fault {
    fn with_code(code: Code, error: Error) -> Self {
        Self { code: Some(code), error, elsewhere: false }
    }

    /// Its error, without the code.
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// The kind of its error.
    pub(super) fn kind(&self) -> Kind {
        self.error.kind()
    }
}

/// The result of everything that a call does.
pub(super) type Outcome<T> = Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { code: None, error, elsewhere: false }
    }
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        dunlin_planner::errors::from_arrow(&error).into()
    }
}

impl From<FlightError> for Fault {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => from_status(&status).into(),
            FlightError::Arrow(error) => error.into(),
            FlightError::ExternalError(error) => match error.downcast::<Error>() {
                Ok(ours) => Self::from(*ours),
                Err(other) => Error::invalid(format!("not what Flight SQL sends: {other}")).into(),
            },
            other => Error::invalid(format!("not what Flight SQL sends: {other}")).into(),
        }
    }
}

/// The caller must say who it is (again).
pub(super) fn unauthenticated(message: impl Into<String>) -> Fault {
    let error = Error::invalid(message).with_hint("log in (again)");
    Fault::with_code(Code::Unauthenticated, error)
}

/// The caller may not have this.
pub(super) fn forbidden(message: impl Into<String>) -> Fault {
    Fault::with_code(Code::PermissionDenied, Error::invalid(message))
}

/// Something of Flight SQL that the door does not do.
pub(super) fn unsupported(what: &str) -> Fault {
    let error = Error::invalid(format!("{what} is not supported"));
    Fault::with_code(Code::Unimplemented, error)
}

/// This gateway stops; what the call wants is to be had at any other.
pub(super) fn leaving() -> Fault {
    let error = Error::retry("this gateway is leaving").with_hint("go on at another gateway");
    Fault { code: None, error, elsewhere: true }
}

/// A message that cannot be read as what it should be.
pub(super) fn malformed(what: &str, error: prost::DecodeError) -> Error {
    Error::invalid(format!("the {what} is malformed")).with_source(error)
}

impl From<Fault> for Status {
    fn from(Fault { code, error, elsewhere }: Fault) -> Self {
        let mut metadata = MetadataMap::new();
        metadata.insert(KIND, MetadataValue::from_static(error.kind().as_str()));
        if elsewhere {
            metadata.insert(ELSEWHERE, MetadataValue::from_static("1"));
        }
        let mut message = cut(error.message()).to_owned();
        if let Some(hint) = error.hint() {
            let hint = cut(hint);
            metadata.insert_bin(HINT, MetadataValue::from_bytes(hint.as_bytes()));
            // Other clients show nothing but the message.
            message.push_str(&hint_line(hint));
        }
        Self::with_metadata(code.unwrap_or_else(|| code_of(error.kind())), message, metadata)
    }
}

fn hint_line(hint: &str) -> String {
    format!("\nhint: {hint}")
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Retry => Code::Unavailable,
        Kind::Fenced => Code::Aborted,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Lost => Code::DataLoss,
        Kind::Bug => Code::Internal,
    }
}

/// The error behind a status: as a gateway said it, else by its code.
pub(super) fn from_status(status: &Status) -> Error {
    let said = status.metadata().get(KIND).and_then(|kind| kind.to_str().ok());
    let kind = said.map_or_else(|| kind_of(status), Kind::parse);
    let hint = status.metadata().get_bin(HINT).and_then(|hint| hint.to_bytes().ok());
    let hint = hint.and_then(|hint| String::from_utf8(hint.to_vec()).ok());
    match hint {
        Some(hint) => {
            let message = status.message();
            let message = message.strip_suffix(&hint_line(&hint)).unwrap_or(message);
            Error::new(kind, message).with_hint(hint)
        }
        None if said.is_some() => Error::new(kind, status.message()),
        None => Error::new(kind, said_by_others(status)),
    }
}

/// Whether another gateway may do what this one did not: the connection broke, or the gateway said
/// so. What a gateway says of a query, all would say.
pub(super) fn is_for_another(status: &Status) -> bool {
    let metadata = status.metadata();
    match metadata.get(KIND) {
        Some(_) => metadata.contains_key(ELSEWHERE),
        None => kind_of(status) == Kind::Retry,
    }
}

/// The message of a library with its causes: often only the last one tells what happened.
fn said_by_others(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = status.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    match text.is_empty() {
        true => format!("the call failed ({})", status.code().description()),
        false => text,
    }
}

fn kind_of(status: &Status) -> Kind {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Kind::Retry,
        Code::Aborted => Kind::Fenced,
        Code::ResourceExhausted | Code::OutOfRange => Kind::Exhausted,
        Code::DataLoss => Kind::Lost,
        // What the transport says of a broken connection has a cause; what a server says has none.
        Code::Internal | Code::Unknown | Code::Ok if status.source().is_some() => Kind::Retry,
        Code::Internal | Code::Unknown | Code::Ok => Kind::Bug,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Unauthenticated => Kind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_on_the_other_side() {
        let kinds =
            [Kind::Retry, Kind::Fenced, Kind::Invalid, Kind::Exhausted, Kind::Lost, Kind::Bug];
        for kind in kinds {
            for hint in [None, Some("did you mean 'Größe'?")] {
                let mut error = Error::new(kind, "unknown table 'x' (line 1, column 5)\n  ^");
                if let Some(hint) = hint {
                    error = error.with_hint(hint);
                }
                let back = from_status(&Status::from(Fault::from(error.clone())));
                assert_eq!(back.kind(), kind);
                assert_eq!(back.message(), error.message());
                assert_eq!(back.hint(), error.hint());
            }
        }
    }

    #[test]
    fn other_clients_see_the_hint_in_the_message() {
        let error = Error::invalid("unknown table 'x'").with_hint("did you mean 'y'?");
        let status = Status::from(Fault::from(error));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "unknown table 'x'\nhint: did you mean 'y'?");
    }

    #[test]
    fn statuses_of_others_have_kinds_too() {
        for (code, kind) in [
            (Code::Unavailable, Kind::Retry),
            (Code::OutOfRange, Kind::Exhausted),
            (Code::Unauthenticated, Kind::Invalid),
            (Code::Internal, Kind::Bug),
        ] {
            assert_eq!(from_status(&Status::new(code, "said")).kind(), kind);
        }
    }

    #[test]
    fn only_broken_connections_and_leaving_gateways_are_worth_another_try() {
        let said = |fault: Fault| is_for_another(&Status::from(fault));
        assert!(said(leaving()));
        assert!(!said(Error::retry("the store of table 't' does not answer").into()));
        assert!(is_for_another(&Status::unavailable("connection refused")));
        assert!(!is_for_another(&Status::internal("a bug of somebody")));
    }

    #[test]
    fn a_long_message_is_cut_at_a_letter() {
        let error = Error::invalid("ä".repeat(TEXT_MAX));
        let status = Status::from(Fault::from(error));
        assert_eq!(status.message().len(), TEXT_MAX);
    }
}
