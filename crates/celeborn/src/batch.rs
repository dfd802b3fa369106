//! The batches in a push, by their headers. What a batch holds is opaque: compressed by the client,
//! with its own checksum, and maybe encrypted. A server looks at these sixteen bytes and at no more.

use bytes::{Buf, BufMut, Bytes};
use dunlin_base::{Error, Result};

/// Length of a header.
pub const HEADER_LEN: usize = 16;

/// Which batch, of which attempt of which map. On the wire in the byte order of the client's machine,
/// which is little endian on all that Spark runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchHeader {
    /// The map, from 0.
    pub map: i32,
    /// The attempts of stage and task in one number. Readers take those of the attempt that counts.
    pub attempt: i32,
    /// Counts from 0 in each attempt. Readers drop one that they have had.
    pub batch: i32,
    /// Bytes of data after the header.
    pub len: u32,
}

impl BatchHeader {
    /// The bytes of the header.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut into = &mut bytes[..];
        into.put_i32_le(self.map);
        into.put_i32_le(self.attempt);
        into.put_i32_le(self.batch);
        into.put_u32_le(self.len);
        bytes
    }
}

/// The batches of a push or of an entry of a merged one: each with its header, whole. `Invalid` if
/// they do not fill the bytes to the last, after which nothing more comes. None for no bytes.
pub fn batches(body: &Bytes) -> Batches {
    Batches(body.clone())
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches(Bytes);

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let next = next(&mut self.0);
        if next.is_err() {
            self.0.clear();
        }
        Some(next)
    }
}

fn next(left: &mut Bytes) -> Result<(BatchHeader, Bytes)> {
    let Some(mut bytes) = left.get(..HEADER_LEN) else {
        return Err(Error::invalid("the header of a batch is cut"));
    };
    let (map, attempt, batch) = (bytes.get_i32_le(), bytes.get_i32_le(), bytes.get_i32_le());
    let len = bytes.get_u32_le();
    let whole = HEADER_LEN.saturating_add(len as usize);
    // A map less than zero means that the number of bytes before it was wrong.
    if map < 0 || batch < 0 || len > i32::MAX as u32 || whole > left.len() {
        let text = format!("a batch of map {map} has {len} bytes, and {} are left", left.len());
        return Err(Error::invalid(text)
            .with_hint("clients on machines that are not little endian do not work"));
    }
    Ok((BatchHeader { map, attempt, batch, len }, left.split_to(whole)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn batch(map: i32, batch: i32, data: &[u8]) -> Vec<u8> {
        let header = BatchHeader { map, attempt: 65_536, batch, len: data.len() as u32 };
        [&header.encode()[..], data].concat()
    }

    #[test]
    fn a_header_is_little_endian() {
        let header = BatchHeader { map: 1, attempt: 2, batch: 3, len: 0x0405 };
        assert_eq!(header.encode(), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 5, 4, 0, 0]);
    }

    #[test]
    fn batches_share_the_memory_of_the_push_and_have_their_headers() {
        let body = Bytes::from([batch(7, 0, b"one"), batch(7, 1, b""), batch(8, 0, b"x")].concat());
        let all: Vec<_> = batches(&body).map(|one| one.expect("whole")).collect();
        let is = |(header, bytes): &(BatchHeader, Bytes)| (header.map, header.batch, bytes.len());
        assert_eq!(all.iter().map(is).collect::<Vec<_>>(), [(7, 0, 19), (7, 1, 16), (8, 0, 17)]);
        assert_eq!(all[1].1.as_ptr(), body[19..].as_ptr());
        assert_eq!(batches(&Bytes::new()).count(), 0);
    }

    #[test]
    fn batches_that_do_not_fill_their_push_are_refused_once() {
        let whole = [batch(7, 0, b"one"), batch(7, 1, b"two")].concat();
        for end in (1..whole.len()).filter(|end| *end != 19) {
            let all: Vec<_> = batches(&Bytes::copy_from_slice(&whole[..end])).collect();
            assert_eq!(all.len(), 1 + end / 19, "{end}");
            assert!(all.last().is_some_and(Result::is_err));
        }
        let big_endian = [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 1, 2, 3, 4];
        assert!(batches(&Bytes::copy_from_slice(&big_endian)).all(|one| one.is_err()));
    }
}
