//! Connections: counted, and cut when the door must close or nothing comes from them.
//!
//! HTTP/2 probes only those that have begun to speak it. One that connects and says nothing, or
//! half of its greeting, would have its place for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dunlin_base::Env;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// The wait after a connection could not be accepted: mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Silence,
    _permit: OwnedSemaphorePermit,
}

/// How many connections, and how long each may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) silence_max: Duration,
}

/// Connections as they come, at most so many at a time; the others wait with the system. Ends when
/// `cut` is cancelled, which also breaks those that there are.
pub(super) fn incoming(
    listener: TcpListener,
    limits: Limits,
    cut: CancellationToken,
    env: Env,
) -> BoxStream<'static, io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let start = (listener, permits, cut, env);
    stream::unfold(start, move |(listener, permits, cut, env)| async move {
        // Never closed.
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let stream = tokio::select! {
            stream = accept(&listener, &env) => stream,
            () = cut.cancelled() => return None,
        };
        let cut_future = Box::pin(cut.clone().cancelled_owned());
        let silence = Silence::new(&env, limits.silence_max);
        let connection = Connection { stream, cut: cut_future, silence, _permit: permit };
        Some((Ok(connection), (listener, permits, cut, env)))
    })
    .boxed()
}

async fn accept(listener: &TcpListener, env: &Env) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for more to come.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                env.sleep(PAUSE).await;
            }
        }
    }
}

/// Watches that something comes.
struct Silence {
    env: Env,
    max: Duration,
    /// When something came last.
    last: Duration,
    timer: BoxFuture<'static, ()>,
}

impl Silence {
    fn new(env: &Env, max: Duration) -> Self {
        Self { env: env.clone(), max, last: env.now(), timer: timer(env.clone(), max) }
    }

    fn heard(&mut self) {
        self.last = self.env.now();
    }

    /// An error once it has lasted too long; until then it wakes the reader when it may have.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.timer.poll_unpin(context).is_ready() {
            let rest = self.max.saturating_sub(self.env.now().saturating_sub(self.last));
            if rest.is_zero() {
                // It is asked no more after an error, but must not be polled after its end.
                self.timer = std::future::pending().boxed();
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer = timer(self.env.clone(), rest);
        }
        Poll::Pending
    }
}

fn timer(env: Env, length: Duration) -> BoxFuture<'static, ()> {
    async move { env.sleep(length).await }.boxed()
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.silence.heard();
                Poll::Ready(read)
            }
            Poll::Pending => self.silence.poll(context),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
