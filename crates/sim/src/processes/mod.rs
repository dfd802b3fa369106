//! A cluster of real processes that faults can be done to.
//!
//! ```text
//! client ──proxy──► gateway ─┐
//!                            ├─proxy (one for each process and member)──► etcd
//! executor ──────────────────┤
//!     └──────proxy──► shuffle┘
//! ```
//!
//! Every arrow goes through a [`Proxy`] whose [`Weather`] a test changes. Shuffle workers advertise
//! an address of their proxy: the same port on another loopback address.

pub(crate) mod admin;
mod child;
mod cluster;
mod disk;
pub(crate) mod etcd;
mod launch;
mod left;
mod needs;
mod network;
mod objects;
mod own;
mod proxy;
mod server;
mod trace;
mod weather;

pub use child::{Child, Signal};
pub use cluster::{Cluster, Shape};
pub use etcd::{Etcd, Member};
pub use left::{Claims, claims, leftovers};
pub use needs::Needs;
pub use network::{Cut, Host, Network};
pub use objects::{Objects, Service, variables};
pub use own::Own;
pub use proxy::Proxy;
pub use server::{Role, Server};
pub use weather::{Flow, Weather};
