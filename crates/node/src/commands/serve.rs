//! `dunlin serve`.

use crate::cli::Serve;
use crate::config::Config;
use crate::report::Failure;
use crate::serve::Serving;

/// Serves until the process is told to end.
pub(super) fn run(options: &Serve, config: &Config) -> Result<(), Failure> {
    let serving = Serving::new(options, config).map_err(Failure::Usage)?;
    crate::serve::run(&serving)
}
