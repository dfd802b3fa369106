//! Errors as records keep them: kind, message and hint, cut to a bounded length.

use dunlin_base::{Error, Kind};
use dunlin_proto::queue::Failure;

/// Bytes of a message or hint that a record keeps.
const TEXT_MAX: usize = 2048;

/// The beginning of a text, at most `max` bytes, never half a character.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

pub(crate) fn to_record(error: &Error) -> Failure {
    Failure {
        kind: error.kind().as_str().to_owned(),
        message: cut(error.message(), TEXT_MAX),
        hint: cut(error.hint().unwrap_or_default(), TEXT_MAX),
    }
}

pub(crate) fn to_error(failure: &Failure) -> Error {
    let error = Error::new(Kind::parse(&failure.kind), failure.message.clone());
    if failure.hint.is_empty() { error } else { error.with_hint(failure.hint.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_kind_message_and_hint() {
        let error = Error::exhausted("memory is used up").with_hint("raise memory_limit");
        let back = to_error(&to_record(&error));
        assert_eq!(
            (back.kind(), back.message(), back.hint()),
            (Kind::Exhausted, "memory is used up", Some("raise memory_limit"))
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
