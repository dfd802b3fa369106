//! A cluster as a user would have it, without proxies and without the small sizes that faults want.

use std::ffi::OsString;
use std::path::Path;

/// What its processes are told instead.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The configuration file of all of them (TOML).
    pub configuration: String,
    /// Of the environment of all of them.
    pub variables: Vec<(String, String)>,
    /// A disk of each shuffle worker, in a folder of its own: what follows that folder in
    /// `--shuffle-disk`, such as `:capacity=1GiB`.
    pub disk: Option<String>,
}

impl Own {
    /// Options of a shuffle worker with this scratch folder.
    pub(super) fn of_worker(&self, scratch: &Path) -> Vec<OsString> {
        let Some(limits) = &self.disk else { return Vec::new() };
        let mut disk = scratch.join("disk").into_os_string();
        disk.push(limits);
        vec!["--shuffle-disk".into(), disk]
    }
}
