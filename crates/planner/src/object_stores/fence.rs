//! A store that opens nothing outside the allowed places, whoever asks: a statement, a plan from
//! another process, the record of a write.
//!
//! The one thing to know: a listing that comes upon a link out of a folder is an error. To leave the
//! file out would be a result with rows missing.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;

use super::allowed::refused;
use super::{Allowed, store_key};

/// A store within the allowed places.
#[derive(Debug)]
pub(super) struct Fenced {
    inner: Arc<dyn ObjectStore>,
    bounds: Bounds,
}

#[derive(Clone, Debug)]
struct Bounds {
    allowed: Allowed,
    key: String,
    local: bool,
}

impl Fenced {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, url: &Url, allowed: Allowed) -> Self {
        let (key, local) = (store_key(url), url.scheme() == "file");
        Self { inner, bounds: Bounds { allowed, key, local } }
    }
}

impl Bounds {
    fn check(&self, path: &Path) -> Result<()> {
        let (within, shown) = match self.file(path) {
            Some(file) => (self.allowed.has_local(&file), file.display().to_string()),
            None => {
                let within = !self.local && self.allowed.has_remote(&self.key, path);
                (within, format!("{}/{path}", self.key))
            }
        };
        if within {
            return Ok(());
        }
        let source = Box::new(refused(&shown));
        Err(object_store::Error::Generic { store: "fence", source })
    }

    /// The file of a local path.
    fn file(&self, path: &Path) -> Option<PathBuf> {
        self.local.then(|| LocalFileSystem::new().path_to_filesystem(path).ok()).flatten()
    }

    /// A listing of a prefix, each file checked: it may be reached by a link. Files of other stores
    /// are where their names say.
    fn list(
        &self,
        prefix: Option<&Path>,
        inner: impl FnOnce() -> BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.check(prefix.unwrap_or(&Path::ROOT)) {
            return stream::iter([Err(error)]).boxed();
        }
        if !self.local {
            return inner();
        }
        let bounds = self.clone();
        let checked = move |meta: ObjectMeta| {
            futures::future::ready(bounds.check(&meta.location).map(|()| meta))
        };
        inner().and_then(checked).boxed()
    }
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Fenced {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.bounds.check(at)?;
        self.inner.put_opts(at, body, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.bounds.check(at)?;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.bounds.check(at)?;
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.bounds.check(at)?;
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let bounds = self.bounds.clone();
        let checked = move |path: Path| futures::future::ready(bounds.check(&path).map(|()| path));
        self.inner.delete_stream(locations.and_then(checked).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.bounds.list(prefix, || self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.bounds.list(prefix, || self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bounds.check(prefix.unwrap_or(&Path::ROOT))?;
        let list = self.inner.list_with_delimiter(prefix).await?;
        if self.bounds.local {
            list.objects.iter().try_for_each(|meta| self.bounds.check(&meta.location))?;
            list.common_prefixes.iter().try_for_each(|path| self.bounds.check(path))?;
        }
        Ok(list)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bounds.check(from)?;
        self.bounds.check(to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.bounds.check(from)?;
        self.bounds.check(to)?;
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::{Env, Kind};
    use object_store::ObjectStoreExt;

    use super::super::{ObjectStores, StoreLimits};
    use super::*;

    /// What a plan from elsewhere does: it opens paths of a store, and no statement was checked.
    #[tokio::test]
    async fn no_path_outside_is_opened_listed_or_written() {
        let (root, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        std::fs::write(root.path().join("x.csv"), "x\n").expect("written");
        std::fs::write(other.path().join("secret.csv"), "s\n").expect("written");
        let allowed = Allowed::only([root.path().display().to_string()]).expect("a folder");
        let stores = ObjectStores::limited(Env::seeded(1), StoreLimits::default(), allowed);
        let store = stores.get(&Url::parse("file:///").expect("a URL")).expect("a store");
        let inside = |name: &str| Path::from_absolute_path(root.path().join(name)).expect("a path");
        let secret = Path::from_absolute_path(other.path().join("secret.csv")).expect("a path");
        assert_eq!(store.get(&inside("x.csv")).await.expect("inside").meta.size, 2);
        store.put(&inside("y/z.csv"), "z\n".into()).await.expect("inside");
        let error = store.get(&secret).await.expect_err("outside");
        let error = crate::errors::from_object_store(&error);
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains("is not among those this server may use"), "{error}");
        store.put(&secret, "z\n".into()).await.expect_err("outside");
        store.delete(&secret).await.expect_err("outside");
        store.copy(&secret, &inside("copy.csv")).await.expect_err("from outside");
        store.rename(&inside("x.csv"), &secret).await.expect_err("to outside");
        store.list(None).try_collect::<Vec<_>>().await.expect_err("the whole disk");
        assert_eq!(std::fs::read(other.path().join("secret.csv")).expect("untouched"), b"s\n");
        std::os::unix::fs::symlink(other.path(), root.path().join("link")).expect("a link");
        store.get(&inside("link/secret.csv")).await.expect_err("by a link");
        let folder = Path::from_absolute_path(root.path()).expect("a path");
        store.list(Some(&folder)).try_collect::<Vec<_>>().await.expect_err("by a link");
    }
}
