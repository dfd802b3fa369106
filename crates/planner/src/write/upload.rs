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

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
        ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as Stored,
        UploadPart,
    };

    use super::*;

    /// A store that counts how its uploads end.
    #[derive(Debug, Default)]
    struct Counting {
        inner: InMemory,
        ends: Arc<Ends>,
    }

    #[derive(Debug, Default)]
    struct Ends {
        begun: AtomicUsize,
        completed: AtomicUsize,
        aborted: AtomicUsize,
    }

    impl Ends {
        fn all(&self) -> (usize, usize, usize) {
            let read = |count: &AtomicUsize| count.load(Ordering::SeqCst);
            (read(&self.begun), read(&self.completed), read(&self.aborted))
        }
    }

    #[derive(Debug)]
    struct CountedUpload(Box<dyn MultipartUpload>, Arc<Ends>);

    #[async_trait]
    impl MultipartUpload for CountedUpload {
        fn put_part(&mut self, data: PutPayload) -> UploadPart {
            self.0.put_part(data)
        }

        async fn complete(&mut self) -> Stored<PutResult> {
            self.1.completed.fetch_add(1, Ordering::SeqCst);
            self.0.complete().await
        }

        async fn abort(&mut self) -> Stored<()> {
            self.1.aborted.fetch_add(1, Ordering::SeqCst);
            self.0.abort().await
        }
    }

    impl fmt::Display for Counting {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("counting")
        }
    }

    #[async_trait]
    impl ObjectStore for Counting {
        async fn put_opts(
            &self,
            at: &Path,
            body: PutPayload,
            how: PutOptions,
        ) -> Stored<PutResult> {
            self.inner.put_opts(at, body, how).await
        }

        async fn put_multipart_opts(
            &self,
            at: &Path,
            how: PutMultipartOptions,
        ) -> Stored<Box<dyn MultipartUpload>> {
            self.ends.begun.fetch_add(1, Ordering::SeqCst);
            let upload = self.inner.put_multipart_opts(at, how).await?;
            Ok(Box::new(CountedUpload(upload, Arc::clone(&self.ends))))
        }

        async fn get_opts(&self, at: &Path, how: GetOptions) -> Stored<GetResult> {
            self.inner.get_opts(at, how).await
        }

        async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
            self.inner.get_ranges(at, ranges).await
        }

        fn delete_stream(
            &self,
            at: BoxStream<'static, Stored<Path>>,
        ) -> BoxStream<'static, Stored<Path>> {
            self.inner.delete_stream(at)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Stored<()> {
            self.inner.copy_opts(from, to, how).await
        }
    }

    #[tokio::test]
    async fn small_files_are_one_request_and_large_ones_end_or_are_aborted() {
        let store = Arc::new(Counting::default());
        let env = Env::real(Some(tokio::runtime::Handle::current()));
        let begin = |name: &str| {
            let shared = Arc::clone(&store) as Arc<dyn ObjectStore>;
            Upload::new(shared, Path::from(name), name.to_owned(), env.clone())
        };
        let large = || Bytes::from(vec![7; 9 << 20]);
        let mut small = begin("small");
        small.put(Bytes::from_static(b"few")).await.expect("put");
        small.finish().await.expect("ended");
        assert_eq!(store.ends.all(), (0, 0, 0));
        let mut whole = begin("large");
        whole.put(large()).await.expect("put");
        whole.finish().await.expect("ended");
        assert_eq!(store.ends.all(), (1, 1, 0));
        let mut dropped = begin("dropped");
        dropped.put(large()).await.expect("put");
        drop(dropped);
        let aborted = async {
            while store.ends.all().2 == 0 {
                tokio::task::yield_now().await;
            }
        };
        env.timeout(Duration::from_secs(20), aborted).await.expect("aborted in time");
        assert_eq!(store.ends.all(), (2, 1, 1));
        assert!(store.head(&Path::from("dropped")).await.is_err());
    }
}
