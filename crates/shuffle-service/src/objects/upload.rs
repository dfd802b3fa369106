//! Writing an extent to the store: one put, or a multipart upload if it is large. A try that failed
//! is done again as a whole under the same name: whatever the store made of it, the bytes are the
//! same.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_base::Error;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parking_lot::Mutex;

use super::Objects;
use super::parts::Upload;
use super::verifier::Verifier;
use crate::disk::{Disk, DiskFile};
use crate::transit::Charge;
use crate::unit::Unit;

/// Above this an extent is uploaded in parts, of this size each.
const PART_LEN: u64 = 8 << 20;

/// Where the bytes of an extent come from. Asked anew for each try.
pub(crate) enum Source {
    /// Blocks that are in memory, and how many bytes they are.
    Memory(Vec<Bytes>, u64),
    /// A file of so many bytes, and what comes behind them. They are verified on their way: a disk
    /// that gave other bytes once may give the right ones to the next reader, and an object would
    /// have the wrong ones for ever.
    File(Arc<Unit>, Arc<dyn DiskFile>, u64, Arc<Mutex<Verifier>>, Bytes),
}

impl Source {
    /// `index`: what comes behind the bytes of the file.
    pub(crate) fn file(
        unit: &Arc<Unit>,
        file: &Arc<dyn DiskFile>,
        length: u64,
        index: Bytes,
    ) -> Self {
        Self::File(Arc::clone(unit), Arc::clone(file), length, Arc::default(), index)
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(_, length) => *length,
            Self::File(_, _, length, _, index) => length + index.len() as u64,
        }
    }
}

/// Whose fault it is that an object was not written.
pub(crate) enum Failed {
    /// The bytes cannot be had.
    Source(io::Error),
    /// The store did not take them.
    Store(Error),
}

impl Objects {
    /// Writes an object; whole or, to all who know its name, not at all. After a failure of the
    /// store it rests for a while; the error is then `Exhausted`.
    pub(crate) async fn put(&self, path: &Path, source: &Source) -> Result<(), Failed> {
        let length = source.length();
        let put = if length <= PART_LEN {
            let (payload, _room) = self.piece(source, 0, length).await?;
            let put = || self.store().put(path, payload.clone());
            let put = self.try_often(&format!("put of {path}"), put).await;
            put.map(drop).map_err(Failed::Store)
        } else {
            self.put_parts(path, source).await
        };
        match put {
            Ok(()) => self.wrote(length),
            Err(Failed::Store(error)) => return Err(Failed::Store(self.rests(&error))),
            Err(failed) => return Err(failed),
        }
        Ok(())
    }

    /// The deadline of a call is that of a part; a try of all parts has one for each.
    async fn put_parts(&self, path: &Path, source: &Source) -> Result<(), Failed> {
        let mut last = Error::retry(format!("upload of {path}: not tried"));
        for _ in 0..self.options.tries.max(1) {
            let mut upload = self.begin(path).await.map_err(Failed::Store)?;
            let sent = self.send_parts(&mut upload, source).await;
            if sent.is_ok() {
                return sent;
            }
            self.abort(&mut upload).await;
            match sent {
                Err(Failed::Store(error)) => last = error.context(format!("upload of {path}")),
                other => return other,
            }
        }
        Err(Failed::Store(last))
    }

    async fn send_parts(&self, upload: &mut Upload<'_>, source: &Source) -> Result<(), Failed> {
        let limit = self.options.call_max;
        let mut at = 0;
        while at < source.length() {
            let length = PART_LEN.min(source.length() - at);
            let (payload, _room) = self.piece(source, at, length).await?;
            self.in_time(self.env.timeout(limit, upload.put_part(payload)).await)?;
            at += length;
        }
        self.in_time(self.env.timeout(limit, upload.complete()).await)
    }

    fn in_time<T>(&self, answer: Option<object_store::Result<T>>) -> Result<T, Failed> {
        let failed = match answer {
            Some(Ok(value)) => return Ok(value),
            Some(Err(cause)) => Error::retry(cause.to_string()).with_source(cause),
            None => Error::retry("no answer in time"),
        };
        self.failed();
        Err(Failed::Store(failed))
    }

    async fn piece(
        &self,
        source: &Source,
        at: u64,
        length: u64,
    ) -> Result<(PutPayload, Option<Charge>), Failed> {
        match source {
            Source::Memory(bytes, _) => Ok((slice(bytes, at, length), None)),
            Source::File(unit, file, total, verifier, index) => {
                let room = self.room(length).await?;
                let (file, verifier, total) = (Arc::clone(file), Arc::clone(verifier), *total);
                let behind = |at: u64| at.saturating_sub(total) as usize;
                let rest = index.slice(behind(at)..behind(at + length));
                let of_file = length - rest.len() as u64;
                let read = move |_: &dyn Disk| {
                    let mut bytes = vec![0; usize::try_from(of_file).map_err(io::Error::other)?];
                    file.read_at(at, &mut bytes)?;
                    verifier.lock().take(at, &bytes, total)?;
                    Ok(bytes)
                };
                let bytes = match of_file {
                    0 => Vec::new(),
                    _ => unit.call(&self.env, read).await.map_err(Failed::Source)?,
                };
                Ok(([Bytes::from(bytes), rest].into_iter().collect(), Some(room)))
            }
        }
    }

    /// Room for a piece of a file. Not there in time: the store holds what it was given before.
    async fn room(&self, length: u64) -> Result<Charge, Failed> {
        let limit = self.options.call_max * self.options.tries.max(1);
        let room = self.env.timeout(limit, self.room.take_in_turn(length)).await;
        let late = || Failed::Store(Error::retry("other uploads do not end"));
        room.ok_or_else(late)
    }
}

/// A range of the bytes that follow each other in `all`, without a copy.
fn slice(all: &[Bytes], at: u64, length: u64) -> PutPayload {
    let (start, end) = (at, at + length);
    let mut begin = 0;
    let mut parts = Vec::new();
    for bytes in all {
        let next = begin + bytes.len() as u64;
        let (from, to) = (start.max(begin), end.min(next));
        if from < to {
            parts.push(bytes.slice((from - begin) as usize..(to - begin) as usize));
        }
        begin = next;
    }
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_join_to_the_whole() {
        let all: Vec<Bytes> =
            ["ab", "", "cdefg", "h"].map(|part| Bytes::from_static(part.as_bytes())).to_vec();
        for cut in 0..=8 {
            let (left, right) = (slice(&all, 0, cut), slice(&all, cut, 8 - cut));
            let joined = [Bytes::from(left), Bytes::from(right)].concat();
            assert_eq!(joined, b"abcdefgh", "cut at {cut}");
        }
    }
}
