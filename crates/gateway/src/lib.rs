//! The gateway role: takes SQL from people and tools, has it planned and cut, publishes the query,
//! streams its rows back. It runs no plans and holds nothing that a restart would lose.

mod analyze;
mod catalog;
mod face;
pub mod flight;
mod forsaken;
mod gateway;
mod glance;
mod orphans;
mod publish;
mod query;
mod removals;
mod session;
mod uploads;
mod writes;

pub use catalog::MetadataCatalog;
pub use face::{Progress, Reply, Rows, StageProgress};
pub use gateway::{Gateway, GatewayOptions, Parts, Prepared};
pub use session::Session;
