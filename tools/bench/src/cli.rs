//! The command line of `dunlin-bench`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dunlin_base::ByteCount;

use crate::celeborn::args::PushArgs;
use crate::engine::Setup;
use crate::peers::args::PeersArgs;
use crate::shuffle::args::{ShuffleArgs, WorkerArgs};
use crate::suite::SuiteName;

/// Makes benchmark data, runs the demo and the benchmarks.
#[derive(Debug, Parser)]
#[command(name = "dunlin-bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write the TPC-H tables as Parquet files.
    TpchData(DataArgs),
    /// Write the TPC-DS tables as Parquet files.
    TpcdsData(DataArgs),
    /// Time plain DataFusion alone.
    Plain(RunArgs),
    /// Time the engine against plain DataFusion, query by query in turn, on TPC-H.
    Tpch(RunArgs),
    /// Time short queries: latency of one client, throughput of several.
    Short(ShortArgs),
    /// Time planning, cutting and encoding, and show the sizes of what is stored.
    Plans(RunArgs),
    /// Time a cluster of processes on etcd: TPC-H against plain DataFusion, then short queries.
    Cluster(ClusterArgs),
    /// Time all TPC-H queries on a cluster with an executor killed half-way.
    Loss(LossArgs),
    /// Time other engines, plain DataFusion and ours on TPC-H and a short query.
    Peers(PeersArgs),
    /// Time the shuffle service against the limits of the machine.
    Shuffle(ShuffleArgs),
    /// A shuffle worker by itself, for `shuffle`.
    #[command(hide = true)]
    ShuffleWorker(WorkerArgs),
    /// Push to servers of Celeborn's protocol, ours or others, as executors do: latencies and bytes per
    /// second, as one line of JSON. For `./dev bench celeborn`.
    CelebornPush(PushArgs),
    /// All TPC-H queries through all roles, with an executor stopped on the way, beside plain
    /// DataFusion; then on a cluster of processes, some of them killed.
    Demo(DemoArgs),
}

/// Where data go, and how many.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Scale factor: 1 is about 360 MB of TPC-H Parquet.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// The folder to write to; files that exist are kept.
    #[arg(long)]
    pub out: PathBuf,
}

/// A benchmark run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Which queries: `plain` may also run TPC-DS.
    #[arg(long, value_enum, default_value_t = SuiteName::Tpch)]
    pub suite: SuiteName,
    /// Only these queries, by number.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u8>,
    /// Runs that count; one more goes before them to warm up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// How the engines are set up.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Write the report (Markdown and JSON) into this folder, too.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A benchmark of short queries.
#[derive(Debug, Args)]
pub struct ShortArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Runs that count, for latency.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Clients at once, for throughput.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Seconds of throughput, for each engine.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// How the engines are set up.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Write the report (Markdown and JSON) into this folder, too.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A benchmark of a cluster.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Only these queries, by number.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u8>,
    /// Runs of a query that count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Runs of a short query that count.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub short_runs: u32,
    /// Seconds of throughput, for each number of clients in each round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// How the engines are set up.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The program `dunlin`; beside this one unless told.
    #[arg(long)]
    pub dunlin: Option<PathBuf>,
    /// Write the reports (Markdown and JSON) into this folder, too.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A benchmark of the loss of an executor.
#[derive(Debug, Args)]
pub struct LossArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Only these queries, by number.
    #[arg(long, value_delimiter = ',')]
    pub queries: Vec<u8>,
    /// Passes in calm, and as many of each sort with a loss.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
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

/// The demo.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder under which generated data are kept, a folder for each scale.
    #[arg(long)]
    pub data: PathBuf,
    /// Scale factor.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// How the engines are set up.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// The program `dunlin`, for the cluster; beside this one unless told.
    #[arg(long)]
    pub dunlin: Option<PathBuf>,
    /// Leave the cluster of processes out.
    #[arg(long)]
    pub one_process: bool,
}

/// How the engines are set up.
#[derive(Clone, Debug, Args)]
pub struct SetupArgs {
    /// Threads of each engine; the number of cores unless told.
    #[arg(long, value_parser = positive)]
    pub threads: Option<usize>,
    /// Partitions of each plan; the number of threads unless told.
    #[arg(long, value_parser = positive)]
    pub partitions: Option<usize>,
    /// Executor roles in the process.
    #[arg(long, default_value_t = 2, value_parser = positive)]
    pub executors: usize,
    /// Memory for all tasks of all executors, such as 2GiB. Plain DataFusion has no limit.
    #[arg(long, default_value = "8GiB")]
    pub memory: ByteCount,
}

impl SetupArgs {
    /// The set-up with its defaults filled in.
    pub fn resolve(&self) -> Setup {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or(cores);
        let partitions = self.partitions.unwrap_or(threads);
        let (executors, memory) = (self.executors, self.memory);
        Setup { threads, partitions, executors, memory, plan_cache: false }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}
