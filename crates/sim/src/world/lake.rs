//! The object store with the tables, as one process reaches it.
//!
//! The one thing to know: no file has a time of its own. The store in memory says when a file was
//! written by the real clock, and plans carry that.
//!
//! Reads are slow and do not fail: DataFusion makes a text of the error of a Parquet footer that was
//! not read, so that the query is told `invalid` and not `retry`. Lists and changes do fail.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dunlin_base::Error;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::link::{Link, Way};
use super::weather::Weather;

/// The one store of a world over the link of one process.
#[derive(Clone, Debug)]
pub(crate) struct Lake {
    pub(crate) inner: Arc<InMemory>,
    pub(crate) link: Arc<Link>,
    pub(crate) weather: Arc<Weather>,
}

impl Lake {
    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let broken = || {
            let source = Box::new(Error::retry("the store of tables did not answer"));
            Err(object_store::Error::Generic { store: "lake", source })
        };
        let crossed = async {
            self.weather.delay().await;
            if self.weather.refuses() {
                return broken();
            }
            let answer = call.await;
            if self.weather.swallows_answer() { broken() } else { answer }
        };
        self.link.through(Way::Wire, crossed).await
    }
}

fn undated(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta { last_modified: Default::default(), ..meta }
}

impl fmt::Display for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lake")
    }
}

#[async_trait]
impl ObjectStore for Lake {
    async fn put_opts(
        &self,
        at: &Path,
        body: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.call(self.inner.put_opts(at, body, options)).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call(self.inner.put_multipart_opts(at, options)).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let got = async {
            self.weather.delay().await;
            self.inner.get_opts(at, options).await
        };
        let got = self.link.through(Way::Wire, got).await?;
        Ok(GetResult { meta: undated(got.meta), ..got })
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let deleted = paths.then(move |path| {
            let this = this.clone();
            async move {
                let paths = stream::iter([path]).boxed();
                let one = this.inner.delete_stream(paths).try_collect::<Vec<_>>();
                let mut one = this.call(one).await?;
                one.pop().ok_or(object_store::Error::NotImplemented {
                    operation: "deletion".to_owned(),
                    implementer: "lake".to_owned(),
                })
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let list = this.inner.list(prefix.as_ref()).map_ok(undated);
            this.call(list.try_collect::<Vec<_>>()).await
        };
        let listed = stream::once(listed).map_ok(|list| stream::iter(list.into_iter().map(Ok)));
        listed.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut list = self.call(self.inner.list_with_delimiter(prefix)).await?;
        list.objects = list.objects.into_iter().map(undated).collect();
        Ok(list)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, options)).await
    }
}
