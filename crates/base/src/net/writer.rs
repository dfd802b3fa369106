//! The sending direction of a stream: pieces of memory in order, not joined before.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;

use super::halves::WriteEnd;
use crate::{Env, Error, Result};

/// Bytes that follow one another on the wire.
pub type Pieces = Vec<Bytes>;

/// Pieces that the system takes in one call.
const SLICES_MAX: usize = 64;

/// Writes to one stream.
pub struct Writer {
    half: WriteEnd,
    env: Env,
    stall_max: Duration,
}

impl Writer {
    pub(super) fn new(env: Env, half: WriteEnd, stall_max: Duration) -> Self {
        Self { half, env, stall_max }
    }

    /// Hands all of `pieces` to the system. `Retry` if the connection fails or takes nothing for
    /// too long. Dropping the future leaves the peer with a part: nothing may be written after it.
    pub async fn write(&mut self, pieces: impl Into<VecDeque<Bytes>>) -> Result<()> {
        let mut left = pieces.into();
        loop {
            while left.front().is_some_and(Bytes::is_empty) {
                left.pop_front();
            }
            if left.is_empty() {
                // Encryption keeps what the socket did not take.
                return self.bounded_flush().await;
            }
            let slices = slices(&left);
            let written = self.env.timeout(self.stall_max, self.half.write_vectored(&slices)).await;
            match self.judge(written)? {
                0 => return Err(failed(io::ErrorKind::WriteZero.into())),
                written => advance(&mut left, written),
            }
        }
    }

    /// Hands to the system what it takes without a wait. True if that was all; else the rest is in
    /// `left`, perhaps nothing that shows, and [`Writer::write`] of it has to follow.
    pub(super) fn write_now(&mut self, left: &mut VecDeque<Bytes>) -> io::Result<bool> {
        loop {
            while left.front().is_some_and(Bytes::is_empty) {
                left.pop_front();
            }
            if left.is_empty() {
                return Ok(self.half.flush_now().transpose()?.is_some());
            }
            match self.half.write_now(&slices(left)).transpose()? {
                None => return Ok(false),
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(written) => advance(left, written),
            }
        }
    }

    /// Says that nothing more comes. Whether it arrives is not known.
    pub async fn shutdown(&mut self) {
        // The connection ends either way.
        drop(self.env.timeout(self.stall_max, self.half.shutdown()).await);
    }

    async fn bounded_flush(&mut self) -> Result<()> {
        let flushed = self.env.timeout(self.stall_max, self.half.flush()).await;
        self.judge(flushed)
    }

    fn judge<T>(&self, outcome: Option<io::Result<T>>) -> Result<T> {
        let late = || {
            let stall = self.stall_max.as_millis();
            Error::retry(format!("the peer took nothing for {stall} ms"))
        };
        outcome.ok_or_else(late)?.map_err(failed)
    }
}

fn slices(pieces: &VecDeque<Bytes>) -> Vec<IoSlice<'_>> {
    pieces.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect()
}

pub(super) fn failed(cause: io::Error) -> Error {
    Error::retry(format!("the connection failed: {cause}")).with_source(cause)
}

fn advance(left: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = left.front_mut().filter(|_| written > 0) {
        let step = first.len().min(written);
        first.advance(step);
        written -= step;
        if first.is_empty() {
            left.pop_front();
        }
    }
}
