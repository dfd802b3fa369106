//! Connections of the admin listener: at most so many, and who has been there longest makes room.
//!
//! Probes must get in whatever others do. A connection that says nothing costs a file descriptor
//! until somebody else needs its place; waiting for one to leave would leave the probe outside.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dunlin_base::Env;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot::{Receiver, Sender, channel};

/// The wait after a connection could not be accepted: mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener with places.
pub(super) struct Crowd {
    listener: TcpListener,
    env: Env,
    places: usize,
    /// Oldest first; dropping one cuts its connection.
    inside: VecDeque<Sender<()>>,
}

impl Crowd {
    pub(super) fn new(listener: TcpListener, places: usize, env: Env) -> Self {
        Self { listener, env, places, inside: VecDeque::new() }
    }

    /// A place for one more.
    fn admit(&mut self) -> Receiver<()> {
        self.inside.retain(|place| !place.is_closed());
        while self.inside.len() >= self.places.max(1) {
            self.inside.pop_front();
        }
        let (place, cut) = channel();
        self.inside.push_back(place);
        cut
    }
}

impl axum::serve::Listener for Crowd {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    return (Guest { stream, cut: self.admit(), gone: false }, from);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    self.env.sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
pub(super) struct Guest {
    stream: TcpStream,
    cut: Receiver<()>,
    gone: bool,
}

impl Guest {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.gone = self.gone || Pin::new(&mut self.cut).poll(context).is_ready();
        if self.gone { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
