//! The one binary `dunlin`: command line, configuration, roles, wiring.
//!
//! [`run`] is the whole program ([`run_with`]: as a part of another); [`Engine`] is what tests, benchmarks and the demo embed.

pub mod allocator;
mod cli;
mod cluster;
mod commands;
mod config;
pub mod engine;
mod output;
mod place;
mod progress;
mod report;
mod serve;
mod shell;
mod telemetry;

pub use commands::{run, run_with};
pub use engine::{Engine, EngineOptions};
pub use serve::Listener;
