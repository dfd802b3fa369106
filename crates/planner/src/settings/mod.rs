//! What a session may tune, as plain data, and the DataFusion configuration that follows from it.
//!
//! The gateway makes the defaults from its configuration, `SET dunlin.*` changes a session's copy
//! (see [`crate::session`]), executors rebuild the same configuration from the plan header. The one
//! thing to know: what distribution needs is *forced* ([`FORCED`]), so that no session can ask for a
//! plan that is wrong when it is cut.

mod fields;

use datafusion::prelude::SessionConfig;
use dunlin_base::{ByteCount, Error, Result};

pub use fields::Options;
use fields::{FIELDS, own_field};

use crate::errors::{from_datafusion, nearest};

/// What a session may tune. Cheap to clone; data only.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Partitions of a hash exchange, and of a scan before it is sliced.
    pub partitions: usize,
    /// Rows in a record batch.
    pub batch_size: usize,
    /// Input bytes of one slice.
    pub slice_bytes: ByteCount,
    /// Build sides up to this many bytes are broadcast instead of hashed.
    pub broadcast_bytes: ByteCount,
    /// Build sides up to this many rows are broadcast when their bytes are not known.
    pub broadcast_rows: usize,
    /// Plans that read at most this many bytes run as one stage.
    pub collapse_bytes: ByteCount,
    /// A join that emits rows of its collected build side runs as one task while its
    /// probe side reads at most this many bytes; above, both sides are hashed.
    pub whole_join_bytes: ByteCount,
    /// Shuffle workers that hold each block: 1, or 2 so that the loss of one costs nothing.
    pub shuffle_copies: u32,
    /// How shuffle blocks are encoded: `auto`, `plain`, `lz4` or `zstd`.
    pub shuffle_encoding: String,
    /// Memory that one query may hold on one executor.
    pub memory_limit: ByteCount,
    /// Whether plans are kept and used again for the same text, while settings, catalog and files
    /// are the same.
    pub plan_cache: bool,
    /// Time zone of the session, such as `+00:00` or `Europe/Berlin`; `None` keeps UTC.
    pub time_zone: Option<String>,
    /// The client's name for the next write: sent again under the same name, it happens once. Empty:
    /// none.
    pub write_id: String,
    /// Where CREATE TABLE AS puts its files: a folder or a URL. Empty: nowhere.
    pub warehouse: String,
    /// A written file is ended when it has this many bytes.
    pub write_file_bytes: ByteCount,
    /// DataFusion options that the session has set, by their full name.
    pub engine: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partitions: 8,
            batch_size: 8192,
            slice_bytes: ByteCount::mib(64),
            broadcast_bytes: ByteCount::mib(10),
            broadcast_rows: 131_072,
            collapse_bytes: ByteCount::mib(32),
            whole_join_bytes: ByteCount::mib(8),
            shuffle_copies: 1,
            shuffle_encoding: "auto".to_owned(),
            memory_limit: ByteCount::mib(2048),
            plan_cache: true,
            time_zone: None,
            write_id: String::new(),
            warehouse: String::new(),
            write_file_bytes: ByteCount::mib(512),
            engine: Vec::new(),
        }
    }
}

/// DataFusion options that no session may change, with their values and the reason.
pub const FORCED: [(&str, &str, &str); 8] = [
    (
        "datafusion.optimizer.enable_round_robin_repartition",
        "false",
        "a round-robin exchange would be read whole by every task",
    ),
    (
        "datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery",
        "false",
        "a scalar subquery must be a join to be cut into stages",
    ),
    ("datafusion.execution.collect_statistics", "true", "join sides are chosen by statistics"),
    ("datafusion.catalog.information_schema", "true", "SHOW needs it"),
    ("datafusion.catalog.create_default_catalog_and_schema", "false", "the catalog is shared"),
    ("datafusion.catalog.default_catalog", "dunlin", "there is one catalog"),
    ("datafusion.sql_parser.collect_spans", "true", "errors name the place in the text"),
    ("datafusion.explain.logical_plan_only", "false", "EXPLAIN shows stages"),
];

