//! SQL text to stages: catalogs, rules, cutting, decisions, the plan codec.
//!
//! Nothing here knows the queue or the metadata store, and nothing reads a clock. What must be kept
//! (the catalog) goes through [`catalog::CatalogStore`], which the gateway implements.

pub mod catalog;
pub mod errors;
pub mod functions;
pub mod object_stores;
mod rules;
pub mod session;
pub mod settings;

pub use errors::{from_datafusion, into_datafusion};
pub use object_stores::{ObjectStores, StoreLimits, StoreSpec};
pub use session::{Planned, Planner, QueryPlan, Session, Statement, TableInfo};
pub use settings::{Settings, session_config};
