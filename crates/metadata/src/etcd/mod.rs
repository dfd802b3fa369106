//! The etcd backend: the store of a cluster.
//!
//! [`crate::open`] calls it for `etcd://` URLs. The one thing to know: all calls share one HTTP/2
//! channel (twice the throughput of a connection per client), every call has a bounded wait, and
//! what a failure means is read from the gRPC code, never from its text.

mod convert;
mod error;
#[cfg(test)]
mod server;
mod store;
#[cfg(test)]
mod tests;
mod watch;

pub use store::EtcdStore;
