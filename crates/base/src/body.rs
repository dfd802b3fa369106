//! A value that is small enough to travel inside a record, or the name of a blob that holds it.

use bytes::Bytes;

/// Bytes of a record's opaque part: inline when small, else the name of an immutable blob.
///
/// Whoever writes a record decides by size ([`Body::INLINE_MAX`]); whoever reads it resolves the
/// name through the blob store. A blob is written before the record that names it, so a name in a
/// record always resolves until its query has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The bytes themselves.
    Inline(Bytes),
    /// The name of a blob; names carry the query and the hash of the content.
    Blob(String),
}

impl Body {
    /// Above this many bytes a body is written as a blob. 64 KiB holds the plans of short queries.
    pub const INLINE_MAX: usize = 64 * 1024;

    /// An inline body of no bytes.
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }

    /// The bytes, if they are inline.
    pub fn inline(&self) -> Option<&Bytes> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Blob(_) => None,
        }
    }
}
