//! What can be configured: one struct, and what each key is for (`config dump` and the manual).

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use dunlin_base::{ByteCount, Error, Result};
use dunlin_planner::{Allowed, Settings};
use serde::{Deserialize, Serialize};

use super::shuffle::Shuffle;
use super::units::{FromText, Span};
use crate::cli::{Format, LogFormat, When};
use crate::engine::EngineOptions;

/// Everything that can be configured. Keys in files are the field names with `-` for `_`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Folder of the state; without one nothing is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<PathBuf>,
    /// Folder whose files become tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    /// Places that statements may open.
    pub(crate) allow: Vec<String>,
    /// CPU threads.
    pub(crate) threads: u32,
    /// Executors in the process.
    pub(crate) executors: u32,
    /// Memory of one executor, and of one query on it.
    pub(crate) memory: FromText<ByteCount>,
    /// Memory for shuffled data; the rest goes to disk.
    pub(crate) shuffle_memory: FromText<ByteCount>,
    /// Bodies of blocks beyond this go to disk; what roles are there decides, and nobody sets it.
    #[serde(skip)]
    pub(crate) bodies_mark: Option<ByteCount>,
    /// Time to live of leases: a process that is silent for so long counts as dead.
    pub(crate) lease_ttl: FromText<Span>,
    /// Ended queries that are remembered.
    pub(crate) history: u32,
    /// How long the result of an ended query is kept for a reader that does not come.
    pub(crate) hold: FromText<Span>,
    /// How often a gateway looks for what crashed processes left behind.
    pub(crate) sweep: FromText<Span>,
    /// How long a query waits while no executor is alive; then it fails.
    pub(crate) executor_wait: FromText<Span>,
    /// How rows are written.
    pub(crate) format: Format,
    /// Whether to say how long statements took.
    pub(crate) timing: bool,
    /// When to show how far a query is.
    pub(crate) progress: When,
    /// Rows of a table that are shown on a terminal; 0 shows all.
    pub(crate) max_rows: u32,
    /// What is logged.
    pub(crate) log_level: String,
    /// How logs are written.
    pub(crate) log_format: LogFormat,
    /// Settings that sessions start with, as for `SET`; `dunlin.` may be left out.
    pub(crate) session: BTreeMap<String, FromText<String>>,
    /// Where a shuffle worker keeps what leaves its memory.
    pub(crate) shuffle: Shuffle,
}

/// The keys in the order of [`Config`], each with what it is for.
pub(super) const KEYS: [(&str, &str); 20] = [
    ("state", "folder of catalog, queries and history; nothing is kept without one"),
    ("data", "folder whose files and folders become tables"),
    ("allow", "places that statements may open, beside data and warehouse; `sql` without any: all"),
    ("threads", "CPU threads"),
    ("executors", "executors in this process"),
    ("memory", "memory of one executor, and of one query on it"),
    ("shuffle-memory", "memory for shuffled data; the rest goes to disk"),
    ("lease-ttl", "a process that is silent for so long counts as dead"),
    ("history", "ended queries that are remembered"),
    ("hold", "how long a result is kept for a reader that does not come"),
    ("sweep", "how often a gateway looks for what crashed processes left"),
    ("executor-wait", "how long a query waits while no executor is alive"),
    ("format", "table, csv, json or parquet"),
    ("timing", "say how long each statement took"),
    ("progress", "auto, always or never"),
    ("max-rows", "rows of a table that are shown on a terminal; 0 shows all"),
    ("log-level", "error, warn, info, debug, trace, or a filter"),
    ("log-format", "text or json"),
    ("session", "settings that sessions start with, as for SET"),
    ("shuffle", "where a shuffle worker keeps what leaves its memory"),
];

impl Default for Config {
    fn default() -> Self {
        let threads = available_parallelism().map_or(2, NonZeroUsize::get).min(1024);
        Self {
            state: None,
            data: None,
            allow: Vec::new(),
            threads: threads as u32,
            executors: 1,
            memory: FromText(ByteCount::mib(2048)),
            shuffle_memory: FromText(ByteCount::mib(1024)),
            bodies_mark: None,
            lease_ttl: FromText(Span(Duration::from_secs(10))),
            history: 200,
            hold: FromText(Span(Duration::from_secs(600))),
            sweep: FromText(Span(Duration::from_secs(60))),
            executor_wait: FromText(Span(Duration::from_secs(300))),
            format: Format::default(),
            timing: false,
            progress: When::default(),
            max_rows: 1000,
            log_level: "warn".to_owned(),
            log_format: LogFormat::default(),
            session: BTreeMap::new(),
            shuffle: Shuffle::default(),
        }
    }
}

