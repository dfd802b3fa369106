//! The frame of a body: its head, then the data of all columns, then what describes them.

use std::ops::Range;

use arrow::buffer::MutableBuffer;
use arrow::error::ArrowError;
use dunlin_proto::block::BODY_LEN_MAX;

use super::{UNFOLDED_TEXT_MAX, malformed};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// Length of the head: a multiple of every alignment in the payload.
pub(super) const HEAD_LEN: usize = 16;

/// What a column's description begins with.
pub(super) mod tag {
    pub(in crate::codec) const NOTHING: u8 = 0;
    pub(in crate::codec) const RAW: u8 = 1;
    pub(in crate::codec) const OFFSETS: u8 = 2;
    pub(in crate::codec) const VIEWS: u8 = 3;
    pub(in crate::codec) const NUMBERS: u8 = 4;
    pub(in crate::codec) const LENGTHS: u8 = 5;
    pub(in crate::codec) const FEW: u8 = 6;
    pub(in crate::codec) const FRONT: u8 = 7;
    pub(in crate::codec) const MESSAGE: u8 = 8;
    /// Added where some values are null: a bit for each row comes first.
    pub(in crate::codec) const NULLS: u8 = 0x80;
}

/// What a body says before its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// What the payload went through.
    pub(super) compression: u8,
    pub(super) columns: u16,
    pub(super) fingerprint: u32,
    /// Bytes of the payload before compression.
    pub(super) payload: usize,
    /// Bytes at its end that describe the columns.
    pub(super) says: usize,
}

impl Head {
    pub(super) fn to_bytes(self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.compression;
        bytes[2..4].copy_from_slice(&self.columns.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.payload as u32).to_le_bytes());
        bytes[12..].copy_from_slice(&(self.says as u32).to_le_bytes());
        bytes
    }

    /// The head of a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ArrowError> {
        let Some(head) = body.first_chunk::<HEAD_LEN>() else { return Err(malformed("cut short")) };
        if head[0] != VERSION {
            let text = format!("version {} of the columns is not known here", head[0]);
            return Err(ArrowError::NotYetImplemented(text));
        }
        let [.., c0, c1, f0, f1, f2, f3, p0, p1, p2, p3, s0, s1, s2, s3] = *head;
        let parsed = Self {
            compression: head[1],
            columns: u16::from_le_bytes([c0, c1]),
            fingerprint: u32::from_le_bytes([f0, f1, f2, f3]),
            payload: u32::from_le_bytes([p0, p1, p2, p3]) as usize,
            says: u32::from_le_bytes([s0, s1, s2, s3]) as usize,
        };
        if parsed.payload > BODY_LEN_MAX || parsed.says > parsed.payload {
            return Err(malformed("lengths"));
        }
        Ok(parsed)
    }
}

/// A payload that is being written.
pub(super) struct Output<'a> {
    pub(super) data: &'a mut MutableBuffer,
    /// Where it begins in `data`.
    from: usize,
    says: &'a mut Vec<u8>,
    /// Bytes of texts that are written as less than they are.
    unfolded: usize,
}

impl<'a> Output<'a> {
    /// Behind what is in `data`. `says` is room to work in.
    pub(super) fn new(data: &'a mut MutableBuffer, says: &'a mut Vec<u8>) -> Self {
        says.clear();
        Self { from: data.len(), data, says, unfolded: 0 }
    }

    /// Whether texts of so many bytes may be written as less than they are; counts them if so.
    pub(super) fn may_unfold(&mut self, bytes: usize) -> bool {
        let may = self.unfolded + bytes <= UNFOLDED_TEXT_MAX;
        self.unfolded += if may { bytes } else { 0 };
        may
    }

    /// Describes something by a byte.
    pub(super) fn byte(&mut self, byte: u8) {
        self.says.push(byte);
    }

