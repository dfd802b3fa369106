//! The limits of the client side.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::ByteCount;
use tokio_rustls::rustls::ClientConfig;

/// How [`crate::TcpWorkers`] connects, and how long it waits.
#[derive(Clone)]
pub struct TcpOptions {
    /// TLS; `None` is plain TCP. Both ends must agree.
    pub tls: Option<Tls>,
    /// The name of this build, for the peer's logs.
    pub build: String,
    /// The host by which others reach this process, if they do. Workers at the same host, or at a
    /// loopback address, are on this machine.
    pub host: Option<String>,
    /// A connection, with its first exchange, must stand within this. Default: 2 s.
    pub connect_max: Duration,
    /// A call must be answered within this, and so must the wait for each next block of a read
    /// that does not follow an open shuffle. More than a worker may hold a push back. Default: 60 s.
    pub request_max: Duration,
    /// Bytes of one read that may be on their way or wait to be consumed; only a single block that
    /// is larger exceeds it. Default: 4 MiB.
    pub read_window: ByteCount,
    /// Bytes of the body of one frame that are accepted, so of one block. Default: 256 MiB.
    pub body_max: ByteCount,
    /// Bytes of pushes that wait for the socket of one connection. Default: 8 MiB.
    pub send_bytes_max: ByteCount,
    /// A ping is sent after this long without anything else. Default: 1 s.
    pub ping_every: Duration,
    /// A worker that was silent for this long is gone. Default: 10 s.
    pub silence_max: Duration,
    /// A worker that took nothing for this long is gone. Default: 60 s.
    pub stall_max: Duration,
    /// A frame must be whole this long after its beginning. Default: 30 s.
    pub frame_wait: Duration,
    /// A connection without requests is closed after this. Default: 60 s.
    pub idle_max: Duration,
}

/// TLS on the client side.
#[derive(Clone)]
pub struct Tls {
    /// Whom to trust, and the certificate to show.
    pub config: Arc<ClientConfig>,
    /// The name that a worker's certificate must carry; `None`: the host of its address.
    pub name: Option<String>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            tls: None,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            host: None,
            connect_max: Duration::from_secs(2),
            request_max: Duration::from_secs(60),
            read_window: ByteCount::mib(4),
            body_max: ByteCount::mib(256),
            send_bytes_max: ByteCount::mib(8),
            ping_every: Duration::from_secs(1),
            silence_max: Duration::from_secs(10),
            stall_max: Duration::from_secs(60),
            frame_wait: Duration::from_secs(30),
            idle_max: Duration::from_secs(60),
        }
    }
}
