//! The target of one write, as gateways handle it: what is staged, what is published, what goes.
//!
//! Every step may be repeated, and by several gateways at once: names follow from the query and the
//! manifest alone.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::catalog::v1::Store;
use dunlin_proto::write::target::Kind;
use dunlin_proto::write::{File, Manifest, Target};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use prost::Message;
use url::Url;

use crate::errors::{from_object_store, not_stored};
use crate::object_stores::{ObjectStores, STAGING, StoreSpec};

/// Files that are published at the same time.
const CONCURRENCY: usize = 16;

/// What the names of manifests in the staging folder begin with.
const MANIFEST: &str = "manifest";

/// The name of the staged file without rows.
const EMPTY: &str = "empty";

/// Files that are to be removed.
type Paths = BoxStream<'static, object_store::Result<Path>>;

/// Where one write goes.
#[derive(Debug)]
pub struct Landing {
    store: Arc<dyn ObjectStore>,
    target: Target,
    query: QueryId,
    folder: Path,
    /// The one file, if there is to be one.
    file: Option<Path>,
}

impl Landing {
    /// The target of the write of `query`. `Invalid`: a store that this process cannot make.
    pub fn new(stores: &ObjectStores, target: &Target, query: QueryId) -> Result<Self> {
        if !target.access.is_empty() {
            let access = Store::decode(target.access.as_ref())
                .map_err(|e| Error::lost("how to reach a store cannot be read").with_source(e))?;
            stores.configure(&StoreSpec::from_proto(access))?;
        }
        let url = Url::parse(&target.store)
            .map_err(|e| Error::bug("the store of a target has no URL").with_source(e))?;
        let path = |text: &str| {
            Path::parse(text).map_err(|e| Error::bug("a target is no path").with_source(e))
        };
        let folder = path(&target.folder)?;
        let file = match target.file.as_str() {
            "" => None,
            file => Some(path(&format!("{folder}/{file}"))?),
        };
        Ok(Self { store: stores.get(&url)?, target: target.clone(), query, folder, file })
    }

    fn staged(&self, name: &str) -> Path {
        staging(&self.folder, self.query).join(name)
    }

    /// The final name of file `number` of the manifest.
    fn published(&self, number: usize) -> Path {
        let name = || format!("{}-{number:05}{}", self.query, self.target.ending);
        self.file.clone().unwrap_or_else(|| self.folder.clone().join(name()))
    }

    fn shown(&self, path: &Path) -> String {
        shown(&self.target.store, path)
    }

    /// Refuses a target that is not empty. `Invalid` names what is there.
    pub async fn check_free(&self) -> Result<()> {
        let there = match &self.file {
            None => self.store.list(Some(&self.folder)).try_next().await,
            Some(file) => self.store.head(file).await.map(Some),
        };
        let there = match there {
            Ok(there) => there.map(|meta| meta.location),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(not_stored(&error, &self.shown(&self.folder))),
        };
        let Some(there) = there else { return Ok(()) };
        Err(Error::invalid(format!("the target is not empty: there is {}", self.shown(&there)))
            .with_hint("write to a folder or a file that is not there yet"))
    }

    /// Stages a file without rows, in case that there will be no other.
    pub async fn stage_empty(&self, bytes: Vec<u8>) -> Result<()> {
        self.put(EMPTY, bytes).await
    }

    /// Stages a manifest, and gives its hash: if that is decided on, its files count. Others, of
    /// gateways that read another run of the query, stay beside it.
    pub async fn stage_manifest(&self, manifest: &Manifest) -> Result<Bytes> {
        let bytes = manifest.encode_to_vec();
        let hash = Bytes::copy_from_slice(blake3::hash(&bytes).as_bytes());
        self.put(&manifest_name(&hash), bytes).await?;
        Ok(hash)
    }

    /// The manifest of these files. One that is needed although there are no rows is the file
    /// without any.
    pub fn manifest(&self, mut files: Vec<File>, must_have_one: bool) -> Manifest {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        if files.is_empty() && must_have_one {
            files.push(File { name: EMPTY.to_owned(), ..File::default() });
        }
        Manifest { files }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.staged(name);
        let put = self.store.put(&path, bytes.into()).await;
        put.map(drop).map_err(|e| not_stored(&e, &self.shown(&path)))
    }

    /// Gives every file of the manifest with this hash its final name. `Lost`: the manifest is gone,
    /// or a staged file is and was not published. Idempotent.
    pub async fn publish(&self, manifest: &[u8]) -> Result<()> {
        let path = self.staged(&manifest_name(manifest));
        let failed = |e: &StoreError| match e {
            StoreError::NotFound { .. } => {
                let path = self.shown(&path);
                Error::lost(format!("{path} was removed before its files were published"))
            }
            e => from_object_store(e).context("the manifest of a write"),
        };
        let bytes = self.store.get(&path).await.map_err(|e| failed(&e))?;
        let bytes = bytes.bytes().await.map_err(|e| failed(&e))?;
        let manifest = Manifest::decode(bytes.as_ref())
            .map_err(|e| Error::lost("the manifest of a write cannot be read").with_source(e))?;
        let all: Vec<_> =
            (0..).zip(&manifest.files).map(|(n, file)| self.move_one(n, file).boxed()).collect();
        let moved: Result<()> = stream::iter(all).buffer_unordered(CONCURRENCY).try_collect().await;
        moved?;
        self.sync(&self.folder).await
    }

