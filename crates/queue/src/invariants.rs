//! The rules that every write of a record keeps, as pure predicates.

/// A rule that a write would have broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id}: {what}")]
pub struct Violation {
    /// The invariant's id, such as `Q1`.
    pub id: &'static str,
    /// What is wrong.
    pub what: String,
}
