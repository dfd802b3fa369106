//! A remote store that always answers within its time, and whose errors name the URL.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Error};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::StoreLimits;
use crate::errors::from_object_store;

/// A remote store with its name and its limits. Errors keep their variant (callers tell
/// `NotFound` apart), all others carry an error of ours inside.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    inner: Arc<dyn ObjectStore>,
    name: String,
    env: Env,
    limits: StoreLimits,
}

impl Guarded {
    pub(super) fn new(
        inner: Arc<dyn ObjectStore>,
        name: String,
        env: Env,
        limits: StoreLimits,
    ) -> Self {
        Self { inner, name, env, limits }
    }

    async fn guard<T>(
        &self,
        path: Option<&Path>,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.env.timeout(self.limits.answer, future).await {
            Some(result) => result.map_err(|e| self.named(path, e)),
            None => Err(self.late(path)),
        }
    }

    fn url(&self, path: Option<&Path>) -> String {
        path.map_or_else(|| self.name.clone(), |path| format!("{}/{path}", self.name))
    }

    fn late(&self, path: Option<&Path>) -> object_store::Error {
        let seconds = self.limits.answer.as_secs_f32();
        let error = format!("no answer from {} within {seconds} s", self.url(path));
        carry(Error::retry(error).with_hint("check the endpoint, the network and the credentials"))
    }

    fn named(&self, path: Option<&Path>, error: object_store::Error) -> object_store::Error {
        use object_store::Error as E;
        let path_of = |_: String| self.url(path);
        match error {
            E::NotFound { path, source } => E::NotFound { path: path_of(path), source },
            E::PermissionDenied { path, source } => {
                E::PermissionDenied { path: path_of(path), source }
            }
            E::Unauthenticated { path, source } => {
                E::Unauthenticated { path: path_of(path), source }
            }
            E::Precondition { path, source } => E::Precondition { path: path_of(path), source },
            E::NotModified { path, source } => E::NotModified { path: path_of(path), source },
            E::AlreadyExists { path, source } => E::AlreadyExists { path: path_of(path), source },
            other => carry(from_object_store(&other).context(self.url(path))),
        }
    }

    /// A listing whose every step is guarded.
    fn guarded_list(
        &self,
        inner: BoxStream<'static, Result<ObjectMeta>>,
        prefix: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let state = (self.clone(), prefix.cloned(), Some(inner));
        stream::unfold(state, |(store, prefix, inner)| async move {
            let mut inner = inner?;
            let next = store.env.timeout(store.limits.answer, inner.next()).await;
            let item = match next {
                None => return Some((Err(store.late(prefix.as_ref())), (store, prefix, None))),
                Some(item) => item?.map_err(|e| store.named(prefix.as_ref(), e)),
            };
            Some((item, (store, prefix, Some(inner))))
        })
        .boxed()
    }
}

fn carry(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "remote", source: Box::new(error) }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        // A body may be long; the client's own limit holds.
        self.inner.put_opts(at, body, options).await.map_err(|e| self.named(Some(at), e))
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.guard(Some(at), self.inner.put_multipart_opts(at, options)).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.guard(Some(at), self.inner.get_opts(at, options)).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Reads whole bodies: the client's limit for a body holds, with its retries.
        self.inner.get_ranges(at, ranges).await.map_err(|e| self.named(Some(at), e))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.guarded_list(self.inner.list(prefix), prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.guarded_list(self.inner.list_with_offset(prefix, offset), prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.guard(prefix, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        // As long as a body may take: the store answers when it has copied all of it.
        let copied = self.env.timeout(self.limits.body, self.inner.copy_opts(from, to, options));
        match copied.await {
            Some(result) => result.map_err(|e| self.named(Some(from), e)),
            None => Err(self.late(Some(from))),
        }
    }
}
