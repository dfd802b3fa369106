//! A store that lists nothing of what writes stage: readers never see a file that does not count.
//!
//! The one thing to know: hidden is what has [`STAGING`] in its path below the listed prefix. Who
//! lists a prefix inside a staging folder sees it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// The folder in a target under which writes stage their files.
pub(crate) const STAGING: &str = ".dunlin";

/// A store without its staging folders.
#[derive(Debug)]
pub(super) struct Hidden {
    inner: Arc<dyn ObjectStore>,
}

impl Hidden {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }
}

/// Whether a path is hidden from who lists `prefix`.
fn hidden(path: &Path, prefix: Option<&Path>) -> bool {
    let above = prefix.map_or(0, |prefix| prefix.parts().count());
    path.parts().skip(above).any(|part| part.as_ref() == STAGING)
}

fn shown(
    list: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let prefix = prefix.cloned();
    let keep =
        move |meta: &ObjectMeta| futures::future::ready(!hidden(&meta.location, prefix.as_ref()));
    list.try_filter(keep).boxed()
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Hidden {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(at, body, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        shown(self.inner.list(prefix), prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        shown(self.inner.list_with_offset(prefix, offset), prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut list = self.inner.list_with_delimiter(prefix).await?;
        list.common_prefixes.retain(|path| !hidden(path, prefix));
        list.objects.retain(|meta| !hidden(&meta.location, prefix));
        Ok(list)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn staged_files_are_listed_only_to_who_asks_for_them() {
        let store = Hidden::new(Arc::new(InMemory::new()));
        for path in ["t/a.parquet", "t/.dunlin/1/b.parquet", "t/c.dunlin/d.parquet"] {
            store.put(&Path::from(path), PutPayload::from_static(b"x")).await.expect("put");
        }
        let listed = async |prefix: &str| {
            let prefix = Path::from(prefix);
            let list: Vec<_> = store.list(Some(&prefix)).try_collect().await.expect("a list");
            let mut paths: Vec<_> = list.iter().map(|meta| meta.location.to_string()).collect();
            paths.sort();
            paths
        };
        assert_eq!(listed("t").await, ["t/a.parquet", "t/c.dunlin/d.parquet"]);
        assert_eq!(listed("t/.dunlin/1").await, ["t/.dunlin/1/b.parquet"]);
        let level = store.list_with_delimiter(Some(&Path::from("t"))).await.expect("a list");
        assert_eq!(level.common_prefixes, [Path::from("t/c.dunlin")]);
    }
}
