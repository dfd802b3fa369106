//! The limits of a door.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::ByteCount;
use tokio_rustls::rustls::ServerConfig;

/// Where a [`crate::Door`] listens, whom it lets in, and what it allows.
#[derive(Clone)]
pub struct DoorOptions {
    /// `host:port`; port 0 is any free one.
    pub listen: String,
    /// A path at which processes of the same machine and user are let in, without TLS. It must not
    /// exist yet. Default: none.
    pub on_machine: Option<PathBuf>,
    /// TLS, with the verification of client certificates that the configuration asks for. `None`
    /// is plain TCP: for one machine, or a network that nobody else is in.
    pub tls: Option<Arc<ServerConfig>>,
    /// The name of this build, for the peer's logs.
    pub build: String,
    /// Open connections; further ones are closed at once. Default: 1,024.
    pub connections_max: usize,
    /// A connection must have said whom it means within this. Default: 5 s.
    pub handshake_max: Duration,
    /// A connection without requests is closed after this. Default: 300 s.
    pub idle_max: Duration,
    /// Requests in flight on one connection that are not reads. Default: 256.
    pub calls_max: u32,
    /// Reads in flight on one connection. Default: 1,024.
    pub reads_max: u32,
    /// Bytes of the frames of requests in flight on one connection. Default: 256 MiB.
    pub connection_bytes_max: ByteCount,
    /// Bytes of pushed bodies in flight on all connections: above it, sockets are not read.
    /// Default: 1 GiB.
    pub door_bytes_max: ByteCount,
    /// How long a push waits for room among [`DoorOptions::door_bytes_max`] before its connection
    /// is closed. Default: 60 s.
    pub room_wait: Duration,
    /// Bytes of the body of one frame, so of one push and of one block. Default: 256 MiB.
    pub body_max: ByteCount,
    /// Let clients read several partitions in one go. Default: true; false is what a door of an older
    /// build says.
    pub reads_many: bool,
    /// Bytes of blocks that wait for the socket of one connection. Default: 8 MiB.
    pub send_bytes_max: ByteCount,
    /// A ping is sent after this long without anything else. Default: 1 s.
    pub ping_every: Duration,
    /// A peer that was silent for this long is gone. Default: 10 s.
    pub silence_max: Duration,
    /// A peer that took nothing for this long is gone. Default: 60 s.
    pub stall_max: Duration,
    /// A frame must be whole this long after its beginning. Default: 30 s.
    pub frame_wait: Duration,
}

impl DoorOptions {
    /// The defaults, listening at `host:port` without TLS.
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            on_machine: None,
            tls: None,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            connections_max: 1024,
            handshake_max: Duration::from_secs(5),
            idle_max: Duration::from_secs(300),
            calls_max: 256,
            reads_max: 1024,
            connection_bytes_max: ByteCount::mib(256),
            door_bytes_max: ByteCount::mib(1024),
            room_wait: Duration::from_secs(60),
            body_max: ByteCount::mib(256),
            reads_many: true,
            send_bytes_max: ByteCount::mib(8),
            ping_every: Duration::from_secs(1),
            silence_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(60),
            frame_wait: Duration::from_secs(30),
        }
    }
}
