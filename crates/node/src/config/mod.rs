//! The configuration: defaults, then a file, then `DUNLIN_*` in the environment, then the command
//! line; the last one that names a key wins. Commands read it through [`Loaded::config`].

mod disk;
mod dump;
mod layers;
mod schema;
mod shuffle;
mod units;

pub(crate) use dump::dump;
pub(crate) use layers::{Flags, Loaded, load};
pub(crate) use schema::{Config, full_name};
pub(crate) use shuffle::Shuffle;
