//! The Flight SQL door, over real connections: our client and a plain one, two gateways.

mod access;
mod client;
mod grants;
mod ingest;
pub(crate) mod lab;
mod limits;
mod lists;
mod parameters;
mod resume;
mod statements;
mod vanish;
