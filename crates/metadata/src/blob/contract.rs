//! The contract of blob stores. The backends keep it; whoever writes records calls it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::Result;

/// A shared blob store.
pub type BlobsRef = Arc<dyn Blobs>;

/// Immutable, named bytes: plans, slice lists, statistics.
///
/// Names are `/`-separated paths that the writer chooses and never uses for other content (they
/// carry a hash of it), so writing one twice is once and readers may cache without end.
/// Durability: a returned `put` survives a crash. Errors: `Retry` (unreachable, for a stated time),
/// `Lost` (no such blob), `Exhausted` (disk full), `Invalid` (no permission).
#[async_trait]
pub trait Blobs: Send + Sync + std::fmt::Debug {
    /// Writes a blob. Dropping the future leaves either the whole blob or none.
    async fn put(&self, name: &str, content: Bytes) -> Result<()>;

    /// Reads a whole blob.
    async fn get(&self, name: &str) -> Result<Bytes>;

    /// Names of all blobs that begin with `prefix`, sorted.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// Deletes all blobs that begin with `prefix`. None there is no error.
    async fn delete_prefix(&self, prefix: &str) -> Result<()>;
}
