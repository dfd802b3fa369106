//! The one binary `dunlin`: command line, configuration, roles, wiring.

pub mod engine;

pub use engine::{Engine, EngineOptions};
