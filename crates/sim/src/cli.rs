//! The command line of `dunlin-chaos`.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use dunlin_base::{Env, Error, Result};
use dunlin_sim::chaos::{Expected, FAULTS, Fault, Options, Report, find, needs, run};
use dunlin_sim::processes::{Needs, Shape};
use tokio::runtime::Runtime;

use crate::matrix::{self, Tiers};
use crate::simulated::{self, Seeds};

/// The first argument with which this program is `dunlin`.
pub(crate) const AS_DUNLIN: &str = "dunlin";

const EXAMPLES: &str = "\
Examples:
  dunlin-chaos --list                            what can be done
  dunlin-chaos --faults 100                      100 faults at random
  dunlin-chaos --only kill-executor,in-slice     these, five times each
  dunlin-chaos --seed 7 --faults 500             the plan of an earlier run again
  dunlin-chaos --only kill-shuffle --copies 2 --shuffles 3
                                                 killed shuffle workers, with two copies of all
  dunlin-chaos tiers --scale 1 --skew 400MB      each combination of places for shuffled data
  dunlin-chaos --simulated --seeds 5000          simulated clusters of seeds 0 to 4999
  dunlin-chaos --simulated --from 77 --seeds 1   the one of seed 77 again, exactly

Exit codes: 0 all was right, 1 something was wrong, 2 the command line or the machine.";

/// Strikes real processes with faults while clients ask TPC-H, and judges the answers.
#[derive(Debug, Parser)]
#[command(name = "dunlin-chaos", version, after_help = EXAMPLES)]
struct Cli {
    /// The binary under test [default: the same build as this program]
    #[arg(long, value_name = "PATH")]
    dunlin: Option<PathBuf>,
    /// How many faults must strike [default: 500; with --only: five of each]
    #[arg(long, value_name = "N")]
    faults: Option<usize>,
    /// What the faults are drawn from [default: the time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// TPC-H scale factor
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    scale: f64,
    /// No fault begins after so many minutes
    #[arg(long, value_name = "M", default_value_t = 120)]
    minutes: u64,
    /// Clients that ask at once
    #[arg(long, value_name = "N", default_value_t = 3)]
    clients: usize,
    /// Faults at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    at_once: usize,
    /// Copies of each shuffled block, for all clients
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    copies: u8,
    /// Shuffle workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    shuffles: u16,
    /// Members of etcd
    #[arg(long, value_name = "N", default_value_t = 3)]
    members: usize,
    /// Only these queries of TPC-H, by number
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    queries: Vec<u8>,
    /// Only these faults
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// List the faults and end
    #[arg(long)]
    list: bool,
    /// Keep the folder of the processes and their logs, whatever comes of it
    #[arg(long)]
    keep: bool,
    /// Simulate clusters in one thread and in virtual time instead: each is a function of its seed
    #[arg(long)]
    simulated: bool,
    /// With --simulated: how many seeds
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// With --simulated: the first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// With --simulated: run each seed twice, and demand the same trace
    #[arg(long)]
    twice: bool,
    /// With --simulated: how many last lines of the trace of a seed that fails are shown
    #[arg(long, value_name = "N", default_value_t = 60)]
    tail: usize,
    /// Folder for generated data, kept [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What else it does.
#[derive(Debug, Subcommand)]
enum Verb {
    /// TPC-H and a skewed shuffle with each combination of memory, disks and an object store for
    /// shuffled data, and memory for a tenth of them
    Tiers(Tiers),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for fault in FAULTS {
            say(&format!("{:<24} {}", fault.name, fault.about));
        }
        return ExitCode::SUCCESS;
    }
    let done = match (&cli.verb, cli.simulated) {
        (Some(Verb::Tiers(tiers)), _) => {
            program(&cli).and_then(|program| matrix::main(tiers, program, cli.data.clone()))
        }
        (None, true) => simulated::run(Seeds {
            from: cli.from,
            count: cli.seeds,
            twice: cli.twice,
            tail: cli.tail,
        }),
        (None, false) => chaos(&cli).map(|report| {
            say(&report);
            ExitCode::from(u8::from(!report.is_good()))
        }),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            say(&format!("dunlin-chaos: {error}"));
            if let Some(hint) = error.hint() {
                say(&format!("hint: {hint}"));
            }
            ExitCode::from(2)
        }
    }
}

