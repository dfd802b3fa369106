//! The gateway role: takes SQL from people and tools, has it planned and cut, publishes the query,
//! streams its rows back. It runs no plans and holds nothing that a restart would lose.

mod face;
mod gateway;
mod query;

pub use face::{Progress, Reply, Rows, StageProgress};
pub use gateway::{Gateway, GatewayOptions, Parts, Prepared};
