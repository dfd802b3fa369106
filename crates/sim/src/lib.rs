//! Faults on purpose, and what Dunlin makes of them.
//!
//! [`processes`] is a cluster of real `dunlin serve` processes on a real etcd, with a proxy of ours
//! on every connection between them, so that a test can kill, stop, drain and cut off each.
//! [`chaos`] lets clients ask TPC-H while faults strike, and judges: right rows or one clear error,
//! in bounded time, and nothing left. The binary `dunlin-chaos` is its command line.
//!
//! The one thing to know: nothing in here knows a way into a process but its command line, its
//! signals, its sockets and the fail points that it declares ([`dunlin_base::fail`]).

pub mod chaos;
pub mod processes;
