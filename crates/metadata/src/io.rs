//! What failed file operations mean to a caller. Used by the backends that touch disks; reads the
//! kind of an error, never its text.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use dunlin_base::{Error, Kind};

/// The error for a failed file operation on `what`.
pub(crate) fn io_error(what: impl Into<String>, e: io::Error) -> Error {
    let kind = io_kind(&e);
    Error::new(kind, format!("{}: {e}", what.into())).with_source(e)
}

/// What the caller of a failed file operation should do.
pub(crate) fn io_kind(e: &io::Error) -> Kind {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Kind::Exhausted
        }
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::InvalidInput => Kind::Invalid,
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::NotFound => Kind::Lost,
        _ => Kind::Retry,
    }
}

/// The file operation at the bottom of a failure, if there is one.
pub(crate) fn io_cause<'e>(e: &'e (dyn StdError + 'static)) -> Option<&'e io::Error> {
    let mut cause = Some(e);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = e.source();
    }
    None
}
