//! Ports that speak Celeborn's frames: listening, connections, and what bounds them. What a frame means
//! is a [`Service`]'s business.

mod client;
mod connection;
mod guard;
mod port;
mod room;
mod tls;

pub use client::Client;
pub(crate) use connection::{Connection, Service};
pub(crate) use guard::Guard;
pub(crate) use port::{Bound, Port, PortOptions};
pub use tls::Tls;
