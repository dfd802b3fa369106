//! `dunlin serve`.

use std::collections::BTreeMap;

use crate::cli::Serve;
use crate::config::{Config, Flags};
use crate::report::Failure;
use crate::serve::Serving;

/// The options that are configuration keys.
pub(super) fn flags(options: &Serve) -> Flags {
    let mut flags = super::sql::engine_flags(&options.engine);
    let given = |list: &'static str, values: &Vec<String>| {
        (!values.is_empty()).then(|| (list, values.clone()))
    };
    let shuffle = [given("disks", &options.shuffle_disk), given("tiers", &options.shuffle_tiers)];
    let shuffle: BTreeMap<_, _> = shuffle.into_iter().flatten().collect();
    flags.set("shuffle", (!shuffle.is_empty()).then_some(shuffle));
    flags
}

/// Serves until the process is told to end.
pub(super) fn run(options: &Serve, config: &Config) -> Result<(), Failure> {
    let serving = Serving::new(options, config).map_err(Failure::Usage)?;
    crate::serve::run(&serving)
}
