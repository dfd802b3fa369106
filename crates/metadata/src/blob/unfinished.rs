//! Writes that a process began and did not end: uploads in parts, which no list of objects shows, and
//! the unfinished files of a local folder. Called by the sweep of gateways.
//!
//! The one thing to know: a store says nothing of uploads that it was not asked about by path and id.
//! Whoever begins one writes these down; see `design/2026-11-28-shuffle-service.md`.

use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::{Env, Error, Kind, Result};
use object_store::ObjectStoreExt;
use object_store::multipart::MultipartStore;

use super::{ObjectBlobs, ObjectPlace};
use crate::io::io_error;

/// How a write that somebody else began is ended in a store.
#[derive(Clone, Default)]
pub enum Begun {
    /// Not at all: the store does not say how, or ends with this process.
    #[default]
    Nothing,
    /// An upload is aborted by its path and id.
    Ids(Arc<dyn MultipartStore>),
    /// Unfinished files lie beside the finished ones, in this folder.
    Files(PathBuf),
}

impl Debug for Begun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Ids(_) => f.write_str("Ids"),
            Self::Files(folder) => write!(f, "Files({})", folder.display()),
        }
    }
}

/// What is unfinished at a place. Names are those of [`ObjectPlace::blobs`].
#[derive(Clone, Debug)]
pub struct Unfinished {
    blobs: ObjectBlobs,
    begun: Begun,
    env: Env,
}

impl Unfinished {
    pub(super) fn new(place: &ObjectPlace, env: Env) -> Self {
        let blobs = ObjectBlobs::new(Arc::clone(&place.store), place.root.clone(), env.clone());
        Self { blobs, begun: place.begun.clone(), env }
    }

    /// The content of an object of at most `limit` bytes. `Lost`: there is none. `Invalid`: it is
    /// longer. `Retry`: the store does not answer.
    pub async fn read(&self, name: &str, limit: u64) -> Result<Bytes> {
        let place = self.blobs.place(name)?;
        let read = async {
            let found = self.blobs.store.get(&place).await?;
            let size = found.meta.size;
            Ok(if size > limit { Err(size) } else { Ok(found.bytes().await?) })
        };
        let read = self.blobs.call("get", name, read).await?;
        read.map_err(|size| Error::invalid(format!("'{name}' has {size} bytes")))
    }

    /// Removes one object. One that is not there is fine. `Retry`: the store does not answer.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let place = self.blobs.place(name)?;
        gone(self.blobs.call("delete", name, self.blobs.store.delete(&place)).await)
    }

    /// Aborts the upload of an object. One that was completed or aborted is fine; an object of that name
    /// stays. `Invalid`: no right to do so, no id, or a store that knows none. `Retry`: the store does
    /// not answer.
    pub async fn abort(&self, name: &str, id: &str) -> Result<()> {
        // Sent without an id, the request is the one that removes the object.
        if id.is_empty() {
            return Err(Error::invalid(format!("an upload of '{name}' without an id")));
        }
        // Whoever began it reaches the store in another way than this process.
        let Begun::Ids(store) = &self.begun else {
            return Err(Error::invalid(format!("'{name}' is in a store without ids for uploads")));
        };
        let (place, id) = (self.blobs.place(name)?, id.to_owned());
        gone(self.blobs.call("abort of the upload", name, store.abort_multipart(&place, &id)).await)
    }

    /// The unfinished files below a folder and its folders, sorted; none if the store is no local
    /// folder. Some may be being written. `Invalid`: a folder cannot be read.
    pub async fn files(&self, folder: &str) -> Result<Vec<String>> {
        let Begun::Files(root) = &self.begun else { return Ok(Vec::new()) };
        let (root, folder) = (root.clone(), folder.trim_end_matches('/').to_owned());
        let found = self.env.blocking(move || unfinished_in(&root, &folder)).await;
        found.map_err(Error::bug)?.map_err(|e| io_error("unfinished files", e))
    }

    /// Removes an unfinished file that was found, and the folders that are empty then. One that is not
    /// there is fine. `Invalid`: it is no such file, or cannot be removed.
    pub async fn remove_file(&self, name: &str) -> Result<()> {
        let Begun::Files(root) = &self.begun else { return Ok(()) };
        let finished = finished(name).ok_or_else(|| {
            Error::invalid(format!("'{name}' is not the name of an unfinished file"))
        })?;
        self.blobs.place(finished)?;
        let (root, file) = (root.clone(), root.join(name));
        let removed = self.env.blocking(move || remove_file(&root, &file)).await;
        removed.map_err(Error::bug)?.map_err(|e| io_error(format!("file '{name}'"), e))
    }
}

/// That something is not there is what was wanted.
fn gone(done: Result<()>) -> Result<()> {
    done.or_else(|error| if error.kind() == Kind::Lost { Ok(()) } else { Err(error) })
}

