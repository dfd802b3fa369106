//! The commands: each turns its options into a configuration and runs.

mod cluster;
mod config;
mod queries;
mod run;
mod serve;
mod shuffle;
mod sql;
mod users;

pub(crate) use queries::list_queries;
pub use run::{run, run_with};
