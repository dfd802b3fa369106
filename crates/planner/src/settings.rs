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

use crate::errors::into_datafusion;

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
        options.set(key, value).map_err(crate::errors::from_datafusion)?;
    }
    options.execution.target_partitions = settings.partitions;
    options.execution.time_zone.clone_from(&settings.time_zone);
    options.optimizer.hash_join_single_partition_threshold = settings.broadcast_bytes.as_usize();
    options.optimizer.hash_join_single_partition_threshold_rows = settings.broadcast_rows;
    let batch_size = settings.batch_size.to_string();
    let rest = [("datafusion.execution.batch_size", batch_size.as_str())];
    let forced = FORCED.iter().map(|(key, value, _)| (*key, *value));
    for (key, value) in rest.into_iter().chain(forced) {
        options.set(key, value).map_err(crate::errors::from_datafusion)?;
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

const FIELDS: [Field; 7] = [
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
];

impl Settings {
    /// Changes one option by its full name (`dunlin.partitions`, `datafusion.execution...`).
    /// `Invalid`: unknown (with the nearest name), forced, or a value that does not fit.
    pub fn set(&mut self, _key: &str, _value: &str) -> Result<()> {
        Err(Error::invalid("SET is not supported yet"))
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