    /// Describes something by a number, in as many bytes as it takes.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.says.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.says.push(number as u8);
    }

    /// As [`Output::number`], with small ones around zero.
    pub(super) fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    /// Goes on at a multiple of `alignment`, a power of two up to 16.
    pub(super) fn align(&mut self, alignment: usize) {
        let over = (self.data.len() - self.from) % alignment;
        if over > 0 {
            self.data.extend_zeros(alignment - over);
        }
    }

    /// Appends data.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Appends the descriptions: their length, and that of the whole payload.
    pub(super) fn end(self) -> (usize, usize) {
        self.data.extend_from_slice(self.says);
        (self.says.len(), self.data.len() - self.from)
    }
}

/// A payload that is being read.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    payload: &'a [u8],
    /// The next data.
    at: usize,
    /// Where they end.
    end: usize,
    says: &'a [u8],
    /// Bytes of texts that were less than they are.
    unfolded: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(payload: &'a [u8], says: usize) -> Result<Self, ArrowError> {
        let end = payload.len().checked_sub(says).ok_or_else(|| malformed("lengths"))?;
        Ok(Self { payload, at: 0, end, says: &payload[end..], unfolded: 0 })
    }

    /// Counts texts that were written as less than they are.
    pub(super) fn unfold(&mut self, bytes: usize) -> Result<(), ArrowError> {
        self.unfolded = self.unfolded.saturating_add(bytes);
        match self.unfolded <= UNFOLDED_TEXT_MAX {
            true => Ok(()),
            false => Err(malformed("texts that are longer than a block may say")),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, ArrowError> {
        let (first, rest) = self.says.split_first().ok_or_else(|| malformed("a description"))?;
        self.says = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, ArrowError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed("a number"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, ArrowError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number of bytes.
    pub(super) fn length(&mut self) -> Result<usize, ArrowError> {
        usize::try_from(self.number()?).map_err(|_| malformed("a length"))
    }

    /// Where the next `length` bytes are, from a multiple of `alignment` on.
    pub(super) fn range(
        &mut self,
        length: usize,
        alignment: usize,
    ) -> Result<Range<usize>, ArrowError> {
        let from = self.at.next_multiple_of(alignment);
        let to = from.checked_add(length).filter(|to| *to <= self.end);
        self.at = to.ok_or_else(|| malformed("cut short"))?;
        Ok(from..self.at)
    }

    pub(super) fn bytes(
        &mut self,
        length: usize,
        alignment: usize,
    ) -> Result<&'a [u8], ArrowError> {
        let range = self.range(length, alignment)?;
        Ok(&self.payload[range])
    }

    /// Whether everything was read.
    pub(super) fn check_end(&self) -> Result<(), ArrowError> {
        match self.at == self.end && self.says.is_empty() {
            true => Ok(()),
            false => Err(malformed("more than its columns")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_numbers_come_back() {
        let head = Head { compression: 2, columns: 7, fingerprint: 77, payload: 900, says: 30 };
        assert_eq!(Head::parse(&head.to_bytes()).expect("its own"), head);
        let (mut data, mut says) = (MutableBuffer::new(0), Vec::new());
        let mut output = Output::new(&mut data, &mut says);
        let all = [0, 1, -1, 63, 64, -65, i64::MAX, i64::MIN];
        all.iter().for_each(|n| output.signed(*n));
        output.bytes(&[1]);
        output.align(8);
        output.bytes(&[2; 8]);
        let (says, length) = output.end();
        assert_eq!(length, data.len());
        let mut input = Input::new(&data, says).expect("its own");
        for n in all {
            assert_eq!(input.signed().expect("it was written"), n);
        }
        assert_eq!(input.bytes(1, 1).expect("one"), [1]);
        assert!(input.check_end().is_err(), "eight more");
        assert_eq!(input.bytes(8, 8).expect("aligned"), [2; 8]);
        input.check_end().expect("all was read");
        assert!(input.byte().is_err() && input.bytes(1, 1).is_err());
    }

    #[test]
    fn a_later_version_is_said_to_be_one() {
        let head = Head { compression: 0, columns: 0, fingerprint: 0, payload: 0, says: 0 };
        let mut bytes = head.to_bytes();
        bytes[0] = 2;
        let error = Head::parse(&bytes).expect_err("not known");
        assert!(matches!(error, ArrowError::NotYetImplemented(_)), "{error}");
    }
}