/// The name of the object that an unfinished file would have become, as `object_store` names them.
fn finished(name: &str) -> Option<&str> {
    let (finished, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && !finished.is_empty() && !finished.ends_with('/')).then_some(finished)
}

fn unfinished_in(root: &FilePath, folder: &str) -> std::io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            // It went with its last file.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // The store writes names that are text.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = format!("{folder}/{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(name),
                Ok(kind) if kind.is_file() && finished(&name).is_some() => found.push(name),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn remove_file(root: &FilePath, file: &FilePath) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // As the store does with folders that a deletion has emptied; one that is not empty stays.
    let folders = file.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::super::open_objects;
    use super::*;

    #[tokio::test]
    async fn unfinished_files_of_a_folder_are_found_and_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let env = Env::real(None);
        let url = dir.path().display().to_string();
        let place = open_objects(&url, &[], env.clone()).await.expect("opened");
        let (unfinished, at) = (place.unfinished(env.clone()), Path::from("shuffle/w/q/1.0"));
        assert_eq!(unfinished.files("shuffle/").await.expect("no folder"), Vec::<String>::new());
        let mut upload = place.store.put_multipart(&at).await.expect("begun");
        upload.put_part("part".into()).await.expect("a part");
        place.store.put(&Path::from("shuffle/v/q/1.0"), "whole".into()).await.expect("put");
        let found = unfinished.files("shuffle/").await.expect("listed");
        assert_eq!(found, ["shuffle/w/q/1.0#1"]);
        assert_eq!(place.blobs(env).list("").await.expect("listed"), ["shuffle/v/q/1.0"]);
        for other in ["shuffle/v/q/1.0", "shuffle/w/q/#1", "../w#1", "#1"] {
            let removed = unfinished.remove_file(other).await;
            assert_eq!(removed.map_err(|e| e.kind()), Err(Kind::Invalid), "{other}");
        }
        for _ in 0..2 {
            unfinished.remove_file(&found[0]).await.expect("removed");
        }
        assert!(!dir.path().join("shuffle/w").exists(), "the folders go with it");
        assert!(dir.path().join("shuffle/v/q/1.0").exists());
        upload.complete().await.expect_err("its file is gone");
    }

    /// What S3 answers for an upload that it does not know, which the store in memory does not.
    struct Uploads(object_store::memory::InMemory);

    #[async_trait::async_trait]
    impl MultipartStore for Uploads {
        async fn create_multipart(&self, at: &Path) -> object_store::Result<String> {
            self.0.create_multipart(at).await
        }
        async fn put_part(
            &self,
            at: &Path,
            id: &String,
            number: usize,
            part: object_store::PutPayload,
        ) -> object_store::Result<object_store::multipart::PartId> {
            self.0.put_part(at, id, number, part).await
        }
        async fn complete_multipart(
            &self,
            at: &Path,
            id: &String,
            parts: Vec<object_store::multipart::PartId>,
        ) -> object_store::Result<object_store::PutResult> {
            self.0.complete_multipart(at, id, parts).await
        }
        async fn abort_multipart(&self, at: &Path, id: &String) -> object_store::Result<()> {
            self.0.abort_multipart(at, id).await.map_err(|source| object_store::Error::NotFound {
                path: at.to_string(),
                source: source.into(),
            })
        }
    }

    #[tokio::test]
    async fn an_upload_is_aborted_by_its_id_and_one_that_is_gone_is_no_error() {
        let uploads = Arc::new(Uploads(object_store::memory::InMemory::new()));
        let begun = Begun::Ids(Arc::clone(&uploads) as _);
        let store = Arc::new(object_store::memory::InMemory::new());
        let place = ObjectPlace { store, root: Path::from("below"), begun };
        let unfinished = place.unfinished(Env::real(None));
        let at = Path::from("below/shuffle/w/q/1.0");
        place.store.put(&at, "object".into()).await.expect("put");
        let id = uploads.create_multipart(&at).await.expect("begun");
        let name = "shuffle/w/q/1.0";
        for _ in 0..2 {
            unfinished.abort(name, &id).await.expect("it is gone");
        }
        uploads.put_part(&at, &id, 0, "late".into()).await.expect_err("aborted");
        assert_eq!(unfinished.abort(name, "").await.map_err(|e| e.kind()), Err(Kind::Invalid));
        assert_eq!(unfinished.read(name, 6).await.expect("small"), "object");
        assert_eq!(unfinished.read(name, 5).await.map_err(|e| e.kind()), Err(Kind::Invalid));
        for _ in 0..2 {
            unfinished.remove(name).await.expect("removed");
        }
        assert_eq!(unfinished.read(name, 6).await.map_err(|e| e.kind()), Err(Kind::Lost));
    }
}
