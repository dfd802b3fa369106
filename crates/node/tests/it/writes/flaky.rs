//! An object store in memory that stops publishing, or removing, when it is told to: where a gateway
//! would be killed between two files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::object_store::ObjectStoreRegistry;
use dunlin_base::Result;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::{RwLock, RwLockWriteGuard};
use url::Url;

use crate::cluster::Cluster;

/// The store, at `flaky://lake/`.
#[derive(Debug, Default)]
pub(super) struct Flaky {
    inner: InMemory,
    /// Files that may still be copied to their final name.
    copies: AtomicUsize,
    /// Files with a final name that may still be removed.
    removals: Arc<AtomicUsize>,
    /// Whoever has it to itself keeps others from storing.
    open: RwLock<()>,
}

/// Takes one of what is left.
fn take(left: &AtomicUsize) -> Stored<()> {
    let taken = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    let over = |_| Error::Generic { store: "flaky", source: "it is over".into() };
    taken.map(drop).map_err(over)
}

impl Flaky {
    /// A store that a cluster knows; it publishes `copies` files.
    pub(super) fn of(cluster: &Cluster, copies: usize) -> Arc<Self> {
        let store = Arc::new(Self::default());
        store.allow(copies);
        store.allow_removals(usize::MAX);
        let url = Url::parse("flaky://lake/").expect("a URL");
        let stores = Arc::clone(cluster.engine.planner().stores());
        stores.register_store(&url, Arc::clone(&store) as Arc<dyn ObjectStore>);
        store
    }

    pub(super) fn allow(&self, copies: usize) {
        self.copies.store(copies, Ordering::SeqCst);
    }

    pub(super) fn allow_removals(&self, removals: usize) {
        self.removals.store(removals, Ordering::SeqCst);
    }

    /// Nothing can be stored until it is dropped.
    pub(super) async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.open.write().await
    }

    /// Removes files whose paths have this in them.
    pub(super) async fn remove(&self, part: &str) {
        let paths = self.paths().await.into_iter().filter(|path| path.contains(part));
        for path in paths {
            self.inner.delete(&Path::from(path)).await.expect("removed");
        }
    }

    /// Somebody else's file.
    pub(super) async fn add(&self, path: &str) {
        self.inner.put(&Path::from(path), "x".into()).await.expect("stored");
    }

    /// All paths, staged ones too.
    pub(super) async fn paths(&self) -> Vec<String> {
        let list: Vec<_> = self.inner.list(None).try_collect().await.expect("a list");
        list.iter().map(|meta| meta.location.to_string()).collect()
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

type Stored<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, at: &Path, body: PutPayload, how: PutOptions) -> Stored<PutResult> {
        let _open = self.open.read().await;
        self.inner.put_opts(at, body, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
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
        let removals = Arc::clone(&self.removals);
        let allowed = move |path: Stored<Path>| {
            let path = path?;
            if !path.as_ref().contains(".dunlin") {
                take(&removals)?;
            }
            Ok(path)
        };
        self.inner.delete_stream(at.map(allowed).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Stored<()> {
        take(&self.copies)?;
        self.inner.copy_opts(from, to, how).await
    }
}

/// The keys of writes that have records.
pub(super) async fn write_records(cluster: &Cluster) -> Result<Vec<String>> {
    let found = cluster.engine.store().range("wr/").await?;
    Ok(found.entries.into_iter().map(|entry| entry.key).collect())
}
