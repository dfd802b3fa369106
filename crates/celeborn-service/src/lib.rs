//! The door for clients of Apache Celeborn: a master and a worker as the stock client expects them, on
//! the metadata store and the shuffle worker. Why it is as it is: `design/2026-11-28-celeborn-door.md`.
//!
//! What is on the wire is in `dunlin_celeborn`; here is what it means.

mod records;

pub mod master;
mod worker;
