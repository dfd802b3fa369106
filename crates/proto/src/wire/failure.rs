//! An error on the wire: kind, message and hint, each bounded. The cause stays where it arose.

use dunlin_base::{Error, Kind};

use super::v1;

const MESSAGE_MAX: usize = 4096;
const HINT_MAX: usize = 1024;

pub(super) fn to_wire(error: &Error) -> v1::Failure {
    v1::Failure {
        kind: error.kind().as_str().to_owned(),
        message: cut(error.message(), MESSAGE_MAX).to_owned(),
        hint: error.hint().map(|hint| cut(hint, HINT_MAX).to_owned()).unwrap_or_default(),
    }
}

/// The error that a peer tells. An unknown kind is a `Bug`, as everywhere.
pub(super) fn from_wire(failure: Option<v1::Failure>) -> Error {
    let v1::Failure { kind, message, hint } = failure.unwrap_or_default();
    let error = Error::new(Kind::parse(&kind), cut(&message, MESSAGE_MAX));
    if hint.is_empty() { error } else { error.with_hint(cut(&hint, HINT_MAX)) }
}

/// The start of a text, at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