    /// A local file or folder is on the disk, not only on its way there. What is gone is no error.
    async fn sync(&self, path: &Path) -> Result<()> {
        let Some(local) = self.local(path) else { return Ok(()) };
        let synced = match tokio::fs::File::open(&local).await {
            Ok(file) => file.sync_all().await,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        synced.map_err(|error| local_error(error, &local))
    }

    async fn move_one(&self, number: usize, file: &File) -> Result<()> {
        let (from, to) = (self.staged(&file.name), self.published(number));
        self.sync(&from).await?;
        let error = match self.store.rename(&from, &to).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Another try, here or elsewhere, may have been faster.
        match (&error, self.store.head(&to).await) {
            (StoreError::NotFound { .. }, Ok(_)) => Ok(()),
            (StoreError::NotFound { .. }, Err(StoreError::NotFound { .. })) => Err(Error::lost(
                format!("{} was removed before it was published", self.shown(&from)),
            )),
            _ => Err(not_stored(&error, &self.shown(&to))),
        }
    }

    /// Removes what is staged, and a folder that is still empty if it was made for this write.
    /// Idempotent.
    pub async fn clean(&self) -> Result<()> {
        self.remove_below(&staging(&self.folder, self.query)).await?;
        self.remove_folders().await
    }

    /// The same of a write that was given up. If it had been `decided` on, files of it may have been
    /// published by then: they go, too, and nobody else's. (Not the one file of a COPY: its name does
    /// not say whose it is, and if it is the write's, then it is all of it.) Idempotent.
    pub async fn withdraw(&self, decided: bool) -> Result<()> {
        // First what might still be published.
        self.remove_below(&staging(&self.folder, self.query)).await?;
        // Earlier builds did not say what they had decided on.
        if decided || self.target.kind() == Kind::Create {
            self.remove_published().await?;
        }
        self.remove_folders().await
    }

    async fn remove_published(&self) -> Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let found = self.store.list_with_delimiter(Some(&self.folder)).await;
        let found = found.map_err(|e| not_stored(&e, &self.shown(&self.folder)))?.objects;
        let own = format!("{}-", self.query);
        let own = found
            .into_iter()
            .map(|meta| meta.location)
            .filter(move |path| path.filename().is_some_and(|name| name.starts_with(&own)));
        self.remove(stream::iter(own.map(Ok)).boxed(), &self.folder).await
    }

    /// Removes the folders of this write, of which the store knows nothing.
    async fn remove_folders(&self) -> Result<()> {
        let Some(local) = self.local(&staging(&self.folder, self.query)) else { return Ok(()) };
        // Half-written files have names that no list shows.
        let removed = tokio::fs::remove_dir_all(&local).await;
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(local_error(error, &local));
        }
        // Folders that others use are not empty, and stay.
        let mut folder = local.parent();
        for _ in 0..if self.target.fresh { 2 } else { 1 } {
            let Some(path) = folder else { break };
            match tokio::fs::remove_dir(path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => break,
                _ => folder = path.parent(),
            }
        }
        Ok(())
    }

    async fn remove_below(&self, folder: &Path) -> Result<()> {
        let found = self.store.list(Some(folder)).map_ok(|meta| meta.location).boxed();
        self.remove(found, folder).await
    }

    async fn remove(&self, paths: Paths, folder: &Path) -> Result<()> {
        let mut removed = self.store.delete_stream(paths);
        while let Some(one) = removed.next().await {
            match one {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(not_stored(&error, &self.shown(folder))),
            }
        }
        Ok(())
    }

    fn local(&self, path: &Path) -> Option<PathBuf> {
        let local = self.target.store.starts_with("file:");
        let disk = object_store::local::LocalFileSystem::new();
        local.then(|| disk.path_to_filesystem(path).ok()).flatten()
    }
}

fn local_error(error: std::io::Error, path: &FsPath) -> Error {
    let error = StoreError::Generic { store: "local", source: Box::new(error) };
    not_stored(&error, &path.display().to_string())
}

/// Without a hash: that of a write which an earlier build has decided.
fn manifest_name(hash: &[u8]) -> String {
    if hash.is_empty() {
        return MANIFEST.to_owned();
    }
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{MANIFEST}-{hex}")
}

/// The folder below `folder` for what the write of `query` stages.
pub(crate) fn staging(folder: &Path, query: QueryId) -> Path {
    folder.clone().join(STAGING).join(query.to_string())
}

/// A path of a store as people write it.
pub(crate) fn shown(store: &str, path: &Path) -> String {
    if store.starts_with("file:") {
        return format!("/{path}");
    }
    format!("{}/{path}", store.trim_end_matches('/'))
}
