//! Faults on purpose, and what Dunlin makes of them.
//!
//! [`processes`] is a cluster of real `dunlin serve` processes on a real etcd, with a proxy of ours
//! on every connection between them, so that a test can kill, stop, drain and cut off each.
//! [`chaos`] lets clients ask TPC-H while faults strike, and judges: right rows or one clear error,
//! in bounded time, and nothing left. [`world`] is a cluster in one thread and in virtual time, which
//! a seed determines. [`tiers`] is no fault but a shortage: memory for a tenth of what is shuffled, and each
//! combination of places for the rest. The binary `dunlin-chaos` is the command line of both.
//!
//! The one thing to know: [`chaos`] and [`processes`] know no way into a process but its command
//! line, its signals, its sockets and the fail points that it declares ([`dunlin_base::fail`]);
//! [`world`] knows none but the contracts between crates.

pub mod chaos;
pub mod processes;
pub mod tiers;
pub mod world;
