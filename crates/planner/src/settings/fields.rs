//! The `dunlin.*` options: how each is written, read and shown.

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{DataFusionError, Result as DfResult};
use dunlin_base::{Error, Result};

use super::Settings;
use crate::errors::into_datafusion;

/// One `dunlin.*` option.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) get: fn(&Settings) -> String,
    pub(super) set: fn(&mut Settings, &str) -> Result<()>,
}

fn count(text: &str, least: usize, most: usize) -> Result<usize> {
    text.trim().parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        Error::invalid(format!("'{text}' is not a whole number from {least} to {most}"))
    })
}

fn flag(text: &str) -> Result<bool> {
    let bad = || Error::invalid(format!("'{text}' is neither true nor false"));
    text.trim().to_ascii_lowercase().parse().map_err(|_| bad())
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

pub(super) const FIELDS: [Field; 15] = [
    Field {
        name: "partitions",
        about: "partitions of a hash exchange (1 to 10000)",
        get: |s| s.partitions.to_string(),
        set: |s, v| count(v, 1, 10_000).map(|value| s.partitions = value),
    },
    Field {
        name: "batch_size",
        about: "rows in a record batch (1 to 1048576)",
        get: |s| s.batch_size.to_string(),
        set: |s, v| count(v, 1, 1 << 20).map(|value| s.batch_size = value),
    },
    Field {
        name: "slice_bytes",
        about: "input of one slice, such as 64MiB",
        get: |s| s.slice_bytes.to_string(),
        set: |s, v| v.parse().map(|value| s.slice_bytes = value),
    },
    Field {
        name: "broadcast_bytes",
        about: "build sides up to this size are broadcast",
        get: |s| s.broadcast_bytes.to_string(),
        set: |s, v| v.parse().map(|value| s.broadcast_bytes = value),
    },
    Field {
        name: "broadcast_rows",
        about: "build sides up to this many rows are broadcast when their size is unknown",
        get: |s| s.broadcast_rows.to_string(),
        set: |s, v| count(v, 0, usize::MAX).map(|value| s.broadcast_rows = value),
    },
    Field {
        name: "collapse_bytes",
        about: "queries that read at most this much run as one stage",
        get: |s| s.collapse_bytes.to_string(),
        set: |s, v| v.parse().map(|value| s.collapse_bytes = value),
    },
    Field {
        name: "whole_join_bytes",
        about: "joins that emit build rows run as one task up to this size of the probe side",
        get: |s| s.whole_join_bytes.to_string(),
        set: |s, v| v.parse().map(|value| s.whole_join_bytes = value),
    },
    Field {
        name: "shuffle_copies",
        about: "shuffle workers that hold each block (1 or 2); with 2 the loss of one costs nothing",
        get: |s| s.shuffle_copies.to_string(),
        set: |s, v| count(v, 1, 2).map(|value| s.shuffle_copies = value as u32),
    },
    Field {
        name: "shuffle_encoding",
        about: "blocks of rows on the way: auto (by the speed of the links), plain, lz4 or zstd",
        get: |s| s.shuffle_encoding.clone(),
        set: |s, v| encoding(v).map(|value| s.shuffle_encoding = value),
    },
    Field {
        name: "memory_limit",
        about: "memory of one query on one executor",
        get: |s| s.memory_limit.to_string(),
        set: |s, v| v.parse().map(|value| s.memory_limit = value),
    },
    Field {
        name: "plan_cache",
        about: "keep plans, and use them again while settings, catalog and files are the same",
        get: |s| s.plan_cache.to_string(),
        set: |s, v| flag(v).map(|value| s.plan_cache = value),
    },
    Field {
        name: "time_zone",
        about: "time zone of the session, such as +02:00; empty is UTC",
        get: |s| s.time_zone.clone().unwrap_or_default(),
        set: |s, v| time_zone(v).map(|value| s.time_zone = value),
    },
    Field {
        name: "write_id",
        about: "your name for the next write: sent again under it, the write happens once",
        get: |s| s.write_id.clone(),
        set: |s, v| short(v).map(|value| s.write_id = value),
    },
    Field {
        name: "warehouse",
        about: "folder or URL under which CREATE TABLE AS puts its files",
        get: |s| s.warehouse.clone(),
        set: |s, v| {
            s.warehouse = v.trim().to_owned();
            Ok(())
        },
    },
    Field {
        name: "write_file_bytes",
        about: "a written file is ended at this size, such as 512MiB",
        get: |s| s.write_file_bytes.to_string(),
        set: |s, v| v.parse().map(|value| s.write_file_bytes = value),
    },
];

fn encoding(text: &str) -> Result<String> {
    let name = text.trim().to_ascii_lowercase();
    match name.as_str() {
        "auto" | "plain" | "lz4" | "zstd" => Ok(name),
        _ => Err(Error::invalid(format!("`{text}` is none of auto, plain, lz4 and zstd"))),
    }
}

/// Longest write id.
const ID_LEN_MAX: usize = 200;

fn short(text: &str) -> Result<String> {
    if text.len() > ID_LEN_MAX {
        return Err(Error::invalid(format!("a write id has at most {ID_LEN_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// Options of DataFusion that are the same thing as one of ours: setting either sets both.
const SAME: [(&str, &str); 5] = [
    ("datafusion.execution.target_partitions", "dunlin.partitions"),
    ("datafusion.execution.batch_size", "dunlin.batch_size"),
    ("datafusion.execution.time_zone", "dunlin.time_zone"),
    ("datafusion.optimizer.hash_join_single_partition_threshold", "dunlin.broadcast_bytes"),
    ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "dunlin.broadcast_rows"),
];

/// The field of ours behind a full name.
pub(super) fn own_field(key: &str) -> Option<&'static Field> {
    let key = SAME.iter().find(|(theirs, _)| *theirs == key).map_or(key, |(_, ours)| ours);
    let name = key.strip_prefix("dunlin.")?;
    FIELDS.iter().find(|f| f.name == name)
}

/// The settings as a DataFusion extension, so that `SHOW` and `information_schema` list them.
#[derive(Clone, Debug)]
pub struct Options(Settings);

impl Options {
    pub(super) fn new(settings: &Settings) -> Self {
        Self(settings.clone())
    }

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
