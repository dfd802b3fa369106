//! `dunlin serve`.

use std::collections::BTreeMap;

use dunlin_base::ByteCount;

use crate::cli::{RoleName, Serve};
use crate::config::{Config, Flags, Loaded};
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

/// Bodies that a process keeps in memory which serves Celeborn's clients alone and has a disk, unless
/// somebody says how much memory it has. What they push is read once and in large pieces, so the system's
/// cache of files serves it as well as memory of ours, and gives it back to others.
const OF_CELEBORN: ByteCount = ByteCount::mib(32);

/// The configuration, with what is usual for these roles where nobody has said anything.
pub(super) fn config(options: &Serve, loaded: Loaded) -> Config {
    let said = loaded.is_set("shuffle-memory");
    let mut config = loaded.config;
    let alone = options.roles.iter().all(RoleName::is_of_celeborn);
    if alone && !said && config.shuffle.uses_disks() {
        config.bodies_mark = Some(OF_CELEBORN);
    }
    config
}

/// Serves until the process is told to end.
pub(super) fn run(options: &Serve, config: &Config) -> Result<(), Failure> {
    let serving = Serving::new(options, config).map_err(Failure::Usage)?;
    crate::serve::run(&serving)
}