/// The keys of a section, if they are fixed.
pub(super) fn keys_of(section: &str) -> &'static [(&'static str, &'static str)] {
    if section == "shuffle" { &super::shuffle::KEYS } else { &[] }
}

impl Config {
    /// `Invalid` for the first value that is out of its range, with key and range.
    pub(super) fn validate(&self) -> Result<()> {
        let range = |key: &str, value: u32, most: u32| match value {
            0 => Err(Error::invalid(format!("{key} must be at least 1"))),
            n if n > most => Err(Error::invalid(format!("{key} must be at most {most}, not {n}"))),
            _ => Ok(()),
        };
        range("threads", self.threads, 1024)?;
        range("executors", self.executors, 64)?;
        range("history", self.history, 10_000)?;
        let least = ByteCount::mib(16);
        for (key, value) in [("memory", &self.memory), ("shuffle-memory", &self.shuffle_memory)] {
            if value.0 < least {
                let message = format!("{key} must be at least {least}, not {}", value.0);
                return Err(Error::invalid(message));
            }
        }
        let times = [
            ("lease-ttl", &self.lease_ttl),
            ("hold", &self.hold),
            ("sweep", &self.sweep),
            ("executor-wait", &self.executor_wait),
        ];
        for (key, FromText(Span(time))) in times {
            if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(time) {
                let message = format!("{key} must be from 1s to 60m, not {}", Span(*time));
                return Err(Error::invalid(message));
            }
        }
        tracing_subscriber::EnvFilter::try_new(&self.log_level).map_err(|_| {
            Error::invalid(format!("log-level: '{}' is not a log filter", self.log_level))
        })?;
        Allowed::only(&self.allow).map_err(|e| e.context("allow"))?;
        self.shuffle.validate()?;
        self.settings().map(drop)
    }

    /// The places that a process with these settings may open: those that are named, its data and
    /// where its new tables go. `Invalid`: a text that is no place.
    pub(crate) fn allowed(&self, settings: &Settings) -> Result<Allowed> {
        let mut places = self.allow.clone();
        places.extend(self.data.as_ref().map(|data| data.display().to_string()));
        places.extend(Some(settings.warehouse.clone()).filter(|place| !place.is_empty()));
        Allowed::only(places)
    }

    /// Settings that sessions start with.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut settings = Settings { memory_limit: self.memory.0, ..Settings::default() };
        for (key, value) in &self.session {
            settings.set(&full_name(key), &value.0)?;
        }
        Ok(settings)
    }

    /// Writes what concerns the engine into its options.
    pub(crate) fn apply(&self, options: &mut EngineOptions) -> Result<()> {
        options.threads = self.threads as usize;
        options.executors = self.executors as usize;
        options.memory_limit = self.memory.0;
        options.shuffle_memory = self.shuffle_memory.0;
        options.storage = self.shuffle.storage();
        if let Some(mark) = self.bodies_mark {
            options.storage.limits.bodies_mark = mark;
        }
        options.lease_ttl = self.lease_ttl.0.0;
        options.tuning.history = self.history as usize;
        let warehouse = std::mem::take(&mut options.settings.warehouse);
        options.tuning.hold = self.hold.0.0;
        options.tuning.grace = self.hold.0.0;
        options.sweep_every = self.sweep.0.0;
        options.executor_wait = self.executor_wait.0.0;
        options.settings = self.settings()?;
        if options.settings.warehouse.is_empty() {
            options.settings.warehouse = warehouse;
        }
        Ok(())
    }
}

/// The full name of a session setting: `partitions` is `dunlin.partitions`.
pub(crate) fn full_name(key: &str) -> String {
    if key.contains('.') { key.to_owned() } else { format!("dunlin.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_key_that_says_what_it_is_for() {
        let config =
            Config { state: Some("s".into()), data: Some("d".into()), ..Config::default() };
        let fields = serde_json::to_value(config).expect("serialises");
        let mut fields: Vec<&String> = fields.as_object().expect("a struct").keys().collect();
        let mut keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        fields.sort();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }

    #[test]
    fn values_out_of_range_name_their_key() {
        Config::default().validate().expect("defaults fit");
        let cases = [
            ("threads", Config { threads: 0, ..Config::default() }),
            ("memory", Config { memory: FromText(ByteCount(1)), ..Config::default() }),
            (
                "lease-ttl",
                Config { lease_ttl: FromText(Span(Duration::ZERO)), ..Config::default() },
            ),
            ("log-level", Config { log_level: "a=b=c".into(), ..Config::default() }),
        ];
        for (key, config) in cases {
            let error = config.validate().expect_err(key);
            assert!(error.message().starts_with(key), "{error}");
        }
    }
}
