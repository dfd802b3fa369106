//! One file on its way to a store: small ones in one request, larger ones in parts.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{ByteCount, Env, Result};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore};
use tokio::io::AsyncWriteExt;

use crate::errors::not_stored;

/// A file of fewer bytes is one request; a larger one goes in parts of so many.
const PART_BYTES: ByteCount = ByteCount::mib(8);

/// Parts that are on their way at a time.
const PARTS_MAX: usize = 2;

/// An upload. It is there when [`Upload::finish`] returns; dropped before, it is aborted in the
/// background.
pub(crate) struct Upload {
    writer: Option<BufWriter>,
    env: Env,
    /// Where it goes, for people.
    shown: String,
}

impl Upload {
    /// Begins a file; nothing is sent yet.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, shown: String, env: Env) -> Self {
        let writer = BufWriter::with_capacity(store, path, PART_BYTES.as_usize());
        Self { writer: Some(writer.with_max_concurrency(PARTS_MAX)), env, shown }
    }

    /// Takes more of the file; waits when too much is on its way. `Invalid`: no permission, a store
    /// that is not written; `Exhausted`: the disk is full; `Retry`: the store.
    pub(crate) async fn put(&mut self, bytes: Bytes) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(());
        }
        writer.put(bytes).await.map_err(|e| not_stored(&e, &self.shown))
    }

    /// Ends the file: it is there, whole.
    pub(crate) async fn finish(mut self) -> Result<()> {
        // No abort from here on: the request that ends the file may have been sent.
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let ended = writer.shutdown().await;
        ended.map_err(|error| match error.get_ref().and_then(|e| e.downcast_ref::<StoreError>()) {
            Some(error) => not_stored(error, &self.shown),
            None => {
                let error = StoreError::Generic { store: "upload", source: Box::new(error) };
                not_stored(&error, &self.shown)
            }
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        let shown = std::mem::take(&mut self.shown);
        self.env.spawn("abort upload", async move {
            if let Err(error) = writer.abort().await {
                tracing::debug!(file = shown, %error, "upload left to the store's own clean-up");
            }
        });
    }
}
