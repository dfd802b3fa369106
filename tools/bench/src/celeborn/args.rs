//! What `dunlin-bench celeborn-push` is told.

use clap::Args;
use dunlin_base::ByteCount;

/// Pushes to servers of Celeborn's protocol.
#[derive(Clone, Debug, Args)]
pub struct PushArgs {
    /// `HOST:PORT` of a master.
    #[arg(long)]
    pub master: String,
    /// Connections to each worker.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Pushes of a connection that wait for their answers.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub in_flight: u16,
    /// Bytes of one push, its header included.
    #[arg(long, default_value = "64KiB")]
    pub push: ByteCount,
    /// Bytes of all pushes.
    #[arg(long, default_value = "2GiB")]
    pub bytes: ByteCount,
    /// Partitions that they go to in turn.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Two copies of each.
    #[arg(long)]
    pub copies: bool,
    /// One push only, tried until it is stored: for the time that servers take to start.
    #[arg(long)]
    pub first: bool,
}
