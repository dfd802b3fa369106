//! Blobs in a local folder.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_base::{Env, Error, Result};
use object_store::local::LocalFileSystem;

use super::synced::sync;
use super::{Blobs, ObjectBlobs};
use crate::io::io_error;

/// Blobs as files below a folder, which processes of one machine may share. A blob appears under
/// its name complete; `put` returns once the file and the directories that lead to it are synced.
/// A crash within a `put` may leave a file named like the blob with `#` and a number behind; it is
/// never listed or read.
#[derive(Debug)]
pub struct FolderBlobs {
    files: ObjectBlobs,
    folder: PathBuf,
    env: Env,
}

impl FolderBlobs {
    /// Opens the folder, making it if there is none. `Invalid`: it cannot be a folder, or no
    /// permission.
    pub async fn open(folder: impl Into<PathBuf>, env: Env) -> Result<Self> {
        let folder: PathBuf = folder.into();
        let what = format!("blob folder '{}'", folder.display());
        let make = {
            let folder = folder.clone();
            move || fs::create_dir_all(&folder).and_then(|()| fs::canonicalize(&folder))
        };
        let made = env.blocking(make).await.map_err(Error::bug)?;
        let folder = made.map_err(|e| io_error(&what, e))?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|e| Error::invalid(format!("{what}: {e}")).with_source(e))?
            .with_automatic_cleanup(true);
        let files = ObjectBlobs::new(Arc::new(store), Default::default(), env.clone());
        Ok(Self { files, folder, env })
    }
}

#[async_trait]
impl Blobs for FolderBlobs {
    async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        self.files.put(name, content).await?;
        let (folder, file) = (self.folder.clone(), self.folder.join(name));
        let synced = self.env.blocking(move || sync(&folder, &file)).await;
        let what = || format!("blob '{name}' in '{}'", self.folder.display());
        synced.map_err(Error::bug)?.map_err(|e| io_error(what(), e))
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        self.files.get(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.files.list(prefix).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        self.files.delete_prefix(prefix).await
    }
}

#[cfg(test)]
mod tests {
    use dunlin_base::Kind;

    use super::*;
    use crate::blob::object::tests::keeps_the_contract;

    #[tokio::test]
    async fn a_folder_keeps_the_contract_and_is_clean_afterwards() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let folder = dir.path().join("new/blobs");
        let blobs = FolderBlobs::open(&folder, Env::real(None)).await.expect("made");
        keeps_the_contract(&blobs).await.expect("kept");
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 0);
        blobs.put("a/b", Bytes::from_static(b"x")).await.expect("ok");
        let again = FolderBlobs::open(&folder, Env::real(None)).await.expect("opened");
        assert_eq!(again.get("a/b").await.expect("ok"), "x");
    }

    #[tokio::test]
    async fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let opened = FolderBlobs::open(file.path(), Env::real(None)).await;
        assert_eq!(opened.map_err(|e| e.kind()).err(), Some(Kind::Invalid));
    }
}
