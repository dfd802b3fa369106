//! Where a table's files are, and which files those are now.

use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::time::UNIX_EPOCH;

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::SessionState;
use dunlin_base::{Error, Result};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use url::Url;

use super::Format;
use crate::errors::{from_datafusion, no_permission};
use crate::object_stores::{Allowed, refused, store_key};

/// One location of a table: a file, a folder or a wildcard.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) url: ListingTableUrl,
}

/// The files of one location.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) url: ListingTableUrl,
    /// Sorted by path.
    pub(crate) files: Vec<ObjectMeta>,
    /// Only files with this ending belong to the table; empty: all of them.
    pub(crate) ending: String,
}

/// A local file as it was when it was listed.
#[derive(Debug)]
pub(crate) struct LocalFile {
    path: PathBuf,
    size: u64,
    modified_us: i64,
}

/// True if the files are as they were. One look at each: a listing takes several, each a wait for
/// another thread, which for a short query is much.
pub(crate) async fn unchanged(files: &[LocalFile]) -> bool {
    for file in files {
        let Ok(meta) = tokio::fs::metadata(&file.path).await else { return false };
        let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let modified_us = modified.map(|since| since.as_micros() as i64);
        if !meta.is_file() || meta.len() != file.size || modified_us != Some(file.modified_us) {
            return false;
        }
    }
    true
}