fn chaos(cli: &Cli) -> Result<Report> {
    let failed = |e: std::io::Error| Error::invalid(format!("no folder: {e}")).with_source(e);
    let runtime = Runtime::new().map_err(|e| Error::bug("can not start threads").with_source(e))?;
    let env = Env::real(Some(runtime.handle().clone()));
    let folder = tempfile::Builder::new().prefix("dunlin-chaos-").tempdir().map_err(failed)?;
    let data = cli.data.clone().unwrap_or_else(|| folder.path().join("data"));
    let data = dunlin_corpus::tpch::cached(&data, cli.scale)
        .map_err(|e| Error::invalid(format!("cannot make data: {e:#}")))?;
    let faults = runtime.block_on(faults(cli, &env, folder.path()))?;
    let options = options(cli, &env, data, folder.path().join("cluster"), faults)?;
    let (seed, strikes) = (options.seed, options.strikes);
    say(&format!("seed {seed}, {strikes} faults, logs in {}", folder.path().display()));
    let report = runtime.block_on(async {
        let expected = Arc::new(Expected::compute(&options.data, &cli.queries).await?);
        run(&env, &options, expected, &|line: &str| say(&line)).await
    });
    if cli.keep || !report.as_ref().is_ok_and(Report::is_good) {
        // For whoever looks what it was.
        let _ = folder.keep();
    }
    report
}

/// What is to be done. What was asked for by name is done or is an error; of all others, what the
/// machine does not permit is named and left out. Small disks and slow ones are by name only.
async fn faults(cli: &Cli, env: &Env, folder: &Path) -> Result<Vec<&'static Fault>> {
    if !cli.only.is_empty() {
        return cli.only.iter().map(|name| find(name)).collect();
    }
    let mut tried: Vec<(Needs, Result<()>)> = Vec::new();
    let mut faults = Vec::new();
    for fault in FAULTS {
        let needs = fault.needs();
        // They make processes small or slow for all that is asked: by name only.
        if needs.disks || needs.trace || needs.adopts {
            continue;
        }
        if !tried.iter().any(|(known, _)| *known == needs) {
            tried.push((needs, needs.permitted(env, folder).await));
        }
        match tried.iter().find(|(known, _)| *known == needs) {
            Some((_, Err(error))) => say(&format!("left out: {}: {error}", fault.name)),
            _ => faults.push(fault),
        }
    }
    Ok(faults)
}

fn options(
    cli: &Cli,
    env: &Env,
    data: PathBuf,
    folder: PathBuf,
    faults: Vec<&'static Fault>,
) -> Result<Options> {
    let strikes = cli.faults.unwrap_or(match cli.only.len() {
        0 => 500,
        names => names * 5,
    });
    Ok(Options {
        program: program(cli)?,
        data,
        folder,
        shape: Shape {
            members: cli.members,
            gateways: 2,
            executors: 3,
            shuffles: usize::from(cli.shuffles),
            needs: needs(faults.iter().copied()),
        },
        faults,
        strikes,
        seed: cli.seed.unwrap_or_else(|| env.random_below(1 << 32)),
        clients: cli.clients,
        copies: cli.copies,
        at_once: cli.at_once,
        time_max: Duration::from_secs(60 * cli.minutes),
    })
}

/// The binary under test.
fn program(cli: &Cli) -> Result<Vec<OsString>> {
    if let Some(path) = &cli.dunlin {
        return Ok(vec![path.into()]);
    }
    let own = std::env::current_exe();
    let own = own.map_err(|e| Error::bug("a program without a path").with_source(e))?;
    Ok(vec![own.into(), AS_DUNLIN.into()])
}

/// A line on standard output. Nobody may be listening.
pub(crate) fn say(line: &impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
