//! A local folder as an object store that keeps what it has taken. That of the library answers before
//! anything is synced: after a loss of power an object may be empty, or its name gone. Opened by
//! [`super::open_objects`].

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::Env;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// The folder. A put, the end of an upload and a copy return once the file and the directories that
/// lead to it are synced; if that fails so do they, and what was written may be there.
#[derive(Debug)]
pub(super) struct SyncedFolder {
    files: LocalFileSystem,
    root: Root,
}

#[derive(Clone, Debug)]
struct Root {
    folder: PathBuf,
    env: Env,
}

impl SyncedFolder {
    /// `folder` exists and is canonical.
    pub(super) fn new(folder: PathBuf, env: Env) -> Result<Self> {
        let files = LocalFileSystem::new_with_prefix(&folder)?.with_automatic_cleanup(true);
        Ok(Self { files, root: Root { folder, env } })
    }
}

impl Display for SyncedFolder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SyncedFolder({})", self.root.folder.display())
    }
}

impl Root {
    async fn sync(&self, object: &Path) -> Result<()> {
        let (folder, file) = (self.folder.clone(), self.folder.join(object.as_ref()));
        let synced = self.env.blocking(move || sync(&folder, &file)).await;
        let failed = |source| object_store::Error::Generic { store: "SyncedFolder", source };
        let synced = synced.map_err(|panic| failed(panic.into()))?;
        synced.map_err(|cause| failed(Box::new(cause)))
    }
}

/// Makes the file and its name durable: its content, then each directory up to the folder, since
/// any of them may be new.
pub(super) fn sync(folder: &FilePath, file: &FilePath) -> std::io::Result<()> {
    File::open(file)?.sync_all()?;
    for dir in file.ancestors().skip(1).take_while(|dir| dir.starts_with(folder)) {
        match File::open(dir) {
            Ok(dir) => dir.sync_all()?,
            // Deleted meanwhile, with the blob: nothing is left to keep.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    object: Path,
    root: Root,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.inner.put_part(part)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.root.sync(&self.object).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl ObjectStore for SyncedFolder {
    async fn put_opts(&self, to: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        let put = self.files.put_opts(to, body, how).await?;
        self.root.sync(to).await?;
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.files.put_multipart_opts(to, how).await?;
        Ok(Box::new(Upload { inner, object: to.clone(), root: self.root.clone() }))
    }

    async fn get_opts(&self, from: &Path, how: GetOptions) -> Result<GetResult> {
        self.files.get_opts(from, how).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        objects: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(objects)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, how).await?;
        self.root.sync(to).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, PutMode};

    use super::*;

    fn opened(folder: &FilePath) -> SyncedFolder {
        SyncedFolder::new(folder.canonicalize().expect("there"), Env::real(None)).expect("opened")
    }

    #[tokio::test]
    async fn what_is_put_is_synced_where_it_lies_and_a_sync_that_fails_fails_the_put() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = opened(dir.path());
        let at = Path::from("shuffle/w/q/0");
        store.put(&at, "one".into()).await.expect("put");
        let how = PutMode::Create.into();
        store.put_opts(&at, "two".into(), how).await.expect_err("it is there");
        let mut upload = store.put_multipart(&Path::from("a/b")).await.expect("begun");
        upload.put_part("large".into()).await.expect("a part");
        upload.complete().await.expect("ended");
        let got = store.get(&Path::from("a/b")).await.expect("there");
        assert_eq!(got.bytes().await.expect("whole"), "large");
        // Elsewhere there is nothing of this name to be synced.
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let root = Root { folder: elsewhere.path().to_owned(), ..store.root.clone() };
        let store = SyncedFolder { root, ..store };
        store.put(&at, "three".into()).await.expect_err("it was not synced");
        let mut upload = store.put_multipart(&at).await.expect("begun");
        upload.put_part("four".into()).await.expect("a part");
        upload.complete().await.expect_err("it was not synced");
        store.copy(&Path::from("a/b"), &Path::from("c")).await.expect_err("it was not synced");
    }
}
