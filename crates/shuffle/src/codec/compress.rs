//! What a payload goes through as a whole.

use arrow::buffer::MutableBuffer;
use arrow::error::ArrowError;

use super::{RATIO_MAX, malformed};

/// Payloads are not compressed unless this share of their bytes goes.
const WORTH: usize = 16;

/// Fast, and not much worse than the default.
const ZSTD_LEVEL: i32 = 1;

/// How the bytes of a body are compressed. The number is that in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// Not.
    Nothing = 0,
    /// A bare block of LZ4.
    Lz4 = 1,
    /// A frame of ZSTD.
    Zstd = 2,
}

impl Compression {
    /// The one of this number, if there is one.
    fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Nothing),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compresses payloads one after the other.
pub(super) struct Compressor {
    by: Compression,
    room: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    pub(super) fn new(by: Compression) -> Self {
        let zstd = (by == Compression::Zstd).then(|| zstd::bulk::Compressor::new(ZSTD_LEVEL));
        // Without one, LZ4 is used.
        Self { by, room: Vec::new(), zstd: zstd.and_then(Result::ok) }
    }

    /// Compresses what is in `data` from `from` on, where it lies. Says by what: by nothing if that
    /// does not make it smaller.
    pub(super) fn compress(&mut self, data: &mut MutableBuffer, from: usize) -> Compression {
        if self.by == Compression::Nothing {
            return self.by;
        }
        let Some(payload) = data.get(from..) else { return Compression::Nothing };
        let (by, length) = self.fill_room(payload);
        if length + payload.len() / WORTH > payload.len() {
            return Compression::Nothing;
        }
        data.truncate(from);
        data.extend_from_slice(&self.room[..length]);
        by
    }

    fn fill_room(&mut self, payload: &[u8]) -> (Compression, usize) {
        if let Some(zstd) = &mut self.zstd {
            self.room.resize(zstd::zstd_safe::compress_bound(payload.len()), 0);
            let length = zstd.compress_to_buffer(payload, &mut self.room[..]);
            // More than readers accept is left to LZ4, which cannot mean so much.
            if let Some(length) = length.ok().filter(|n| payload.len() <= n * RATIO_MAX) {
                return (Compression::Zstd, length);
            }
        }
        self.room.resize(lz4_flex::block::get_maximum_output_size(payload.len()), 0);
        let length = lz4_flex::block::compress_into(payload, &mut self.room);
        (Compression::Lz4, length.unwrap_or(usize::MAX / 2))
    }
}

/// The payload of `length` bytes that these bytes stand for; `None` if it is these bytes.
pub(super) fn decompress(
    number: u8,
    bytes: &[u8],
    length: usize,
) -> Result<Option<MutableBuffer>, ArrowError> {
    let by = Compression::of(number).ok_or_else(|| malformed("a compression that is none"))?;
    if by == Compression::Nothing {
        return match bytes.len() == length {
            true => Ok(None),
            false => Err(malformed("cut short")),
        };
    }
    if length > bytes.len().saturating_mul(RATIO_MAX) {
        return Err(malformed("a payload that is larger than its bytes can say"));
    }
    let mut payload = MutableBuffer::from_len_zeroed(length);
    let written = match by {
        Compression::Zstd => zstd::bulk::decompress_to_buffer(bytes, &mut payload[..]).ok(),
        _ => lz4_flex::block::decompress_into(bytes, &mut payload).ok(),
    };
    match written == Some(length) {
        true => Ok(Some(payload)),
        false => Err(malformed("a payload that does not decompress")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_back_and_no_more_is_believed_than_they_can_say() {
        let words = "some words that come again and again, ".repeat(100);
        for by in [Compression::Lz4, Compression::Zstd] {
            for (payload, smaller) in [(words.as_bytes(), true), (b"abcdef", false), (b"", false)] {
                let mut data = MutableBuffer::new(0);
                data.extend_from_slice(b"head");
                data.extend_from_slice(payload);
                let used = Compressor::new(by).compress(&mut data, 4);
                assert_eq!(used == by, smaller, "{} bytes", payload.len());
                let bytes = &data[4..];
                let got = decompress(used as u8, bytes, payload.len()).expect("its own");
                assert_eq!(got.as_deref().unwrap_or(bytes), payload);
                for wrong in [payload.len() + 1, 1 << 30] {
                    decompress(used as u8, bytes, wrong).expect_err("not so many");
                }
            }
            let mut zeros = MutableBuffer::from_len_zeroed(1 << 20);
            let used = Compressor::new(by).compress(&mut zeros, 0);
            let got = decompress(used as u8, &zeros, 1 << 20).expect("its own");
            assert_eq!(got.expect("compressed").as_slice(), vec![0; 1 << 20]);
        }
        decompress(9, b"", 0).expect_err("no such compression");
    }
}
