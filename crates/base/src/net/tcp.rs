//! Connecting and listening. Everything above sees [`Stream`], so that TLS, or a network that
//! exists in memory only, can stand where TCP stands.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::halves::halves;
use super::{Reader, Writer};
use crate::{Env, Error, Result};

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A connection of whatever sort. Dropping it closes it.
pub type Stream = Box<dyn Duplex>;

/// Takes connections at one address until it is dropped.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Where it listens, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.0.local_addr();
        address.map_err(|e| Error::bug("a listener without an address").with_source(e))
    }

    /// The next connection and where it comes from. `Retry` if the system cannot take one now
    /// (it may be out of file descriptors): wait before the next call. Dropping the future loses
    /// no connection.
    pub async fn accept(&self) -> Result<(Stream, SocketAddr)> {
        let accepted = self.0.accept().await;
        let (stream, peer) = accepted
            .map_err(|e| Error::retry(format!("cannot accept a connection: {e}")).with_source(e))?;
        Ok((prompt(stream), peer))
    }
}

impl Env {
    /// Connects to `address` (`host:port`), looking the name up first. `Retry` if nobody answers
    /// within `limit` or the connection is refused. To be called on the runtime that will use the
    /// stream, so from a task of this [`Env`].
    pub async fn connect(&self, address: &str, limit: Duration) -> Result<Stream> {
        let Some(connected) = self.timeout(limit, tcp_connect(address)).await else {
            let limit = limit.as_millis();
            return Err(Error::retry(format!("no answer from {address} within {limit} ms")));
        };
        let stream = connected.map_err(|e| {
            Error::retry(format!("cannot connect to {address}: {e}")).with_source(e)
        })?;
        Ok(prompt(stream))
    }

    /// Listens at `address` (`host:port`; port 0 is any free one). `Invalid` if the address cannot
    /// be used. Connections wait for [`Listener::accept`] from now on.
    pub async fn listen(&self, address: &str) -> Result<Listener> {
        let listener = tcp_listen(address).await;
        listener.map(Listener).map_err(|e| {
            Error::invalid(format!("cannot listen at {address}: {e}"))
                .with_source(e)
                .with_hint("another process may use the port, or the host is not this machine's")
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
async fn tcp_connect(address: &str) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
async fn tcp_listen(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Small frames must not wait for acknowledgements of earlier ones. Where the system refuses
/// that, the stream works all the same.
fn prompt(stream: TcpStream) -> Stream {
    drop(stream.set_nodelay(true));
    Box::new(stream)
}

/// The two directions of a stream. The reader gives up after hearing nothing for `silence_max`,
/// the writer after writing nothing of what it has for `stall_max`.
pub fn split(
    env: &Env,
    stream: Stream,
    silence_max: Duration,
    stall_max: Duration,
) -> (Reader, Writer) {
    let (read, write) = halves(stream);
    (Reader::new(env.clone(), read, silence_max), Writer::new(env.clone(), write, stall_max))
}
