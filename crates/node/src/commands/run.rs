//! From the command line to a command, and from its end to an exit code.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use dunlin_base::Error;
use dunlin_base::env::panic_text;

use super::{cluster, config, queries, serve, shuffle, sql, users};
use crate::cli::{Cli, Command, ConfigCommand, Global};
use crate::config::{Config, Flags, Loaded, load};
use crate::report::{self, Failure, note};
use crate::telemetry;

/// The whole program: reads the command line, runs, reports. Ends the process itself only for
/// `--help`, `--version` and a wrong command line.
pub fn run() -> ExitCode {
    run_with(std::env::args_os())
}

/// The same with other arguments, the first of which is the program's name.
pub fn run_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    let ended = catch_unwind(AssertUnwindSafe(|| dispatch(cli)));
    match ended.unwrap_or_else(|panic| Err(Error::bug(panic_text(&*panic)).into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Sql(options) => {
            let config = start(&global, sql::flags(&options))?;
            sql::run(&options, &config)
        }
        Command::Serve(options) => {
            let loaded = started(&global, serve::flags(&options))?;
            serve::run(&options, &serve::config(&options, loaded))
        }
        Command::Cluster(options) => {
            let mut flags = Flags::default();
            flags.set("data", options.data.as_ref());
            let config = start(&global, flags)?;
            cluster::run(&options, &config)
        }
        Command::Users(options) => {
            start(&global, Flags::default())?;
            users::run(&options)
        }
        Command::Queries(options) => {
            let config = start(&global, queries::flags(&options))?;
            queries::run(&options, &config)
        }
        Command::Shuffle(options) => {
            start(&global, Flags::default())?;
            shuffle::run(&options)
        }
        Command::Config(command) => {
            let loaded = read(&global, Flags::default())?;
            match command {
                ConfigCommand::Dump => config::dump(&loaded),
                ConfigCommand::Check => config::check(&loaded),
            }
        }
    }
}

fn read(global: &Global, mut flags: Flags) -> Result<Loaded, Failure> {
    flags.set("log-level", global.log_level.as_ref());
    flags.set("log-format", global.log_format);
    load(global.config.as_deref(), flags)
}

/// Reads the configuration, warns about keys that do not exist, starts logging.
fn start(global: &Global, flags: Flags) -> Result<Config, Failure> {
    started(global, flags).map(|loaded| loaded.config)
}

/// The same, with the places that values come from.
fn started(global: &Global, flags: Flags) -> Result<Loaded, Failure> {
    let loaded = read(global, flags)?;
    for unknown in &loaded.unknown {
        note(&report::text(unknown).replacen("error: ", "warning: ", 1));
    }
    telemetry::start(&loaded.config.log_level, loaded.config.log_format)?;
    Ok(loaded)
}
