//! `dunlin cluster`.

use crate::cli::Cluster;
use crate::config::Config;
use crate::report::Failure;

/// Runs a cluster on this machine until told to end.
pub(super) fn run(options: &Cluster, config: &Config) -> Result<(), Failure> {
    crate::cluster::run(options, config.data.clone())
}
