//! An object store that does on demand what stores do: it answers 503, loses the answer to a put that
//! it did, or does not answer at all. Each fault that was met is counted.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use dunlin_shuffle_service::{ByIds, ObjectOptions};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::moody::Fault;
use super::*;

/// The store. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Odd(pub(crate) Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) store: InMemory,
    pub(crate) puts: Fault,
    /// Puts, and ends of uploads, that are done and answered with an error.
    pub(crate) lost: Fault,
    pub(crate) parts: Fault,
    pub(crate) gets: Fault,
    /// Reads that are told that there is no such object.
    pub(crate) absent: Fault,
    /// Reads whose body ends after its half.
    pub(crate) ends: Fault,
    /// Reads whose body fails after its half.
    pub(crate) breaks: Fault,
    /// Reads whose body goes on for ever after its half.
    pub(crate) hangs: Fault,
    /// Parts that are never answered.
    pub(crate) silent: Fault,
    pub(crate) deletes: Fault,
    /// Puts do not answer, and are done at the end of it.
    pub(crate) stalled: AtomicBool,
    pub(crate) stalls: AtomicU32,
    pub(crate) resumed: Notify,
    pub(crate) uploads: AtomicU32,
    /// Uploads that were begun by id and are neither completed nor aborted.
    pub(crate) open: Mutex<BTreeMap<String, Path>>,
    pub(crate) aborts: Fault,
    /// Ends of uploads by id that are done and answered with an error.
    pub(crate) unheard: Fault,
    /// The most bytes that one read wanted.
    pub(crate) largest_get: AtomicU64,
}

impl Odd {
    pub(crate) fn options(&self) -> ObjectOptions {
        ObjectOptions::new(Arc::new(self.clone()), "some/prefix", "w1")
    }

    /// The same, with ids for uploads.
    pub(crate) fn by_ids(&self) -> ObjectOptions {
        ObjectOptions { by_ids: Some(ByIds(Arc::new(self.clone()))), ..self.options() }
    }

    /// Names and contents.
    pub(crate) async fn objects(&self) -> Vec<(String, Bytes)> {
        use object_store::ObjectStoreExt;
        let all: Vec<_> = self.0.store.list(None).try_collect().await.expect("in memory");
        let mut found = Vec::new();
        for object in all {
            let bytes = self.0.store.get(&object.location).await.expect("is there").bytes().await;
            found.push((object.location.to_string(), bytes.expect("in memory")));
        }
        found.sort();
        found
    }

    pub(crate) fn heal(&self) {
        let Inner { puts, lost, parts, gets, absent, deletes, .. } = self.0.as_ref();
        let Inner { ends, breaks, hangs, silent, aborts, unheard, .. } = self.0.as_ref();
        let some = [puts, lost, parts, gets, absent, deletes];
        for fault in some.into_iter().chain([ends, breaks, hangs, silent, aborts, unheard]) {
            fault.fail(0);
        }
        self.0.stalled.store(false, SeqCst);
        self.0.resumed.notify_waiters();
    }
}

impl Odd {
    /// The half of a body, and what comes of the rest.
    async fn body(&self, got: GetResult) -> object_store::Result<GetResult> {
        let Inner { ends, breaks, hangs, .. } = self.0.as_ref();
        let rest = if ends.strikes() {
            stream::empty().boxed()
        } else if breaks.strikes() {
            stream::once(async { Err(generic("connection reset")) }).boxed()
        } else if hangs.strikes() {
            stream::pending().boxed()
        } else {
            return Ok(got);
        };
        let GetResult { meta, range, attributes, .. } = &got;
        let (meta, range, attributes) = (meta.clone(), range.clone(), attributes.clone());
        let bytes = got.bytes().await?;
        let half = bytes.slice(..bytes.len() / 2);
        let payload = stream::once(async { Ok(half) }).chain(rest).boxed();
        Ok(GetResult { payload: GetResultPayload::Stream(payload), meta, range, attributes })
    }
}

fn generic(text: &str) -> object_store::Error {
    object_store::Error::Generic { store: "odd", source: text.into() }
}

fn meet(fault: &Fault) -> object_store::Result<()> {
    if fault.strikes() { Err(generic("503 Slow Down")) } else { Ok(()) }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("odd")
    }
}

impl fmt::Debug for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("odd")
    }
}

#[async_trait]
impl ObjectStore for Odd {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        meet(&self.0.puts)?;
        if self.0.stalled.load(SeqCst) {
            // The bytes are on their way: that nobody waits for them does not stop them.
            self.0.stalls.fetch_add(1, SeqCst);
            let (odd, path) = (self.clone(), path.clone());
            let late = async move {
                odd.0.resumed.notified().await;
                odd.0.store.put_opts(&path, payload, options).await
            };
            let task = Env::seeded(1).spawn("late put", late);
            return task.join().await.expect("no panic");
        }
        let done = self.0.store.put_opts(path, payload, options).await?;
        meet(&self.0.lost)?;
        Ok(done)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.uploads.fetch_add(1, SeqCst);
        let inner = self.0.store.put_multipart_opts(path, options).await?;
        Ok(Box::new(OddUpload(inner, self.clone())))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        meet(&self.0.gets)?;
        if self.0.absent.strikes() {
            let (path, source) = (path.to_string(), "404".into());
            return Err(object_store::Error::NotFound { path, source });
        }
        if let Some(GetRange::Bounded(Range { start, end })) = &options.range {
            self.0.largest_get.fetch_max(end - start, SeqCst);
        }
        let head = options.head;
        let got = self.0.store.get_opts(path, options).await?;
        if head { Ok(got) } else { self.body(got).await }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let odd = self.clone();
        let paths =
            paths.map(move |path| path.and_then(|path| meet(&odd.0.deletes).map(|()| path)));
        self.0.store.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.0.store.copy_opts(from, to, options).await
    }
}

/// As S3 does: of an upload that was completed or aborted nothing is known any more.
#[async_trait]
impl MultipartStore for Odd {
    async fn create_multipart(&self, path: &Path) -> object_store::Result<String> {
        self.0.uploads.fetch_add(1, SeqCst);
        let id = self.0.store.create_multipart(path).await?;
        self.0.open.lock().insert(id.clone(), path.clone());
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &String,
        number: usize,
        part: PutPayload,
    ) -> object_store::Result<PartId> {
        meet(&self.0.parts)?;
        if self.0.silent.strikes() {
            std::future::pending::<()>().await;
        }
        self.0.store.put_part(path, id, number, part).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &String,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        let done = self.0.store.complete_multipart(path, id, parts).await?;
        self.0.open.lock().remove(id);
        meet(&self.0.unheard)?;
        Ok(done)
    }

    async fn abort_multipart(&self, path: &Path, id: &String) -> object_store::Result<()> {
        meet(&self.0.aborts)?;
        if self.0.open.lock().remove(id).is_none() {
            let (path, source) = (path.to_string(), "NoSuchUpload".into());
            return Err(object_store::Error::NotFound { path, source });
        }
        self.0.store.abort_multipart(path, id).await
    }
}

#[derive(Debug)]
struct OddUpload(Box<dyn MultipartUpload>, Odd);

#[async_trait]
impl MultipartUpload for OddUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if let Err(error) = meet(&self.1.0.parts) {
            return async { Err(error) }.boxed();
        }
        if self.1.0.silent.strikes() {
            return std::future::pending().boxed();
        }
        self.0.put_part(data)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let done = self.0.complete().await?;
        meet(&self.1.0.lost)?;
        Ok(done)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.0.abort().await
    }
}
