//! What `dunlin-bench peers` is told.

use std::path::PathBuf;

use clap::Args;

use crate::cli::SetupArgs;

/// A benchmark beside other engines.
#[derive(Debug, Args)]
pub struct PeersArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Only these queries, by number.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u8>,
    /// Runs of a query that count; one more goes before them to warm up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Runs of a short query that count.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub short_runs: u32,
    /// Only these peers, by the names that `tests/peers/engines.py` gives them.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Seconds that a peer has for all of it; then it is ended and reported as too slow.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=36_000))]
    pub peer_seconds: u32,
    /// The folder of the peers' environments, as `tests/peers/install.py` makes it.
    #[arg(long, env = "DUNLIN_PEERS")]
    pub peers: PathBuf,
    /// The folder of the scripts.
    #[arg(long, default_value = "tests/peers")]
    pub scripts: PathBuf,
    /// How the engines are set up.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The program `dunlin`; beside this one unless told.
    #[arg(long)]
    pub dunlin: Option<PathBuf>,
    /// Write the report (Markdown and JSON) into this folder, too.
    #[arg(long)]
    pub out: Option<PathBuf>,
}
