//! What a session may tune, as plain data, and the DataFusion configuration that follows from it.
//!
//! The gateway makes the defaults from its configuration, `SET dunlin.*` changes a session's copy
//! (see [`crate::session`]), executors rebuild the same configuration from the plan header. The one
//! thing to know: what distribution needs is *forced* ([`FORCED`]), so that no session can ask for a
//! plan that is wrong when it is cut.

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::prelude::SessionConfig;
use dunlin_base::{ByteCount, Error, Result};

use crate::errors::{from_datafusion, into_datafusion, nearest};

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
    /// Memory that one query may hold on one executor.
    pub memory_limit: ByteCount,
    /// Time zone of the session, such as `+00:00` or `Europe/Berlin`; `None` keeps UTC.
    pub time_zone: Option<String>,
    /// Where tables may be: prefixes of locations. Empty allows all (one machine, one user).
    pub allowed_locations: Vec<String>,
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
            memory_limit: ByteCount::mib(2048),
            time_zone: None,
            allowed_locations: Vec::new(),
            engine: Vec::new(),
        }
    }
}

/// DataFusion options that no session may change, with their values and the reason.
pub const FORCED: [(&str, &str, &str); 9] = [
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
    ("datafusion.sql_parser.recursion_limit", "50", "it bounds the depth of plans"),
    ("datafusion.explain.logical_plan_only", "false", "EXPLAIN shows stages"),
];

/// The DataFusion configuration for `settings`: theirs, then what is forced.
///
/// The gateway plans with it and executors run with it; both sides must use the same.
pub fn session_config(settings: &Settings) -> Result<SessionConfig> {
    let mut config = SessionConfig::new().with_option_extension(Options(settings.clone()));
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

/// One `dunlin.*` option.
struct Field {
    name: &'static str,
    about: &'static str,
    get: fn(&Settings) -> String,
    set: fn(&mut Settings, &str) -> Result<()>,
}

fn count(text: &str, least: usize, most: usize) -> Result<usize> {
    text.trim().parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        Error::invalid(format!("'{text}' is not a whole number from {least} to {most}"))
    })
}

fn time_zone(text: &str) -> Result<Option<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<arrow::array::timezone::Tz>() {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(Error::invalid(format!("'{text}' is not a time zone"))
            .with_hint("write an offset such as +02:00")),
    }
}

const FIELDS: [Field; 8] = [
    Field {
        name: "partitions",
        about: "partitions of a hash exchange (1 to 10000)",
        get: |s| s.partitions.to_string(),
        set: |s, v| Ok(s.partitions = count(v, 1, 10_000)?),
    },
    Field {
        name: "batch_size",
        about: "rows in a record batch (1 to 1048576)",
        get: |s| s.batch_size.to_string(),
        set: |s, v| Ok(s.batch_size = count(v, 1, 1 << 20)?),
    },
    Field {
        name: "slice_bytes",
        about: "input of one slice, such as 64MiB",
        get: |s| s.slice_bytes.to_string(),
        set: |s, v| Ok(s.slice_bytes = v.parse()?),
    },
    Field {
        name: "broadcast_bytes",
        about: "build sides up to this size are broadcast",
        get: |s| s.broadcast_bytes.to_string(),
        set: |s, v| Ok(s.broadcast_bytes = v.parse()?),
    },
    Field {
        name: "broadcast_rows",
        about: "build sides up to this many rows are broadcast when their size is unknown",
        get: |s| s.broadcast_rows.to_string(),
        set: |s, v| Ok(s.broadcast_rows = count(v, 0, usize::MAX)?),
    },
    Field {
        name: "collapse_bytes",
        about: "queries that read at most this much run as one stage",
        get: |s| s.collapse_bytes.to_string(),
        set: |s, v| Ok(s.collapse_bytes = v.parse()?),
    },
    Field {
        name: "memory_limit",
        about: "memory of one query on one executor",
        get: |s| s.memory_limit.to_string(),
        set: |s, v| Ok(s.memory_limit = v.parse()?),
    },
    Field {
        name: "time_zone",
        about: "time zone of the session, such as +02:00; empty is UTC",
        get: |s| s.time_zone.clone().unwrap_or_default(),
        set: |s, v| Ok(s.time_zone = time_zone(v)?),
    },
];

/// Options of DataFusion that are the same thing as one of ours: setting either sets both.
const SAME: [(&str, &str); 5] = [
    ("datafusion.execution.target_partitions", "dunlin.partitions"),
    ("datafusion.execution.batch_size", "dunlin.batch_size"),
    ("datafusion.execution.time_zone", "dunlin.time_zone"),
    ("datafusion.optimizer.hash_join_single_partition_threshold", "dunlin.broadcast_bytes"),
    ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "dunlin.broadcast_rows"),
];

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
    /// gives the same settings (the allowed locations aside, which only planning needs).
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

