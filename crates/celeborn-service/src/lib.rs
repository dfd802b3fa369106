//! The door for clients of Apache Celeborn: a master and a worker as the stock client expects them, on
//! the metadata store and the shuffle worker. Why it is as it is: `design/2026-11-28-celeborn-door.md`.
//!
//! What is on the wire is in `dunlin_celeborn`; here is what it means. Start at [`Master`] and
//! [`Worker`]; `net` is what both are made of, `records` what they share.

mod control;
mod fleet;
mod master;
mod net;
mod records;
#[cfg(test)]
mod tests;
mod worker;

pub use fleet::{Fleet, Worker as WorkerOfFleet};
pub use master::{Master, MasterOptions, MasterStats};
pub use net::{Client, Tls};
pub use worker::{BoundWorker, Worker, WorkerOptions, WorkerStats};
