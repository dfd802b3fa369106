//! Logs of the process, to standard error. Called once, before anything else runs.

use dunlin_base::Error;
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::report::Failure;

/// Starts logging. `Usage` if the filter cannot be read.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        let error = Error::invalid(format!("'{filter}' is not a log filter")).with_source(e);
        Failure::Usage(error.with_hint("write a level such as info, or warn,dunlin_queue=debug"))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(false).compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // Already started (by a test in the same process): keep that one.
    let _ = started;
    // Work that panics is reported as the error of its query; the place belongs in the log.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}
