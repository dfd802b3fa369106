//! The door for clients of Apache Celeborn: a master and a worker as the stock client expects them, on
//! the metadata store and the shuffle worker. Why it is as it is: `design/2026-11-28-celeborn-door.md`.
//!
//! What is on the wire is in `dunlin_celeborn`; here is what it means. Start at [`Master`] and
//! [`Worker`]; `net` is what both are made of, `auth` who may ask, `records` what they share.

mod auth;
mod control;
mod fleet;
mod master;
mod net;
mod records;
#[cfg(test)]
mod tests;
mod timer;
mod worker;

pub use fleet::{Fleet, Wanted, Worker as WorkerOfFleet};
pub use master::{Application, Master, MasterOptions, MasterStats, SlotPolicy, Standing};
pub use net::{Client, Tls};
pub use timer::Times;
pub use worker::{BoundWorker, LocationAt, Worker, WorkerOptions, WorkerStats};
