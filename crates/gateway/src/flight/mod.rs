//! The Flight SQL door: statements, prepared statements, metadata, cancel and poll for JDBC, ADBC,
//! Power BI and our own shell; and the client that the shell uses.
//!
//! [`FlightDoor::start`] opens it on a gateway. The one thing to know: no state of a client is kept
//! here. Tokens, sessions, prepared statements and results are signed messages that the client
//! holds ([`seal`], `door.proto`), and every gateway on the same metadata store takes those of
//! every other. `design/2026-11-21-flight-sql.md` has the reasons.

mod actions;
mod caller;
mod claims;
mod client;
mod connection;
mod door;
mod encode;
mod facts;
mod fault;
mod info;
mod ingest;
mod keys;
mod listing;
mod login;
mod options;
mod password;
mod plain;
mod poll;
mod prepared;
mod put;
mod recent;
mod results;
mod seal;
mod service;
mod session_options;
mod sessions;
mod statements;
mod types;
mod users;

pub use client::{Answer, Client, ClientOptions, ClientTls, Credentials};
pub use door::FlightDoor;
pub use options::{Auth, DoorOptions, Tls};
pub use password::Cost;
pub use users::{MemoryUsers, MetadataUsers, User, UserStore};

/// Header with which a client asks for results that it can resume, and promises to say when it is
/// done with one (`CancelFlightInfo`).
pub(crate) const RESUMABLE: &str = "dunlin-resumable";
