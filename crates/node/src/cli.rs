//! The command line as types; read by `commands`. Options that are also configuration keys are
//! optional here: one that was not given leaves the key as file and environment have it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dunlin_base::ByteCount;
use serde::{Deserialize, Serialize};

/// What `--version` prints after the version.
pub(crate) fn long_version() -> String {
    format!(
        "{}\ndatafusion {}\nplan format {}\ntarget {}-{}{}",
        env!("CARGO_PKG_VERSION"),
        dunlin_planner::DATAFUSION_VERSION,
        dunlin_planner::CODEC_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(debug_assertions) { "\nunoptimised build" } else { "" },
    )
}

const EXAMPLES: &str = "\
Examples:
  dunlin sql --data ./lake                       a prompt on the files of a folder
  dunlin sql --data ./lake -c 'SELECT count(*) FROM orders'
  dunlin sql -f report.sql --format parquet --output report.parquet
  dunlin queries --state ./state                 what ran before
  dunlin config dump                             the settings and where they come from";

const SQL_EXAMPLES: &str = "\
Examples:
  dunlin sql --data ./lake
  dunlin sql --data ./lake -c 'SELECT * FROM orders LIMIT 5' --format csv > orders.csv
  dunlin sql --data ./lake -f report.sql --set partitions=16 --timing
  echo 'SELECT 1;' | dunlin sql

Exit codes: 0 done, 1 the query is wrong, 2 the command line or the configuration is wrong,
3 a limit is used up, 4 something is unavailable, 5 data lost or a bug, 130 Ctrl-C.";

/// SQL over files and object stores, without a coordinator.
#[derive(Debug, Parser)]
#[command(name = "dunlin", version, long_version = long_version(), after_help = EXAMPLES)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// Configuration file [default: ./dunlin.toml if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "DUNLIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `warn,dunlin_queue=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
    /// How to write logs
    #[arg(long, global = true)]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run SQL: from options, a file, standard input or a prompt
    #[command(after_help = SQL_EXAMPLES)]
    Sql(Box<Sql>),
    /// List running and recent queries of a state folder
    Queries(Queries),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `dunlin sql`.
#[derive(Args, Debug)]
pub(crate) struct Sql {
    /// SQL to run; may be given several times
    #[arg(short = 'c', long = "command", value_name = "TEXT")]
    pub(crate) commands: Vec<String>,
    /// File with SQL to run, after all -c; `-` is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Session setting, as SET would change it; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) settings: Vec<(String, String)>,
    /// Write the rows to this file; an error leaves none
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) display: DisplayArgs,
}

/// Options about the process.
#[derive(Args, Debug, Default)]
pub(crate) struct EngineArgs {
    /// Make a table of every file and folder in this folder, named by its stem
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Keep catalog, queries and history in this folder [default: nothing is kept]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// CPU threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Memory of one executor, such as 2GiB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) memory: Option<ByteCount>,
    /// Executors in this process
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) executors: Option<u32>,
}

/// Options about what is printed.
#[derive(Args, Debug, Default)]
pub(crate) struct DisplayArgs {
    /// How to write rows
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Say how long each statement took
    #[arg(long)]
    pub(crate) timing: bool,
    /// When to show how far a query is
    #[arg(long, value_name = "WHEN")]
    pub(crate) progress: Option<When>,
    /// Rows of a table that are shown on a terminal; 0 shows all
    #[arg(long, value_name = "N")]
    pub(crate) max_rows: Option<u32>,
}

/// `dunlin queries`.
#[derive(Args, Debug)]
pub(crate) struct Queries {
    /// The state folder
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Most queries to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// `dunlin config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the effective configuration as TOML, with the origin of each value
    Dump,
    /// Fail on unknown keys and on values that do not fit
    Check,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Json,
    /// A Parquet file; needs --output
    Parquet,
}

/// When progress is shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum When {
    /// On a terminal, for queries that run longer than half a second
    #[default]
    Auto,
    /// Also where standard error is no terminal, as lines
    Always,
    /// Never
    Never,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

fn bytes(text: &str) -> Result<ByteCount, String> {
    let error = |e: dunlin_base::Error| match e.hint() {
        Some(hint) => format!("{e}; {hint}"),
        None => e.to_string(),
    };
    text.parse().map_err(error)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if key.is_empty() || !key.chars().all(known) {
        return Err(format!("'{key}' is not the name of a setting"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_pairs() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".into(), "c=d".into())));
        assert!(key_value("a").is_err() && key_value("=1").is_err() && key_value("a b=1").is_err());
    }
}