impl Location {
    /// Reads a path or URL. Relative paths count from the working folder.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::invalid("the location is empty")
                .with_hint("give a path or URL of a file or a folder"));
        }
        let bad = |e| from_datafusion(e).context(format!("location '{text}'"));
        let remote =
            Url::parse(text).ok().filter(|url| text.contains("://") && !url.cannot_be_a_base());
        let Some(url) = remote else {
            return Ok(Self { url: ListingTableUrl::parse(text).map_err(bad)? });
        };
        if url.scheme() == "file" {
            let path = text.trim_start_matches("file://");
            let path = FsPath::new(path);
            if !path.is_absolute() {
                return Err(Error::invalid(format!("location '{text}' names a host"))
                    .with_hint("a local file is file:///path, with three slashes"));
            }
            let path = url.to_file_path().unwrap_or_else(|()| path.to_owned());
            return Ok(Self { url: ListingTableUrl::parse(path.to_string_lossy()).map_err(bad)? });
        }
        let listable = !matches!(url.scheme(), "http" | "https");
        let url = match text.find(['*', '[']).filter(|_| listable) {
            Some(star) => {
                let base = text[..star].rfind('/').map_or(0, |slash| slash + 1);
                let folder = ListingTableUrl::parse(&text[..base]).map_err(bad)?;
                folder.with_glob(&text[base..]).map_err(bad)?
            }
            None => ListingTableUrl::parse(text).map_err(bad)?,
        };
        Ok(Self { url })
    }

    /// The local path without its wildcard, if it is local.
    fn local(&self) -> Option<PathBuf> {
        if self.url.scheme() != "file" {
            return None;
        }
        Url::parse(self.url.as_str()).ok()?.to_file_path().ok()
    }

    /// The file that this location is, if it is one local file.
    pub(crate) fn local_file(&self, listing: &Listing) -> Option<LocalFile> {
        let path = self.local().filter(|_| self.url.get_glob().is_none())?;
        match listing.files.as_slice() {
            [file] if !listing.url.is_collection() => Some(LocalFile {
                path,
                size: file.size,
                modified_us: file.last_modified.timestamp_micros(),
            }),
            _ => None,
        }
    }

    /// Refuses what this process may not open. Links and `..` are followed first.
    pub(crate) fn check_allowed(&self, allowed: &Allowed) -> Result<()> {
        let within = match self.local() {
            Some(path) => allowed.has_local(&path),
            None => {
                let store = self.url.object_store();
                allowed.has_remote(&store_key(store.as_ref()), self.url.prefix())
            }
        };
        if within { Ok(()) } else { Err(refused(&self.to_string())) }
    }

    /// A file of this location as people write it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        match self.url.scheme() {
            "file" => format!("/{path}"),
            _ => format!("{}{path}", self.url.object_store()),
        }
    }

    /// Its files now. `Invalid`: nothing is there, it may not be read, or it mixes formats. An
    /// empty folder is refused unless `may_be_empty`.
    pub(crate) async fn list(
        &self,
        format: Format,
        state: &SessionState,
        may_be_empty: bool,
    ) -> Result<Listing> {
        self.check_local().await?;
        let store = state.runtime_env().object_store(&self.url).map_err(from_datafusion)?;
        let found = self.url.list_all_files(state, store.as_ref(), "").await;
        let found = found.map_err(|e| self.unlisted(from_datafusion(e)))?;
        let found: Result<Vec<ObjectMeta>, _> = found.try_collect().await;
        let mut files = found.map_err(|e| self.unlisted(from_datafusion(e)))?;
        files.sort_by(|a, b| a.location.cmp(&b.location));
        let mut url = self.url.clone();
        let single = files.len() == 1 && files[0].location == *self.url.prefix();
        if !single && !url.is_collection() {
            // A folder of a remote store, written without its last slash.
            url = ListingTableUrl::parse(format!("{}/", url.as_str())).map_err(from_datafusion)?;
        }
        if files.is_empty() && !may_be_empty {
            return Err(self.nothing());
        }
        let as_folder = url.is_collection() && url.get_glob().is_none();
        let ending = if as_folder { self.one_ending(format, &files)? } else { String::new() };
        files.retain(|file| file.location.as_ref().ends_with(&ending));
        Ok(Listing { url, files, ending })
    }

    /// The local store lists what is missing as empty; the disk knows better.
    async fn check_local(&self) -> Result<()> {
        let Some(path) = self.local() else { return Ok(()) };
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::invalid(format!("no such file or folder: {}", path.display()))
            }
            std::io::ErrorKind::PermissionDenied => no_permission(&path.display().to_string()),
            _ => Error::retry(format!("cannot read {}: {e}", path.display())),
        };
        let meta = tokio::fs::metadata(&path).await.map_err(failed)?;
        if meta.is_dir() {
            tokio::fs::read_dir(&path).await.map(drop).map_err(failed)
        } else {
            tokio::fs::File::open(&path).await.map(drop).map_err(failed)
        }
    }

    fn unlisted(&self, error: Error) -> Error {
        if self.url.scheme() == "file" {
            error.context(format!("cannot list {self}"))
        } else {
            error
        }
    }

    fn nothing(&self) -> Error {
        if self.url.get_glob().is_some() {
            return Error::invalid(format!("no file matches {self}"));
        }
        match self.url.scheme() {
            "file" => Error::invalid(format!("folder {self} is empty")),
            _ => Error::invalid(format!("nothing is at {self}")),
        }
        .with_hint("declare the columns in CREATE EXTERNAL TABLE if files come later")
    }

    /// The ending that all files of a format have in a folder.
    fn one_ending(&self, format: Format, files: &[ObjectMeta]) -> Result<String> {
        let endings: Vec<String> = format
            .all_endings()
            .into_iter()
            .filter(|ending| files.iter().any(|f| f.location.as_ref().ends_with(ending.as_str())))
            .collect();
        match endings.as_slice() {
            [ending] => Ok(ending.clone()),
            [] => match files.first() {
                None => Ok(format.all_endings().swap_remove(0)),
                Some(file) => Err(Error::invalid(format!(
                    "folder {self} has no {} files: there is '{}'",
                    format.name(),
                    self.shown(&file.location)
                ))
                .with_hint("name other files by a wildcard, such as '/folder/*'")),
            },
            [one, other, ..] => {
                Err(Error::invalid(format!("folder {self} mixes {one} and {other} files"))
                    .with_hint(format!("name one kind by a wildcard, such as '/folder/*{one}'")))
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self.local() {
            Some(path) => path.display().to_string(),
            None => self.url.as_str().to_owned(),
        };
        let base = if base.len() > 1 { base.trim_end_matches('/') } else { &base };
        match self.url.get_glob() {
            Some(glob) => write!(f, "{base}/{glob}"),
            None => f.write_str(base),
        }
    }
}
