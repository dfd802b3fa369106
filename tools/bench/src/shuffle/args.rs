//! What `dunlin-bench shuffle` is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dunlin_base::ByteCount;

/// A benchmark of the shuffle service.
#[derive(Debug, Args)]
pub struct ShuffleArgs {
    /// The folder on whose disk the shuffle writes, and that has the data of TPC-H or gets them.
    #[arg(long)]
    pub data: PathBuf,
    /// Multiplies all numbers of bytes.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Runs that count; one more goes before those of blocks and sockets to warm up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Bytes of each run that pushes or reads blocks.
    #[arg(long, default_value = "1GiB")]
    pub bytes: ByteCount,
    /// Bytes that a worker holds in memory while that is measured.
    #[arg(long, default_value = "256MiB")]
    pub held_bytes: ByteCount,
    /// Calls of one client, one after the other.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..))]
    pub calls: u32,
    /// Bytes of the shuffle on disk; the worker's memory budget is half of them.
    #[arg(long, default_value = "512MiB")]
    pub disk_bytes: ByteCount,
    /// Bytes of the shuffles with few and with many partitions.
    #[arg(long, default_value = "512MiB")]
    pub small_bytes: ByteCount,
    /// Maps of the shuffle with many partitions.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub maps: u32,
    /// Partitions of the shuffle with many.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Bytes of the shuffles with one and with two copies.
    #[arg(long, default_value = "512MiB")]
    pub copy_bytes: ByteCount,
    /// Threads that write and read rows; the number of cores unless told. Sockets have threads of
    /// their own: one for all clients, and one for each worker.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,
    /// Write the report (Markdown and JSON) into this folder, too.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// A worker of its own, whose memory is looked at from outside.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Its memory budget.
    #[arg(long)]
    pub memory: ByteCount,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Memory held for each buffered byte.
    Memory,
    /// Throughput of pushes.
    Push,
    /// Throughput of reads from the page cache.
    Read,
    /// The round trip of a small call.
    Calls,
    /// A shuffle of twice the memory budget, on disk.
    Disk,
    /// Many partitions against few.
    Partitions,
    /// Two copies against one.
    Copies,
    /// Columns in few bits against rows in LZ4, on what TPC-H queries shuffle.
    Encoding,
}

impl ShuffleArgs {
    /// Whether a part is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// An amount at the scale of this run; at least 1 MiB, so that no loop is empty.
    pub fn sized(&self, bytes: ByteCount) -> u64 {
        ((bytes.0 as f64 * self.scale) as u64).max(1 << 20)
    }

    /// Threads that write and read rows.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, |threads| threads as usize)
    }
}