/// The field of ours behind a full name.
fn own_field(key: &str) -> Option<&'static Field> {
    let key = SAME.iter().find(|(theirs, _)| *theirs == key).map_or(key, |(_, ours)| ours);
    let name = key.strip_prefix("dunlin.")?;
    FIELDS.iter().find(|f| f.name == name)
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

/// The settings as a DataFusion extension, so that `SHOW` and `information_schema` list them.
#[derive(Clone, Debug)]
pub struct Options(Settings);

impl Options {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0
    }
}

impl ConfigExtension for Options {
    const PREFIX: &'static str = "dunlin";
}

impl ExtensionOptions for Options {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DfResult<()> {
        let field = FIELDS.iter().find(|f| f.name == key).ok_or_else(|| {
            DataFusionError::Configuration(format!("there is no option dunlin.{key}"))
        })?;
        (field.set)(&mut self.0, value).map_err(into_datafusion)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |f: &Field| ConfigEntry {
            key: format!("dunlin.{}", f.name),
            value: Some((f.get)(&self.0)),
            description: f.about,
        };
        FIELDS.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_gets_what_it_sets_and_what_is_forced() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("dunlin.partitions", "3"),
            ("datafusion.execution.batch_size", "100"),
            ("dunlin.broadcast_bytes", "1MiB"),
            ("datafusion.execution.time_zone", "+02:00"),
            ("datafusion.execution.parquet.pushdown_filters", "true"),
        ] {
            settings.set(key, value).expect(key);
        }
        let config = session_config(&settings).expect("valid");
        let options = config.options();
        assert_eq!(options.execution.target_partitions, 3);
        assert_eq!(config.batch_size(), 100);
        assert_eq!(options.execution.time_zone.as_deref(), Some("+02:00"));
        assert!(options.execution.parquet.pushdown_filters);
        for (key, value, _) in FORCED {
            let entry = options.entries().into_iter().find(|e| e.key == key).expect(key);
            assert_eq!(entry.value.as_deref(), Some(value), "{key}");
        }
    }

    #[test]
    fn settings_survive_the_plan_header() {
        let mut settings = Settings::default();
        settings.set("dunlin.slice_bytes", "1MiB").expect("valid");
        settings.set("datafusion.execution.coalesce_batches", "false").expect("valid");
        let entries = settings.entries();
        let entries = entries.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        assert_eq!(Settings::from_entries(entries).expect("own entries"), settings);
    }

    #[test]
    fn reset_goes_back_to_the_defaults_of_the_process() {
        let defaults = Settings { partitions: 32, ..Settings::default() };
        let mut settings = defaults.clone();
        settings.set("dunlin.partitions", "2").expect("valid");
        settings.set("datafusion.explain.show_sizes", "false").expect("valid");
        settings.reset("dunlin.partitions", &defaults).expect("valid");
        settings.reset("datafusion.explain.show_sizes", &defaults).expect("valid");
        assert_eq!(settings, defaults);
    }

    #[test]
    fn what_cannot_be_set_is_refused_by_name() {
        let cases = [
            (
                "dunlin.partition",
                "4",
                "there is no option 'dunlin.partition'",
                Some("did you mean 'dunlin.partitions'?"),
            ),
            (
                "batch_size",
                "4",
                "there is no option 'batch_size'",
                Some("did you mean 'datafusion.execution.batch_size'?"),
            ),
            (
                "no.such.thing.at.all",
                "4",
                "there is no option 'no.such.thing.at.all'",
                Some("SHOW ALL lists the options"),
            ),
            (
                "dunlin.partitions",
                "0",
                "cannot set dunlin.partitions: '0' is not a whole number from 1 to 10000",
                None,
            ),
            (
                "dunlin.memory_limit",
                "lots",
                "cannot set dunlin.memory_limit: 'lots' is not an amount of bytes",
                Some("write a number with a unit, such as 64MiB or 1.5GB"),
            ),
            (
                "datafusion.optimizer.enable_round_robin_repartition",
                "true",
                "datafusion.optimizer.enable_round_robin_repartition is fixed at false: a round-robin exchange would be read whole by every task",
                None,
            ),
            (
                "datafusion.runtime.temp_directory",
                "/etc",
                "datafusion.runtime.temp_directory belongs to the server, not to a session",
                Some("SET dunlin.memory_limit limits the memory of a query"),
            ),
            (
                "dunlin.time_zone",
                "Mars",
                "cannot set dunlin.time_zone: 'Mars' is not a time zone",
                Some("write an offset such as +02:00"),
            ),
        ];
        for (key, value, message, hint) in cases {
            let error = Settings::default().set(key, value).expect_err(key);
            assert_eq!((error.message(), error.hint()), (message, hint));
        }
    }
}
