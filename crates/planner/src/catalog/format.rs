//! File formats: their names, their files' endings, and DataFusion's reader for each.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::datasource::file_format::FileFormat;
use datafusion::execution::SessionState;
use dunlin_base::{Error, Result};

use crate::errors::{did_you_mean, from_datafusion};

/// How the files of a table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Json,
    Avro,
    Arrow,
}

/// Endings of compressed files, and their name in `format.compression`.
const COMPRESSIONS: [(&str, &str); 4] =
    [(".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz"), (".zst", "zstd")];

impl Format {
    pub(crate) const ALL: [Self; 5] =
        [Self::Parquet, Self::Csv, Self::Json, Self::Avro, Self::Arrow];

    /// The word after STORED AS, in small letters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Avro => "avro",
            Self::Arrow => "arrow",
        }
    }

    pub(crate) fn parse(word: &str) -> Result<Self> {
        let lower = word.to_lowercase();
        let lower = if lower == "ndjson" { "json" } else { lower.as_str() };
        Self::ALL.into_iter().find(|f| f.name() == lower).ok_or_else(|| {
            let names = Self::ALL.map(|f| f.name().to_owned());
            let error = Error::invalid(format!("there is no file format '{word}'"));
            error.with_hint(did_you_mean(lower, "there are", &names).unwrap_or_default())
        })
    }

    /// Endings of its uncompressed files.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Parquet => &[".parquet"],
            Self::Csv => &[".csv"],
            Self::Json => &[".json", ".ndjson", ".jsonl"],
            Self::Avro => &[".avro"],
            Self::Arrow => &[".arrow", ".feather", ".ipc"],
        }
    }

    fn compresses(self) -> bool {
        matches!(self, Self::Csv | Self::Json)
    }

    /// All endings of its files, compressed ones included.
    pub(crate) fn all_endings(self) -> Vec<String> {
        let mut all: Vec<String> = self.endings().iter().map(|e| (*e).to_owned()).collect();
        if self.compresses() {
            for (ending, _) in COMPRESSIONS {
                all.extend(self.endings().iter().map(|e| format!("{e}{ending}")));
            }
        }
        all
    }

    /// The format of a file by its name, and the ending that says so.
    pub(crate) fn of_file(name: &str) -> Option<(Self, String)> {
        let lower = name.to_lowercase();
        let fits = |f: Self| f.all_endings().into_iter().find(|e| lower.ends_with(e.as_str()));
        Self::ALL.into_iter().find_map(|f| Some((f, fits(f)?)))
    }

    /// DataFusion's reader with the table's `format.*` options. `ending` says how the files are
    /// compressed when the options do not. `Invalid`: an option the format does not have.
    pub(crate) fn reader(
        self,
        state: &SessionState,
        options: &HashMap<String, String>,
        ending: &str,
    ) -> Result<Arc<dyn FileFormat>> {
        let mut options = options.clone();
        let compression = COMPRESSIONS.iter().find(|(end, _)| ending.ends_with(end));
        if let Some((_, name)) = compression.filter(|_| self.compresses()) {
            options.entry("format.compression".to_owned()).or_insert_with(|| (*name).to_owned());
        }
        let lines = options.get("format.newline_delimited");
        if self == Self::Json && lines.is_some_and(|value| value.eq_ignore_ascii_case("false")) {
            return Err(Error::invalid("JSON files must have an object on each line")
                .with_hint("`jq -c '.[]'` turns an array into lines"));
        }
        let factory = state
            .get_file_format_factory(self.name())
            .ok_or_else(|| Error::bug(format!("this build cannot read {} files", self.name())))?;
        factory
            .create(state, &options)
            .map_err(|e| from_datafusion(e).context(format!("options of {} files", self.name())))
    }
}
