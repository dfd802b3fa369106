//! Shuffle workers of other processes, over TCP: the client half of the frames of
//! [`dunlin_proto::wire`].
//!
//! [`TcpWorkers`] is the surface. Inside, from the outside in: `remote` (one worker as a
//! [`dunlin_proto::shuffle::ShuffleApi`], which asks a second time when a connection breaks),
//! `connection` (many requests on one connection), `establish` (connecting and the first
//! exchange), `calls` (what waits for which answer), `inbox` and `window` (one read and its
//! credit).

mod calls;
mod connection;
mod establish;
mod fault;
mod inbox;
mod options;
mod reading;
mod remote;
mod window;
mod workers;

pub use options::{TcpOptions, Tls};
pub use workers::TcpWorkers;
