//! The receiving direction of a stream: exact amounts, or an error within a bound.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncReadExt, BufReader};

use super::halves::ReadEnd;
use crate::{Env, Error, Result};

/// Small reads come from a buffer of this size; larger ones go past it.
const BUFFER_BYTES: usize = 16 * 1024;

/// Reads from one stream. Whoever owns it decides what the bytes mean.
pub struct Reader {
    half: BufReader<ReadEnd>,
    env: Env,
    silence_max: Duration,
}

impl Reader {
    pub(super) fn new(env: Env, half: ReadEnd, silence_max: Duration) -> Self {
        Self { half: BufReader::with_capacity(BUFFER_BYTES, half), env, silence_max }
    }

    /// The next `length` bytes if they have come already, in an allocation of their own. Small pieces
    /// follow one another, and to wait within a bound costs more than to copy one.
    pub fn at_hand(&mut self, length: usize) -> Option<Bytes> {
        let bytes = Bytes::copy_from_slice(self.half.buffer().get(..length)?);
        Pin::new(&mut self.half).consume(length);
        Some(bytes)
    }

    /// The next `length` bytes, in an allocation of their own. The caller has checked that the
    /// peer may make it allocate that much.
    ///
    /// `Retry` if the peer closes the connection, is silent for too long (any byte counts as a
    /// sign of life) or the network fails; `Invalid` if the bytes are not what the encryption
    /// expects. After an error, or if the future is dropped, the stream is of no use any more.
    pub async fn exactly(&mut self, length: usize) -> Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let left = length - bytes.len();
            let mut room = (&mut bytes).limit(left);
            match self.env.timeout(self.silence_max, self.half.read_buf(&mut room)).await {
                Some(Ok(0)) => return Err(Error::retry("the peer closed the connection")),
                Some(Ok(_)) => {}
                Some(Err(cause)) => return Err(failed(cause)),
                None => {
                    let silence = self.silence_max.as_millis();
                    return Err(Error::retry(format!("the peer was silent for {silence} ms")));
                }
            }
        }
        Ok(bytes.freeze())
    }

    /// Throws away what comes until the peer closes or the network fails. For who has said its last
    /// word: closing while the peer's bytes are unread would take that word back. The caller bounds
    /// it.
    pub async fn drain(&mut self) {
        let mut scratch = vec![0; BUFFER_BYTES];
        while self.half.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    }
}

fn failed(cause: io::Error) -> Error {
    let text = format!("the connection failed: {cause}");
    // What TLS says of a record that it cannot open, or of an alert.
    let error = match cause.kind() {
        io::ErrorKind::InvalidData => Error::invalid(text),
        _ => Error::retry(text),
    };
    error.with_source(cause)
}