/// The DataFusion configuration for `settings`: theirs, then what is forced.
///
/// The gateway plans with it and executors run with it; both sides must use the same.
pub fn session_config(settings: &Settings) -> Result<SessionConfig> {
    let mut config = SessionConfig::new().with_option_extension(Options::new(settings));
    let options = config.options_mut();
    for (key, value) in &settings.engine {
        options.set(key, value).map_err(from_datafusion)?;
    }
    options.execution.target_partitions = settings.partitions;
    options.execution.time_zone.clone_from(&settings.time_zone);
    options.optimizer.hash_join_single_partition_threshold = settings.broadcast_bytes.as_usize();
    options.optimizer.hash_join_single_partition_threshold_rows = settings.broadcast_rows;
    let batch_size = settings.batch_size.to_string();
    let rest = [("datafusion.execution.batch_size", batch_size.as_str())];
    let forced = FORCED.iter().map(|(key, value, _)| (*key, *value));
    for (key, value) in rest.into_iter().chain(forced) {
        options.set(key, value).map_err(from_datafusion)?;
    }
    Ok(config)
}

impl Settings {
    /// Changes one option by its full name (`dunlin.partitions`, `datafusion.execution...`).
    /// `Invalid`: unknown (with the nearest name), forced, or a value that does not fit.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let bad = |e: Error| e.context(format!("cannot set {key}"));
        if let Some(field) = own_field(key) {
            return (field.set)(self, value).map_err(bad);
        }
        check_may_change(key)?;
        session_config(&Self::default())?
            .options_mut()
            .set(key, value)
            .map_err(|e| bad(from_datafusion(e)))?;
        self.engine.retain(|(known, _)| known != key);
        self.engine.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Gives one option the value it has in `defaults`. `Invalid` as for [`Settings::set`].
    pub fn reset(&mut self, key: &str, defaults: &Self) -> Result<()> {
        if let Some(field) = own_field(key) {
            return (field.set)(self, &(field.get)(defaults));
        }
        check_may_change(key)?;
        self.engine.retain(|(known, _)| known != key);
        let default = defaults.engine.iter().find(|(known, _)| known == key);
        self.engine.extend(default.cloned());
        Ok(())
    }

    /// Every option by its full name with its value, for plan headers: [`Settings::from_entries`]
    /// gives the same settings.
    pub fn entries(&self) -> Vec<(String, String)> {
        let own = FIELDS.iter().map(|f| (format!("dunlin.{}", f.name), (f.get)(self)));
        own.chain(self.engine.iter().cloned()).collect()
    }

    /// The settings that [`Settings::entries`] wrote. `Invalid` for those of another build.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut settings = Self::default();
        for (key, value) in entries {
            settings.set(key, value)?;
        }
        Ok(settings)
    }
}

/// Refuses what does not exist and what belongs to the server.
fn check_may_change(key: &str) -> Result<()> {
    if let Some((_, value, reason)) = FORCED.iter().find(|(forced, _, _)| *forced == key) {
        return Err(Error::invalid(format!("{key} is fixed at {value}: {reason}")));
    }
    if key.starts_with("datafusion.runtime.") {
        return Err(Error::invalid(format!("{key} belongs to the server, not to a session"))
            .with_hint("SET dunlin.memory_limit limits the memory of a query"));
    }
    let names: Vec<String> = session_config(&Settings::default())?
        .options()
        .entries()
        .into_iter()
        .map(|entry| entry.key)
        .collect();
    if names.iter().any(|name| name == key) {
        return Ok(());
    }
    Err(unknown(key, &names))
}

/// The refusal of an option that does not exist.
pub(crate) fn unknown(key: &str, names: &[String]) -> Error {
    let error = Error::invalid(format!("there is no option '{key}'"));
    let near = nearest(key, names.iter().map(String::as_str)).or_else(|| {
        // Forgotten prefixes: `batch_size` for `dunlin.batch_size`.
        names.iter().map(String::as_str).find(|name| name.rsplit('.').next() == Some(key))
    });
    match near {
        Some(name) => error.with_hint(format!("did you mean '{name}'?")),
        None => error.with_hint("SHOW ALL lists the options"),
    }
}

#[cfg(test)]
mod tests;
