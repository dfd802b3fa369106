//! Errors of object stores and of the disk.

use std::error::Error as StdError;
use std::io;

use datafusion::execution::TaskContext;
use dunlin_base::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::engine::sentence;
use super::{find, find_ours};

/// The error of ours for an error of an object store.
///
/// `Invalid`: nothing there, no permission, an option the store does not know. `Retry`: the store
/// did not answer. The message names the path; stores made by [`crate::ObjectStores`] name the URL.
pub fn from_object_store(error: &object_store::Error) -> Error {
    use object_store::Error as E;
    if let Some(ours) = find_ours(error) {
        return ours.clone();
    }
    match error {
        E::NotFound { path, .. } => Error::invalid(format!("no such file: {}", path)),
        E::PermissionDenied { path, .. } => no_permission(path),
        E::Unauthenticated { path, .. } => {
            Error::invalid(format!("the store wants credentials for {}", path))
                .with_hint(CREDENTIALS)
        }
        E::InvalidPath { source } => Error::invalid(format!("not a valid path: {source}")),
        E::UnknownConfigurationKey { store, key } => {
            Error::invalid(format!("{store} stores have no option '{key}'"))
        }
        E::Precondition { path, .. } | E::NotModified { path, .. } => {
            Error::retry(format!("{} changed while it was read", path))
        }
        E::Generic { source, .. } => generic(error, source.as_ref()),
        E::NotSupported { .. } | E::NotImplemented { .. } | E::AlreadyExists { .. } => {
            Error::invalid(sentence(&error.to_string()))
        }
        other => Error::retry(sentence(&other.to_string())),
    }
}

const CREDENTIALS: &str = "give credentials in the environment (AWS_ACCESS_KEY_ID and such) or in \
     the table's OPTIONS ('aws.access_key_id' '...'); 'aws.skip_signature' 'true' reads without any";

fn generic(whole: &object_store::Error, source: &(dyn StdError + 'static)) -> Error {
    if let Some(http) = find::<HttpError>(source) {
        let what = match http.kind() {
            HttpErrorKind::Timeout => "the store did not answer in time",
            HttpErrorKind::Connect => "cannot connect to the store",
            _ => "the connection to the store broke",
        };
        return Error::retry(format!("{what}: {}", first(&root(http))))
            .with_hint("check the endpoint and the network");
    }
    if let Some(error) = find::<io::Error>(source) {
        return io(error).context(path_in(whole));
    }
    Error::retry(sentence(&first(&whole.to_string())))
}

/// The path of an error that has it only in its text: the local store's. For people, not decisions.
fn path_in(error: &object_store::Error) -> String {
    sentence(&first(&error.to_string()))
}

fn first(text: &str) -> String {
    text.split('\n').next().unwrap_or_default().to_owned()
}

fn root(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Errors of the operating system.
pub(super) fn io(error: &io::Error) -> Error {
    match io_kind(error) {
        io::ErrorKind::NotFound => Error::invalid(format!("no such file: {error}")),
        io::ErrorKind::PermissionDenied => {
            Error::invalid(format!("no permission: {error}")).with_hint(PERMISSION)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::exhausted(format!("the disk is full: {error}"))
                .with_hint(ROOM)
                .with_source(NoRoom)
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::invalid(format!("damaged data: {error}"))
        }
        _ => Error::retry(format!("input or output failed: {error}")),
    }
}

/// The kind of the operating system's error, which may be wrapped several times.
fn io_kind(error: &io::Error) -> io::ErrorKind {
    let wrapped = || find::<io::Error>(error.get_ref()?);
    match error.kind() {
        io::ErrorKind::Other => wrapped().map_or(io::ErrorKind::Other, io_kind),
        kind => kind,
    }
}

const ROOM: &str = "make room there or give the process another folder with --scratch; a higher \
     memory_limit spills less";

/// Marks errors about a disk without room, whose file is not known.
#[derive(Debug, thiserror::Error)]
#[error("there is no room on the disk")]
struct NoRoom;

/// The error with the folders that `context` spills to, if a task had no room to do so.
pub fn name_spill(error: Error, context: &TaskContext) -> Error {
    if find::<NoRoom>(&error).is_none() {
        return error;
    }
    let folders = context.runtime_env().disk_manager.temp_dir_paths();
    let folders: Vec<String> = folders.iter().map(|path| path.display().to_string()).collect();
    match folders.is_empty() {
        true => error,
        false => error.context(format!("cannot spill to {}", folders.join(", "))),
    }
}

const PERMISSION: &str = "the user that Dunlin runs as must be allowed to read it";

/// The refusal to read a path.
pub(crate) fn no_permission(path: &str) -> Error {
    Error::invalid(format!("no permission to read {path}")).with_hint(PERMISSION)
}

/// The error of ours for a file that could not be written. `shown` is its path or URL.
///
/// `Invalid`: no permission, a store that is not written to; `Exhausted`: the disk is full; else as
/// [`from_object_store`].
pub(crate) fn not_stored(error: &object_store::Error, shown: &str) -> Error {
    use object_store::Error as E;
    let system = find::<io::Error>(error).map(io_kind);
    let refused = matches!(error, E::PermissionDenied { .. })
        || system == Some(io::ErrorKind::PermissionDenied);
    if refused {
        return Error::invalid(format!("no permission to write {shown}"))
            .with_hint("the user that Dunlin runs as must be allowed to write there");
    }
    match (error, system) {
        (_, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) => {
            Error::exhausted(format!("the disk is full: cannot write {shown}"))
        }
        (_, Some(io::ErrorKind::ReadOnlyFilesystem)) => {
            Error::invalid(format!("cannot write {shown}: the file system is read-only"))
        }
        (_, Some(io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists)) => {
            Error::invalid(format!("cannot write {shown}: a file is where a folder must be"))
        }
        (E::NotImplemented { .. } | E::NotSupported { .. }, _) => {
            Error::invalid(format!("cannot write {shown}: the store is read-only"))
        }
        _ => from_object_store(error).context(format!("cannot write {shown}")),
    }
}
