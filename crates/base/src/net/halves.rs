//! The two directions of one stream for two owners. The stream is locked for one call of the system
//! at a time; who must not wait for the other direction asks whether it is free.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

type Shared = Arc<Mutex<Stream>>;

/// What comes.
pub(super) struct ReadEnd(Shared);

/// What goes.
pub(super) struct WriteEnd(Shared);

pub(super) fn halves(stream: Stream) -> (ReadEnd, WriteEnd) {
    let shared = Arc::new(Mutex::new(stream));
    (ReadEnd(Arc::clone(&shared)), WriteEnd(shared))
}

impl WriteEnd {
    /// Writes what the system takes at once. `None`: nothing now. Nobody is woken when that changes:
    /// whoever goes on has to poll.
    pub(super) fn write_now(&self, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let mut stream = self.0.try_lock()?;
        let mut context = Context::from_waker(Waker::noop());
        ready(Pin::new(&mut *stream).poll_write_vectored(&mut context, slices))
    }

    /// As [`WriteEnd::write_now`], for what encryption has kept.
    pub(super) fn flush_now(&self) -> Option<io::Result<()>> {
        let mut stream = self.0.try_lock()?;
        ready(Pin::new(&mut *stream).poll_flush(&mut Context::from_waker(Waker::noop())))
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl AsyncRead for ReadEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(context, buffer)
    }
}

impl AsyncWrite for WriteEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(context)
    }
}
