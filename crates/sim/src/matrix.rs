//! `dunlin-chaos tiers`: each combination of places for shuffled data, one after the other.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dunlin_base::{ByteCount, Env, Error, Result};
use dunlin_sim::tiers::{Asked, Combination, Options, Report, Sizes, matrix, run};
use tokio::runtime::Runtime;

use crate::cli::say;

/// What is asked, and of which combinations.
#[derive(Args, Debug)]
pub(crate) struct Tiers {
    /// TPC-H scale factor
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    scale: f64,
    /// Bytes of the skewed shuffle; the shuffle workers have a tenth of them as memory,
    /// each at least 16 MiB
    #[arg(long, value_name = "BYTES", default_value = "100MB")]
    skew: ByteCount,
    /// Memory for the tasks of each executor
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    memory: ByteCount,
    /// Partitions of a plan
    #[arg(long, value_name = "N", default_value_t = 8)]
    partitions: usize,
    /// Only these queries of TPC-H, by number
    #[arg(long, value_name = "N,...", value_delimiter = ',',
          value_parser = clap::value_parser!(u8).range(1..=22))]
    queries: Vec<u8>,
    /// Only the combination of these places, such as `disks,objects`
    #[arg(long, value_name = "PLACE,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only with so many copies
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    copies: Option<u8>,
    /// Seconds that an answer may take, an error as well
    #[arg(long, value_name = "S", default_value_t = 600)]
    answer_seconds: u64,
    /// The program `moto_server`: with it, all three places together have it as their object store
    #[arg(long, value_name = "PATH")]
    moto: Option<PathBuf>,
    /// Keep the folders of the processes and their logs, whatever comes of it
    #[arg(long)]
    keep: bool,
    /// Write the report into this file, too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Tiers {
    fn wanted(&self, combination: &Combination) -> bool {
        let places = combination.places.iter().map(|place| place.as_str());
        (self.only.is_empty() || places.eq(self.only.iter().map(String::as_str)))
            && self.copies.is_none_or(|copies| combination.copies == copies)
    }
}

/// Runs them. Exit code 1: something was wrong.
pub(crate) fn main(
    tiers: &Tiers,
    program: Vec<OsString>,
    data: Option<PathBuf>,
) -> Result<ExitCode> {
    let all = matrix(tiers.moto.is_some());
    let wanted: Vec<&Combination> = all.iter().filter(|one| tiers.wanted(one)).collect();
    if wanted.is_empty() {
        return Err(Error::invalid("no combination is as --only and --copies say")
            .with_hint("places are memory, disks and objects, in this order"));
    }
    let failed = |e: std::io::Error| Error::invalid(format!("no folder: {e}")).with_source(e);
    let runtime = Runtime::new().map_err(|e| Error::bug("can not start threads").with_source(e))?;
    let env = Env::real(Some(runtime.handle().clone()));
    let folder = tempfile::Builder::new().prefix("dunlin-tiers-").tempdir().map_err(failed)?;
    let data = data.unwrap_or_else(|| folder.path().join("data"));
    let sizes =
        Sizes { skew: tiers.skew.0, executor: tiers.memory.0, partitions: tiers.partitions };
    let answer_max = Duration::from_secs(tiers.answer_seconds);
    let options = Options { program, sizes, answer_max, moto: tiers.moto.clone() };
    let mut report = Report::new(tiers.scale, &sizes);
    runtime.block_on(async {
        let asked = Asked::make(&data, tiers.scale, sizes.skew, &tiers.queries).await?;
        for (number, combination) in wanted.into_iter().enumerate() {
            let place = folder.path().join(number.to_string());
            match run(&env, &options, &asked, combination, &place).await {
                Ok(found) => say(&report.add(combination, &sizes, &found)),
                Err(error) => {
                    say(&format!("{combination}: {error}"));
                    report.failed(combination, &error);
                }
            }
            if !tiers.keep && report.is_good() {
                // Object stores and disks of gigabytes: one at a time.
                std::fs::remove_dir_all(&place).map_err(failed)?;
            }
        }
        Ok::<_, Error>(())
    })?;
    say(&report);
    if let Some(out) = &tiers.out {
        std::fs::write(out, format!("{report}\n")).map_err(failed)?;
    }
    if tiers.keep || !report.is_good() {
        say(&format!("logs in {}", folder.keep().display()));
    }
    Ok(ExitCode::from(u8::from(!report.is_good())))
}
