//! Every file and folder of one folder as a table, for a shell over local data.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dunlin_base::{Error, Result, Revision};
use dunlin_proto::catalog::v1;

use super::definition::PUBLIC;
use super::{Access, Definition, Entry, Format, Name, Stored};
use crate::errors::no_permission;

/// Tables by name.
pub(crate) type Overlay = BTreeMap<String, Arc<Entry>>;

/// What became of every file and folder, by table name: a table, or why there is none. Files are
/// not looked into; a damaged one is found when the table is first used.
pub(crate) async fn tables_in(folder: &Path) -> Result<Vec<(String, Result<Arc<Entry>>)>> {
    let failed = |e: std::io::Error| {
        let shown = folder.display();
        match e.kind() {
            std::io::ErrorKind::NotFound => Error::invalid(format!("no such folder: {shown}")),
            std::io::ErrorKind::PermissionDenied => no_permission(&shown.to_string()),
            std::io::ErrorKind::NotADirectory => Error::invalid(format!("{shown} is not a folder")),
            _ => Error::retry(format!("cannot read {shown}: {e}")),
        }
    };
    let absolute = std::path::absolute(folder).map_err(failed)?;
    let mut inside = tokio::fs::read_dir(&absolute).await.map_err(failed)?;
    let mut paths = Vec::new();
    while let Some(entry) = inside.next_entry().await.map_err(failed)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(['.', '_']) {
            paths.push((name, entry.path()));
        }
    }
    paths.sort();
    let mut tables: BTreeMap<String, Vec<(String, Result<Definition>)>> = BTreeMap::new();
    for (file, path) in paths {
        let (name, definition) = one(&file, &path).await;
        tables.entry(name).or_default().push((file, definition));
    }
    Ok(tables.into_iter().map(|(name, found)| entry(name, found)).collect())
}

fn entry(
    name: String,
    mut found: Vec<(String, Result<Definition>)>,
) -> (String, Result<Arc<Entry>>) {
    let usable: Vec<_> = found.iter().filter(|(_, d)| d.is_ok()).map(|(f, _)| f.clone()).collect();
    if let [one, other, ..] = usable.as_slice() {
        let error = Error::invalid(format!("'{one}' and '{other}' would both be table '{name}'"))
            .with_hint("rename one, or use CREATE EXTERNAL TABLE");
        return (name, Err(error));
    }
    found.sort_by_key(|(_, definition)| definition.is_err());
    let (_, definition) = found.swap_remove(0);
    let entry = definition.map(|definition| {
        Entry::new(Stored {
            name: Name::object(PUBLIC, &name),
            definition,
            access: Access::readable(),
            revision: Revision::default(),
        })
    });
    (name, entry)
}

async fn one(file: &str, path: &Path) -> (String, Result<Definition>) {
    if path.is_dir() {
        return (table_name(file), folder_format(path).await.map(|f| definition(path, f)));
    }
    match Format::of_file(file) {
        Some((format, ending)) => {
            let stem = &file[..file.len() - ending.len()];
            (table_name(stem), Ok(definition(path, format)))
        }
        None => {
            let stem = Path::new(file).file_stem().map(|s| s.to_string_lossy());
            let skipped = Error::invalid(format!("skipped '{file}': not a format that is known"));
            (table_name(stem.as_deref().unwrap_or(file)), Err(skipped))
        }
    }
}

fn definition(path: &Path, format: Format) -> Definition {
    let location = path.display().to_string();
    let format = format.name().to_owned();
    let sql = format!("CREATE EXTERNAL TABLE STORED AS {format} LOCATION '{location}'");
    let locations = vec![location];
    Definition::Table(Box::new(v1::ExternalTable { locations, format, sql, ..Default::default() }))
}

/// Folders and files that are looked at to find a folder's format.
const LOOKED_AT: usize = 1000;

/// The format of the first file of a known one, outermost folders first.
async fn folder_format(folder: &Path) -> Result<Format> {
    let failed =
        |e: std::io::Error| Error::invalid(format!("cannot read {}: {e}", folder.display()));
    let mut folders = std::collections::VecDeque::from([folder.to_owned()]);
    let mut looked_at = 0;
    while let Some(next) = folders.pop_front() {
        let mut inside = tokio::fs::read_dir(&next).await.map_err(failed)?;
        while let Some(entry) = inside.next_entry().await.map_err(failed)? {
            looked_at += 1;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(['.', '_']) || looked_at > LOOKED_AT {
                continue;
            }
            // Only `name=value` folders belong to a table.
            if entry.path().is_dir() && name.contains('=') {
                folders.push_back(entry.path());
            } else if let Some((format, _)) = Format::of_file(&name) {
                return Ok(format);
            }
        }
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Err(Error::invalid(format!("skipped '{name}/': it has no files of a format that is known")))
}

/// A name that needs no quotes: small letters, digits and underscores, no digit first.
fn table_name(stem: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = stem.chars().map(letter).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
