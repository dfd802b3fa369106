//! The files of the checkout, read once; every rule looks at this and at nothing else.

use std::path::Path;

use anyhow::{Context, Result};

/// Folders that hold no source: version control, build output, caches.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];

/// One file.
pub(crate) struct File {
    /// From the root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// `None` if it is not UTF-8.
    pub(crate) text: Option<String>,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A file that only tests use: under a `tests` folder, or a `tests.rs`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The member it belongs to (`crates/queue`, `tools/bench`), if any.
    pub(crate) fn member(&self) -> Option<&str> {
        let after =
            self.path.strip_prefix("crates/").or_else(|| self.path.strip_prefix("tools/"))?;
        let name = after.split_once('/')?.0;
        let group = self.path.len() - after.len();
        self.path.get(..group + name.len())
    }
}

/// All files of the checkout, sorted by path.
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The text of the file at `path`, if there is one.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files[at].text.as_deref()
    }

    /// The manifests of the members: (`crates/queue`, text), sorted.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|file| {
            let member = file.member()?;
            let rest = file.path.strip_prefix(member)?;
            (rest == "/Cargo.toml").then_some((member, file.text.as_deref()?))
        })
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                read_folder(&entry.path(), &format!("{path}/"), files)?;
            }
        } else if kind.is_file() && name != ".git" {
            let bytes = entry.metadata()?.len();
            let content = std::fs::read(entry.path()).with_context(|| path.clone())?;
            files.push(File { path, bytes, text: String::from_utf8(content).ok() });
        }
    }
    Ok(())
}
